import { Button, Group, Stack, Text, UnstyledButton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconCheck, IconMinus, IconX } from '@tabler/icons-react';
import { memo, useMemo, useState } from 'react';

import type { Suite, SuiteCase } from '../../api/types';
import { Panel } from '../../components/Panel';
import { ToneBadge } from '../../components/Tone';
import { Trace } from '../../components/Trace';
import { count, micros, words } from '../../lib/format';
import { casesOf, countOf, isTyped, type CaseFilter } from '../../lib/suites';
import { Differences } from './Differences';
import classes from './Suite.module.css';

/** So many cases are drawn at once; a suite may have thousands. */
const FIRST = 50;
const MORE = 250;
/** Of many failures the first ones show why; the others are one click away. */
const OPEN = 5;
const ICONS = { passed: IconCheck, failed: IconX, skipped: IconMinus };

interface Props {
  suite: Suite;
  filter: CaseFilter;
  /** Shows a line of the policy. */
  onShow: ((line: number) => void) | undefined;
}

/** One suite with its cases, what failed first and open. */
export function SuiteCases({ suite, filter, onShow }: Props) {
  const cases = useMemo(() => casesOf(suite, filter), [suite, filter]);
  const [shown, setShown] = useState(FIRST);
  if (cases.length === 0) return null;
  const rest = cases.length - shown;
  const failed = countOf(suite, 'failed');
  const skipped = countOf(suite, 'skipped');
  return (
    <Panel
      title={isTyped(suite) ? 'Your cases' : suite.file}
      aside={
        <Group gap={6}>
          {failed > 0 ? <ToneBadge tone="deny">{count(failed)} failed</ToneBadge> : null}
          {skipped > 0 ? <ToneBadge tone="quiet">{count(skipped)} skipped</ToneBadge> : null}
          <ToneBadge tone="good">{count(countOf(suite, 'passed'))} passed</ToneBadge>
          <Text span size="xs" className="sg-numbers">
            {micros(suite.duration_ms * 1000)}
          </Text>
        </Group>
      }
    >
      <ul className={classes.list}>
        {cases.slice(0, shown).map((one, index) => (
          <CaseRow
            key={one.name}
            one={one}
            place={isTyped(suite) ? `line ${one.line}` : `${suite.file}:${one.line}`}
            open={index < OPEN}
            onShow={onShow}
          />
        ))}
      </ul>
      {rest > 0 ? (
        <Group justify="center" mt="sm">
          <Button variant="default" size="xs" onClick={() => setShown(shown + MORE)}>
            Show {rest > MORE ? `${MORE} more of ${count(rest)}` : `the other ${count(rest)}`}
          </Button>
        </Group>
      ) : null}
    </Panel>
  );
}

interface RowProps {
  one: SuiteCase;
  /** Where it stands. */
  place: string;
  /** Whether one sees at once why it failed. */
  open: boolean;
  onShow: ((line: number) => void) | undefined;
}

const CaseRow = memo(function CaseRow({ one, place, open, onShow }: RowProps) {
  const Icon = ICONS[one.outcome];
  return (
    <li
      className={classes.case}
      data-outcome={one.outcome}
      aria-label={`${one.name}: ${one.outcome}`}
    >
      <span className={classes.icon} aria-hidden>
        <Icon size={16} stroke={2.4} />
      </span>
      {one.outcome === 'failed' ? (
        <Failed one={one} place={place} open={open} onShow={onShow} />
      ) : (
        <>
          <div className={classes.what}>
            <span className={classes.name}>{one.name}</span>
            <About one={one} />
          </div>
          <Said one={one} />
        </>
      )}
    </li>
  );
});

function Failed({ one, place, open: first, onShow }: RowProps) {
  const [open, { toggle }] = useDisclosure(first);
  return (
    <>
      <UnstyledButton
        className={`${classes.what} ${classes.toggle}`}
        onClick={toggle}
        aria-expanded={open}
      >
        <span className={classes.name}>{one.name}</span>
        <About one={one} />
      </UnstyledButton>
      <Said one={one} />
      {open ? (
        <Stack gap="md" className={classes.why ?? ''}>
          {one.differences?.length ? <Differences differences={one.differences} /> : null}
          {one.message && one.differences?.length ? <Message text={one.message} /> : null}
          <Trace rules={one.rules} reads={one.reads} onShow={onShow} wide />
          <Text size="xs" c="dimmed">
            <span className="sg-mono">{place}</span>
          </Text>
        </Stack>
      ) : null}
    </>
  );
}

function About({ one }: { one: SuiteCase }) {
  return (
    <>
      {one.description ? (
        <Text size="xs" c="dimmed">
          {one.description}
        </Text>
      ) : null}
      {one.message && !one.differences?.length ? <Message text={one.message} /> : null}
    </>
  );
}

function Message({ text }: { text: string }) {
  return <pre className={`${classes.message} sg-mono`}>{text}</pre>;
}

/** What the policy said, in a few words. */
function Said({ one }: { one: SuiteCase }) {
  const { got } = one;
  const reasons = got ? [...got.deny_reasons, ...got.warnings] : [];
  const said = got
    ? got.error
      ? 'error'
      : [got.decision, ...reasons.map(words)].join(' · ')
    : null;
  return (
    <span className={classes.said}>
      {said ? <span>{said}</span> : null}
      <span className="sg-numbers">{one.outcome === 'skipped' ? '' : micros(one.duration_us)}</span>
    </span>
  );
}
