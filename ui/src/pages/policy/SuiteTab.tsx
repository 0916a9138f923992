import { Anchor, Button, Code, Group, SegmentedControl, Stack } from '@mantine/core';
import { IconLock, IconPlayerPlay, IconTestPipe } from '@tabler/icons-react';
import { useState, type ReactNode } from 'react';
import { Link } from 'react-router';

import { refusal, useSession } from '../../api/session';
import { useSuites } from '../../api/suites';
import type { PolicyDetail, SuitesReport } from '../../api/types';
import { Panel } from '../../components/Panel';
import { Empty, Failure, Lines, Loading } from '../../components/states';
import classes from './Suite.module.css';
import { SuiteReport } from './SuiteReport';
import { TypedCases } from './TypedCases';

interface Props {
  policy: PolicyDetail;
  /** What stands in the editor and isn't saved. */
  edited: string | null;
  /** Cases that are being typed; kept while one looks at another tab. */
  typed: string | null;
  onTyped: (text: string | null) => void;
  /** Shows a line of the policy's text. */
  onShow: (line: number) => void;
}

export function SuiteTab({ policy, edited, typed, onTyped, onShow }: Props) {
  const { data: session } = useSession();
  const [view, setView] = useState<'all' | 'typed'>('all');
  const [stored, setStored] = useState(false);
  const refused = refusal(session, 'author');
  if (refused) {
    return (
      <Panel title="Suites">
        <Empty icon={IconLock} title="Suites are run by authors">
          {refused}
        </Empty>
      </Panel>
    );
  }
  const rego = stored ? null : edited;
  // Lines are those of the text that was run, and the editor shows what isn't saved.
  const shared = { policy, rego, onShow: rego === edited ? onShow : undefined };
  const bar = (
    <>
      <SegmentedControl
        aria-label="Which cases"
        value={view}
        onChange={(value) => setView(value as 'all' | 'typed')}
        data={[
          { value: 'all', label: 'Its suites' },
          { value: 'typed', label: 'Try cases' },
        ]}
      />
      {edited === null ? null : (
        <SegmentedControl
          aria-label="What they are run on"
          value={stored ? 'stored' : 'edited'}
          onChange={(value) => setStored(value === 'stored')}
          data={[
            { value: 'edited', label: 'Your unsaved text' },
            { value: 'stored', label: `Version ${policy.version}` },
          ]}
        />
      )}
    </>
  );
  return view === 'all' ? (
    <AllSuites {...shared} bar={bar} />
  ) : (
    <TypedCases {...shared} bar={bar} typed={typed} onTyped={onTyped} />
  );
}

interface AllProps {
  policy: PolicyDetail;
  rego: string | null;
  onShow: ((line: number) => void) | undefined;
  bar: ReactNode;
}

function AllSuites({ policy, rego, onShow, bar }: AllProps) {
  const suites = useSuites(policy.id, policy.version, rego);
  return (
    <Stack gap="lg">
      <Group gap="sm">
        {bar}
        <Button
          ml="auto"
          variant="default"
          loading={suites.isFetching}
          leftSection={<IconPlayerPlay size={16} />}
          onClick={() => void suites.refetch()}
        >
          Run again
        </Button>
      </Group>
      {suites.isPending ? (
        <Loading label="the suites">
          <Lines rows={8} />
        </Loading>
      ) : null}
      {suites.isError ? <Failure error={suites.error} what="The outcome" /> : null}
      {suites.isSuccess ? (
        // Until another text was run, one sees what the one before gave.
        <div
          aria-busy={suites.isPlaceholderData}
          className={suites.isPlaceholderData ? classes.stale : undefined}
        >
          <Outcome
            policy={policy}
            report={suites.data}
            onShow={suites.isPlaceholderData ? undefined : onShow}
          />
        </div>
      ) : null}
    </Stack>
  );
}

function Outcome({
  policy,
  report,
  onShow,
}: Pick<AllProps, 'policy' | 'onShow'> & { report: SuitesReport }) {
  const parts = [report.suites, report.invalid, report.findings];
  return parts.every(({ length }) => length === 0) ? (
    <NoSuites policy={policy} report={report} />
  ) : (
    <SuiteReport report={report} onShow={onShow} />
  );
}

/** Where suites come from. */
function NoSuites({ policy, report }: { policy: PolicyDetail; report: SuitesReport }) {
  return (
    <Panel title="Suites">
      <Empty icon={IconTestPipe} title="No suite is about this policy">
        Suites are rules whose names begin with <Code>test_</Code> in its Rego, and files whose
        names end in <Code>_tests.yaml</Code> and that say <Code>policy: {policy.name}</Code>. On
        the console&apos;s machine they are looked for in{' '}
        {report.looked.map((folder, index) => (
          <span key={folder}>
            {index > 0 ? ' and ' : ''}
            <Code>{folder}</Code>
          </span>
        ))}
        ; the setting <Code>policies.suites</Code> names the first.
        {policy.template ? (
          <>
            {' '}
            It has the Rego of{' '}
            <Anchor
              component={Link}
              inherit
              underline="always"
              to={`/policies/${policy.template}?tab=suite`}
            >
              {policy.template}
            </Anchor>
            , about which there are none either.
          </>
        ) : null}
      </Empty>
    </Panel>
  );
}
