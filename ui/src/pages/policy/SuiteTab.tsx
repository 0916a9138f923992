import { Alert, Button, Group, Stack, Table, Text } from '@mantine/core';
import { IconPlayerPlay, IconTestPipe } from '@tabler/icons-react';

import { useSuite } from '../../api/policies';
import type { PolicyDetail, SuiteReply } from '../../api/types';
import { Panel } from '../../components/Panel';
import { Empty, Failure, Lines, Loading } from '../../components/states';
import { ToneBadge, type Tone } from '../../components/Tone';
import { micros, plural } from '../../lib/format';

const TONE: Record<SuiteReply['tests'][number]['outcome'], Tone> = {
  passed: 'good',
  failed: 'deny',
  error: 'error',
  skipped: 'quiet',
};

export function SuiteTab({ policy, edited }: { policy: PolicyDetail; edited: string | null }) {
  const suite = useSuite(policy.id);
  return (
    <Panel
      title="Tests of this policy"
      help="Cases and Rego tests that come with the policy, run by the server against the text in the editor."
      aside={
        <Button
          size="xs"
          loading={suite.isPending}
          leftSection={<IconPlayerPlay size={15} />}
          onClick={() => suite.mutate(edited ?? undefined)}
        >
          Run {edited === null ? `version ${policy.version}` : 'on unsaved text'}
        </Button>
      }
    >
      {suite.isPending ? (
        <Loading label="the tests">
          <Lines rows={8} />
        </Loading>
      ) : null}
      {suite.isError ? <Failure error={suite.error} what="The suite" /> : null}
      {suite.data && !suite.isPending ? <Result suite={suite.data} /> : null}
      {suite.isIdle ? (
        <Empty icon={IconTestPipe} title="Not run yet">
          Run the tests before saving: they say whether the policy still does what it promises.
        </Empty>
      ) : null}
    </Panel>
  );
}

function Result({ suite }: { suite: SuiteReply }) {
  // What failed comes first: it is what one runs tests for.
  const order = ['failed', 'error', 'passed', 'skipped'];
  const tests = [...suite.tests].sort(
    (a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome),
  );
  return (
    <Stack aria-live="polite">
      {suite.error ? <Alert color="red">{suite.error}</Alert> : null}
      <Group gap="xs">
        <ToneBadge tone="good">{plural(suite.passed, 'test')} passed</ToneBadge>
        <ToneBadge tone={suite.failed > 0 ? 'deny' : 'quiet'}>{suite.failed} failed</ToneBadge>
      </Group>
      {tests.length === 0 ? (
        <Text size="sm" c="dimmed">
          This policy has no tests.
        </Text>
      ) : (
        <Table verticalSpacing={6}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Test</Table.Th>
              <Table.Th w={100}>Outcome</Table.Th>
              <Table.Th w={100} ta="right">
                Time
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {tests.map((test) => (
              <Table.Tr key={test.name}>
                <Table.Td>
                  <Text size="sm">{test.name}</Text>
                  {test.message ? (
                    <Text size="xs" c="var(--sg-deny-text)" className="sg-mono">
                      {test.line ? `line ${test.line}: ` : ''}
                      {test.message}
                    </Text>
                  ) : null}
                </Table.Td>
                <Table.Td>
                  <ToneBadge tone={TONE[test.outcome]}>{test.outcome}</ToneBadge>
                </Table.Td>
                <Table.Td ta="right" className="sg-numbers">
                  {micros(test.duration_us)}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Stack>
  );
}
