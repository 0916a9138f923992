import { memo } from 'react';

import type { DecisionRow } from '../../api/types';
import { ToneBadge } from '../../components/Tone';
import { DecisionBadge, ShadowBadge } from '../../components/badges';
import { micros, words } from '../../lib/format';
import { format, utc } from '../../lib/time';
import classes from './Audit.module.css';

interface Props {
  row: DecisionRow;
  index: number;
  start: number;
  active: boolean;
  onOpen: (id: string) => void;
}

/** One decision. Plain titles instead of tooltips: hundreds of rows pass by while one scrolls. */
export const AuditRow = memo(function AuditRow({ row, index, start, active, onOpen }: Props) {
  return (
    <div
      id={`decision-${index}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={active}
      className={classes.row}
      data-active={active}
      data-decision={row.decision}
      style={{ transform: `translateY(${start}px)` }}
      onClick={() => onOpen(row.id)}
    >
      <span role="gridcell" className={`${classes.cell} ${classes.muted} sg-numbers`}>
        <time dateTime={row.timestamp} title={utc(row.timestamp)}>
          {format.short.format(new Date(row.timestamp))}
        </time>
      </span>
      <span role="gridcell">
        <DecisionBadge decision={row.decision} />
      </span>
      <Cell text={row.action} />
      <Cell text={row.resource} mono />
      <Cell text={row.agent || row.user} />
      <Cell text={row.session_id} muted />
      <Cell text={row.policy} muted />
      <span role="gridcell" className={classes.cell} title={row.reason}>
        <Reason row={row} />
      </span>
      <span
        role="gridcell"
        className={`${classes.cell} ${classes.right} ${classes.muted} sg-numbers`}
      >
        {micros(row.duration_us)}
      </span>
    </div>
  );
});

function Cell({ text, muted, mono }: { text: string; muted?: boolean; mono?: boolean }) {
  return (
    <span
      role="gridcell"
      title={text}
      className={`${classes.cell} ${muted ? classes.muted : ''} ${mono ? 'sg-mono' : ''}`}
    >
      {text || '–'}
    </span>
  );
}

function Reason({ row }: { row: DecisionRow }) {
  if (row.error) return <ToneBadge tone="error">error</ToneBadge>;
  if (row.unchecked) return <ToneBadge tone="quiet">unchecked: {row.unchecked}</ToneBadge>;
  const first = row.deny_reasons[0];
  if (first) {
    const more = row.deny_reasons.length - 1;
    return `${words(first)}${more > 0 ? ` +${more}` : ''}`;
  }
  if (row.would_deny.length > 0) return <ShadowBadge />;
  return row.warnings[0] ? words(row.warnings[0]) : <span className={classes.muted}>–</span>;
}
