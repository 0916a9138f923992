import {
  Anchor,
  Button,
  Group,
  SegmentedControl,
  Select,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { IconPlayerPlay } from '@tabler/icons-react';
import { useState } from 'react';

import { useDecision, useRecentDecisions } from '../../api/decisions';
import type {
  DecisionEvent,
  DecisionRow,
  JsonObject,
  PolicyDetail,
  TestRequest,
} from '../../api/types';
import { Guard } from '../../components/Guard';
import { JsonView } from '../../components/Json';
import { Failure, Lines } from '../../components/states';
import { Time } from '../../components/Time';
import { CodeEditor } from '../../editor';
import { exampleOf } from '../../lib/example';
import { format } from '../../lib/time';

interface Props {
  policy: PolicyDetail;
  recorded: DecisionEvent | null;
  busy: boolean;
  onRun: (request: TestRequest) => void;
}

export function BenchForm({ policy, recorded, busy, onRun }: Props) {
  const [source, setSource] = useState<'recent' | 'typed'>('recent');
  const [picked, setPicked] = useState<string | null>(recorded?.id ?? null);
  const [typed, setTyped] = useState(() => {
    const { action, resource, context: example } = exampleOf(policy);
    return { action, resource, context: JSON.stringify(example, null, 2) };
  });
  const decision = useDecision(source === 'recent' ? picked : null);
  const input = decision.data?.decision.input;
  const context = readObject(typed.context);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (source === 'recent') {
          if (input) onRun({ input });
        } else if (context) {
          onRun({ action: typed.action, resource: readValue(typed.resource), context });
        }
      }}
    >
      <Stack>
        <SegmentedControl
          aria-label="Where the input comes from"
          value={source}
          onChange={(value) => setSource(value as 'recent' | 'typed')}
          data={[
            { value: 'recent', label: 'A recorded decision' },
            { value: 'typed', label: 'Typed' },
          ]}
        />
        {source === 'recent' ? (
          <>
            <RecentSelect policy={policy} recorded={recorded} value={picked} onChange={setPicked} />
            {decision.isError ? <Failure error={decision.error} what="The decision" /> : null}
            {decision.isLoading ? <Lines rows={6} /> : null}
            {decision.data ? (
              <>
                <Group justify="space-between">
                  <Text size="sm">
                    Was <b>{decision.data.decision.decision}</b>,{' '}
                    <Time value={decision.data.decision.timestamp} style="ago" />
                  </Text>
                  <Anchor
                    component="button"
                    type="button"
                    size="sm"
                    onClick={() => {
                      setTyped(asTyped(decision.data.decision));
                      setSource('typed');
                    }}
                  >
                    Change it
                  </Anchor>
                </Group>
                <JsonView value={input} label="Recorded input" maxHeight={320} />
              </>
            ) : null}
          </>
        ) : (
          <>
            <TextInput
              label="Action"
              required
              withAsterisk={false}
              value={typed.action}
              onChange={(event) => setTyped({ ...typed, action: event.currentTarget.value })}
            />
            <TextInput
              label="Resource"
              description="Text, or a JSON object."
              value={typed.resource}
              onChange={(event) => setTyped({ ...typed, resource: event.currentTarget.value })}
            />
            <div>
              <Text size="sm" fw={500} mb={4}>
                Context (JSON)
              </Text>
              <CodeEditor
                value={typed.context}
                label="Context as JSON"
                language="json"
                maxHeight="320px"
                onChange={(text) => setTyped((before) => ({ ...before, context: text }))}
              />
              {context ? null : (
                <Text size="xs" c="var(--mantine-color-error)" mt={4} role="alert">
                  This is not a JSON object yet.
                </Text>
              )}
            </div>
          </>
        )}
        <Guard need="author">
          {(disabled) => (
            <Button
              type="submit"
              fullWidth
              loading={busy}
              disabled={
                disabled || (source === 'recent' ? !input : !context || !typed.action.trim())
              }
              leftSection={<IconPlayerPlay size={16} />}
            >
              Evaluate
            </Button>
          )}
        </Guard>
      </Stack>
    </form>
  );
}

interface RecentProps {
  policy: PolicyDetail;
  recorded: DecisionEvent | null;
  value: string | null;
  onChange: (id: string | null) => void;
}

function RecentSelect({ policy, recorded, value, onChange }: RecentProps) {
  const [mine, setMine] = useState('all');
  const recent = useRecentDecisions(mine === 'mine' ? { policy: policy.name } : {}, true);
  const rows = recent.data?.decisions ?? [];
  const options = rows.map((row) => ({ value: row.id, label: optionText(row) }));
  if (recorded && !rows.some(({ id }) => id === recorded.id)) {
    options.unshift({ value: recorded.id, label: optionText(recorded) });
  }
  return (
    <Stack gap="xs">
      <SegmentedControl
        size="xs"
        aria-label="Which decisions"
        value={mine}
        onChange={setMine}
        data={[
          { value: 'all', label: 'The newest' },
          { value: 'mine', label: 'Of this policy' },
        ]}
      />
      {recent.isError ? (
        <Failure error={recent.error} what="Recent decisions" retry={() => void recent.refetch()} />
      ) : (
        <Select
          label="Decision"
          placeholder={
            recent.isPending ? 'Loading…' : rows.length === 0 ? 'None is recorded' : 'Pick one'
          }
          searchable
          data={options}
          value={value}
          onChange={onChange}
          nothingFoundMessage="None fits"
          maxDropdownHeight={320}
        />
      )}
    </Stack>
  );
}

function optionText(
  row: Pick<DecisionRow, 'timestamp' | 'decision' | 'action' | 'resource' | 'agent'>,
) {
  const time = format.clock.format(new Date(row.timestamp));
  return `${time}  ${row.decision}  ${row.action}  ${row.resource}  ${row.agent}`;
}

/** A recorded check as the fields of the form; workers lay the context beside itself as well. */
function asTyped(decision: DecisionEvent) {
  const resource = decision.input?.resource ?? decision.resource;
  const context = decision.input?.context ?? {};
  return {
    action: decision.action,
    resource: typeof resource === 'string' ? resource : JSON.stringify(resource),
    context: JSON.stringify(context, null, 2),
  };
}

function readObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text.trim() || '{}');
    return value !== null && typeof value === 'object' && !Array.isArray(value)
      ? (value as JsonObject)
      : null;
  } catch {
    return null;
  }
}

function readValue(text: string): unknown {
  return text.trim().startsWith('{') ? (readObject(text) ?? text) : text;
}
