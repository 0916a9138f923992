import { Button, Group, Skeleton, Stack, Text } from '@mantine/core';
import { IconPlayerPlay } from '@tabler/icons-react';
import { useMemo, type ReactNode } from 'react';

import { useExample } from '../../api/policies';
import { useTypedSuite } from '../../api/suites';
import type { Finding, PolicyDetail, SuiteProblem } from '../../api/types';
import { Panel } from '../../components/Panel';
import { Failure } from '../../components/states';
import { CodeEditor } from '../../editor';
import { exampleOf } from '../../lib/example';
import { NOTHING_SAID, caseText, suiteText } from '../../lib/suites';
import { SuiteReport } from './SuiteReport';

interface Props {
  policy: PolicyDetail;
  /** A text to run them on; without one the newest version. */
  rego: string | null;
  /** What was typed; null as long as that is the example. */
  typed: string | null;
  onTyped: (text: string | null) => void;
  onShow: ((line: number) => void) | undefined;
  bar: ReactNode;
}

/** Cases that one types, run on a click. */
export function TypedCases({ policy, rego, typed, onTyped, onShow, bar }: Props) {
  const example = useExampleText(policy, typed === null);
  const text = typed ?? example;
  const suite = useTypedSuite(policy.id);
  const of = rego ?? policy.content;
  const current = suite.variables?.suite === text && suite.variables?.of === of;
  const findings = useMemo(
    () => (current ? (suite.data?.invalid ?? []).map(finding) : []),
    [current, suite.data],
  );
  const run = () => {
    if (text) suite.mutate({ suite: text, rego, of });
  };
  return (
    <Stack gap="lg">
      <Group gap="sm">{bar}</Group>
      <Panel
        title="Cases"
        help="As they stand in a file of a suite: what is asked, and what the policy must answer."
        aside={
          <Button
            size="xs"
            loading={suite.isPending}
            disabled={!text?.trim()}
            leftSection={<IconPlayerPlay size={15} />}
            onClick={run}
          >
            Run cases
          </Button>
        }
      >
        {text === null ? (
          <Skeleton height={260} />
        ) : (
          <CodeEditor
            value={text}
            label="Cases as YAML"
            language="yaml"
            minHeight="220px"
            maxHeight="50vh"
            findings={findings}
            onChange={(text) => onTyped(text === example ? null : text)}
          />
        )}
      </Panel>
      {suite.isError ? <Failure error={suite.error} what="The outcome" /> : null}
      {suite.data && !current && !suite.isPending ? (
        <Text size="sm" c="dimmed">
          The outcome below is that of an earlier text.
        </Text>
      ) : null}
      {suite.data ? (
        <SuiteReport report={suite.data} onShow={current ? onShow : undefined} />
      ) : null}
    </Stack>
  );
}

/** A worked example: a check, and what this policy says of it now. */
function useExampleText(policy: PolicyDetail, wanted: boolean): string | null {
  const check = exampleOf(policy);
  const example = useExample(policy, check, wanted);
  if (example.isPending) return null;
  // Where the policy can't be tried now, one begins without its answer.
  const input = example.data?.input ?? check;
  const result = example.data?.policies[0] ?? NOTHING_SAID;
  return suiteText(policy.name, caseText(input, result, policy.parameters));
}

function finding({ line, column, message }: SuiteProblem): Finding {
  return { severity: 'error', code: 'suite', line, column, message, help: '' };
}
