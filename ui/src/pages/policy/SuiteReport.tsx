import { Card, Group, SegmentedControl, Stack, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconCircleX, IconSearch } from '@tabler/icons-react';
import { useDeferredValue, useMemo, useState } from 'react';

import type { SuiteProblem, SuitesReport } from '../../api/types';
import { FindingList } from '../../components/FindingList';
import { Note } from '../../components/Note';
import { Panel } from '../../components/Panel';
import { Prose } from '../../components/Prose';
import { count, micros, plural } from '../../lib/format';
import { casesOf, failedFirst, isTyped, type CaseFilter } from '../../lib/suites';
import classes from './Suite.module.css';
import { SuiteCases } from './SuiteCases';

/** With fewer cases than that one sees them all at once. */
const MANY = 8;
const EVERYTHING: CaseFilter = { outcome: 'all', text: '' };

interface Props {
  report: SuitesReport;
  onShow: ((line: number) => void) | undefined;
}

/** How suites went. */
export function SuiteReport({ report, onShow }: Props) {
  const [filter, setFilter] = useState(EVERYTHING);
  // Typing stays quick while hundreds of cases are filtered.
  const deferred = useDeferredValue(filter);
  const suites = useMemo(() => failedFirst(report.suites), [report.suites]);
  const cases = report.passed + report.failed + report.skipped;
  // What can't be seen filters nothing.
  const applied = cases > MANY ? deferred : EVERYTHING;
  if (report.findings.length > 0) {
    return (
      <Panel title="Nothing was run: the policy's text can't be used">
        <FindingList findings={report.findings} onShow={onShow} />
      </Panel>
    );
  }
  const none = cases > 0 && suites.every((suite) => casesOf(suite, applied).length === 0);
  return (
    <Stack gap="lg">
      {cases > 0 ? <Totals report={report} cases={cases} /> : null}
      <Invalid problems={report.invalid} />
      {cases > MANY ? (
        <Filter report={report} cases={cases} filter={filter} onChange={setFilter} />
      ) : null}
      {suites.map((suite) => (
        <SuiteCases key={suite.file} suite={suite} filter={applied} onShow={onShow} />
      ))}
      {none ? (
        <Text size="sm" c="dimmed" ta="center" py="lg">
          No case fits.
        </Text>
      ) : null}
    </Stack>
  );
}

function Totals({ report, cases }: { report: SuitesReport; cases: number }) {
  const { passed, failed, skipped } = report;
  const Icon = failed > 0 ? IconCircleX : IconCircleCheck;
  const parts = [
    { name: 'passed', number: passed, colour: 'var(--sg-good)' },
    { name: 'failed', number: failed, colour: 'var(--sg-deny)' },
    { name: 'skipped', number: skipped, colour: 'var(--sg-quiet)' },
  ];
  return (
    <Card className="sg-card" component="section" aria-label="Totals" aria-live="polite">
      <Group gap="xs" mb={4} wrap="nowrap">
        <Icon size={22} color={`var(--sg-${failed > 0 ? 'deny' : 'good'})`} aria-hidden />
        <Text fw={650} fz="lg">
          {failed > 0
            ? `${count(failed)} of ${plural(cases, 'case')} failed`
            : skipped > 0
              ? `No case failed, ${count(skipped)} of ${count(cases)} were skipped`
              : cases === 1
                ? 'The case passed'
                : `All ${count(cases)} cases passed`}
        </Text>
      </Group>
      <Text size="sm" c="dimmed" mb="sm" className="sg-numbers">
        {parts.map(({ name, number }) => `${count(number)} ${name}`).join(' · ')} ·{' '}
        {plural(report.suites.length, 'suite')} · {micros(report.duration_ms * 1000)}
      </Text>
      <div className={classes.bar} aria-hidden>
        {parts
          .filter(({ number }) => number > 0)
          .map(({ name, number, colour }) => (
            <span key={name} style={{ flexGrow: number, minWidth: 4, background: colour }} />
          ))}
      </div>
    </Card>
  );
}

/** Suites that could not be run, each with its place. */
function Invalid({ problems }: { problems: SuiteProblem[] }) {
  if (problems.length === 0) return null;
  return (
    <Note
      tone="error"
      role="alert"
      icon={IconAlertTriangle}
      title={`${plural(problems.length, 'problem')}: not everything could be run`}
    >
      <ul className={classes.list}>
        {problems.map((problem, index) => (
          <Text
            component="li"
            size="sm"
            key={`${problem.file}${index}`}
            className={classes.what ?? ''}
          >
            <span className="sg-mono">{place(problem)}</span> <Prose text={problem.message} />
          </Text>
        ))}
      </ul>
    </Note>
  );
}

function place(problem: SuiteProblem): string {
  const { file, line, column } = problem;
  const parts = [
    isTyped(problem) ? '' : file,
    line ? `line ${line}` : '',
    line && column ? `column ${column}` : '',
  ].filter(Boolean);
  return parts.length > 0 ? `${parts.join(', ')}:` : '';
}

interface FilterProps {
  report: SuitesReport;
  cases: number;
  filter: CaseFilter;
  onChange: (filter: CaseFilter) => void;
}

function Filter({ report, cases, filter, onChange }: FilterProps) {
  const choices = [
    { value: 'all', label: `All ${count(cases)}` },
    { value: 'failed', label: `Failed ${count(report.failed)}` },
    { value: 'passed', label: `Passed ${count(report.passed)}` },
    ...(report.skipped > 0 || filter.outcome === 'skipped'
      ? [{ value: 'skipped', label: `Skipped ${count(report.skipped)}` }]
      : []),
  ];
  return (
    <Group gap="sm" role="search" aria-label="Filter cases">
      <TextInput
        aria-label="Search cases"
        placeholder="Search by name or description"
        leftSection={<IconSearch size={16} />}
        value={filter.text}
        onChange={(event) => onChange({ ...filter, text: event.currentTarget.value })}
        w={{ base: '100%', xs: 300 }}
      />
      <SegmentedControl
        aria-label="Outcome"
        data={choices}
        value={filter.outcome}
        onChange={(value) => onChange({ ...filter, outcome: value as CaseFilter['outcome'] })}
      />
    </Group>
  );
}
