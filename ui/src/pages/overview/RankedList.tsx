import { Text } from '@mantine/core';
import { Link } from 'react-router';

import { Panel } from '../../components/Panel';
import { count } from '../../lib/format';
import classes from './RankedList.module.css';

interface RankedRow {
  name: string;
  to: string;
  value: number;
  denials?: number;
  note?: string | null;
}

interface Props {
  title: string;
  rows: RankedRow[];
  empty: string;
  tone: 'allow' | 'deny';
}

/** A bar chart made of links: what it shows can be read, tabbed through and followed. */
export function RankedList({ title, rows, empty, tone }: Props) {
  const most = Math.max(1, ...rows.map((row) => row.value));
  return (
    <Panel title={title} aside={rows.some((row) => row.denials) ? <Legend /> : null}>
      {rows.length === 0 ? (
        <Text size="sm" c="dimmed" py="lg" ta="center">
          {empty}
        </Text>
      ) : (
        <ol className={classes.list}>
          {rows.map((row) => (
            <li key={row.name}>
              <Link to={row.to} className={classes.row}>
                <span className={classes.text}>
                  <span className={classes.name}>{row.name}</span>
                  <span className="sg-numbers">
                    {row.note ? <span className={classes.note}>{row.note}</span> : null}
                    {row.denials ? (
                      <span className={classes.denials}>
                        {count(row.denials)}
                        <span className={classes.unseen}> denied of </span>
                      </span>
                    ) : null}
                    {count(row.value)}
                  </span>
                </span>
                <span className={classes.track} aria-hidden>
                  <span
                    className={classes.bar}
                    data-tone={tone}
                    style={{ width: `${(100 * row.value) / most}%` }}
                  >
                    {row.denials ? (
                      <span
                        className={classes.part}
                        style={{ width: `${(100 * row.denials) / Math.max(1, row.value)}%` }}
                      />
                    ) : null}
                  </span>
                </span>
              </Link>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

function Legend() {
  return (
    <Text size="xs" c="dimmed" component="span">
      <span className={classes.dot} aria-hidden /> denied
    </Text>
  );
}
