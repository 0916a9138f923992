import { Grid, Skeleton, Stack, Text } from '@mantine/core';
import { IconFlask } from '@tabler/icons-react';
import { useMemo, useState } from 'react';

import { useDecision } from '../../api/decisions';
import { useTest } from '../../api/policies';
import type { EvaluatedPolicy, PolicyDetail } from '../../api/types';
import { Panel } from '../../components/Panel';
import { Empty, Failure, Loading } from '../../components/states';
import { CodeEditor } from '../../editor';
import type { LineMark } from '../../editor/marks';
import { BenchForm } from './BenchForm';
import { BenchResult } from './BenchResult';

interface Props {
  policy: PolicyDetail;
  /** What stands in the editor and isn't saved; tried instead of the saved text. */
  edited: string | null;
  /** A recorded decision to begin with. */
  decision: string | null;
}

export function BenchTab({ policy, edited, decision }: Props) {
  const recorded = useDecision(decision);
  const test = useTest(policy.id);
  const [reveal, setReveal] = useState<{ line: number } | null>(null);
  const [tried, setTried] = useState<string | null>(null);
  const text = edited ?? policy.content;
  const result =
    test.data?.policies.find(({ name }) => name === policy.name) ?? test.data?.policies[0];
  // Lines of a text that was changed since mean nothing.
  const marks = useMemo(
    () => (result && tried === text ? marksOf(result) : []),
    [result, tried, text],
  );
  return (
    <Grid gap="lg">
      <Grid.Col span={{ base: 12, lg: 5 }}>
        <Stack gap="lg">
          <Panel title="Input">
            {recorded.isLoading ? (
              <Loading label="the recorded decision">
                <Skeleton height={260} />
              </Loading>
            ) : (
              <>
                {recorded.isError ? (
                  <Failure error={recorded.error} what="The recorded decision" />
                ) : null}
                <BenchForm
                  key={recorded.data?.decision.id ?? 'typed'}
                  policy={policy}
                  recorded={recorded.data?.decision ?? null}
                  busy={test.isPending}
                  onRun={(request) => {
                    setTried(text);
                    test.mutate({
                      ...request,
                      ...(edited === null ? {} : { rego: edited }),
                      explain: true,
                    });
                  }}
                />
              </>
            )}
          </Panel>
        </Stack>
      </Grid.Col>
      <Grid.Col span={{ base: 12, lg: 7 }}>
        <Stack gap="lg">
          <Panel
            title="Outcome"
            aside={edited === null ? `Version ${policy.version}` : 'Your unsaved text'}
          >
            {test.isError ? <Failure error={test.error} what="The evaluation" /> : null}
            {test.data ? (
              <BenchResult
                reply={test.data}
                result={result}
                parameters={policy.parameters}
                onShow={(line) => setReveal({ line })}
              />
            ) : null}
            {!test.data && !test.isError ? (
              <Empty icon={IconFlask} title="Try this policy on an input">
                Nothing is recorded and no agent notices: this only evaluates.
              </Empty>
            ) : null}
          </Panel>
          <Panel title="Rego">
            <CodeEditor
              value={text}
              label="Rego that was tried"
              readOnly
              marks={marks}
              reveal={reveal}
              maxHeight="50vh"
            />
            {marks.length > 0 ? (
              <Text size="xs" c="dimmed" mt={6}>
                Amber lines are rules whose bodies held, with what they gave; the green edge marks
                lines that were run.
              </Text>
            ) : null}
          </Panel>
        </Stack>
      </Grid.Col>
    </Grid>
  );
}

function marksOf(result: EvaluatedPolicy): LineMark[] {
  const marks = new Map<number, LineMark>();
  const at = (line: number) => {
    const known = marks.get(line) ?? { line, fired: false, values: [] };
    marks.set(line, known);
    return known;
  };
  for (const line of result.lines?.covered ?? []) at(line);
  for (const rule of result.rules ?? []) {
    const mark = at(rule.line);
    mark.fired = true;
    if (rule.value !== undefined && mark.values.length < 3) {
      mark.values.push(`${rule.rule} = ${short(JSON.stringify(rule.value))}`);
    }
  }
  return [...marks.values()];
}

function short(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
