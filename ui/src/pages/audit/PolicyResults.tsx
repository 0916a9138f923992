import { Accordion, Anchor, Box, Button, Group, Stack, Text } from '@mantine/core';
import { IconFlask } from '@tabler/icons-react';
import { Link } from 'react-router';

import { useExplanation } from '../../api/decisions';
import type { DecisionDetail, EvaluatedPolicy, PolicyResult } from '../../api/types';
import { Failure, Lines, Loading } from '../../components/states';
import { Why } from '../../components/Why';
import { DecisionBadge, ModeBadge } from '../../components/badges';
import { words } from '../../lib/format';

/** What each policy said, and why: worked out again from the recorded input. */
export function PolicyResults({ detail }: { detail: DecisionDetail }) {
  const { decision } = detail;
  const explanation = useExplanation(decision.id);
  const replays = explanation.data?.policies ?? [];
  if (decision.policies.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        No policy applied. Without one, everything is allowed and recorded.
      </Text>
    );
  }
  const speaks = (policy: PolicyResult) =>
    policy.decision === 'deny' || policy.warnings.length > 0 || Boolean(policy.error);
  const open = decision.policies.filter(speaks).map(({ name }) => name);
  return (
    <Stack gap="sm">
      {explanation.isError ? <Failure error={explanation.error} what="The explanation" /> : null}
      <Accordion multiple variant="separated" defaultValue={open}>
        {decision.policies.map((policy) => {
          const replay = replays.find(({ recorded }) => recorded.name === policy.name);
          return (
            <Accordion.Item key={policy.name} value={policy.name}>
              <Accordion.Control>
                <Group gap="xs">
                  <DecisionBadge decision={policy.decision} />
                  <Text size="sm" fw={600}>
                    {policy.name}
                  </Text>
                  <ModeBadge mode={policy.mode} />
                  <Text size="xs" c="dimmed">
                    version {policy.version} · {policy.scope}
                  </Text>
                </Group>
              </Accordion.Control>
              <Accordion.Panel>
                {explanation.isPending ? (
                  <Loading label="the explanation">
                    <Lines rows={3} />
                  </Loading>
                ) : (
                  <Explained
                    policy={policy}
                    replay={replay?.replay ?? null}
                    note={replay?.note ?? null}
                  />
                )}
                <Group mt="md" justify="space-between">
                  <Anchor component={Link} to={`/policies/${policy.name}`} size="sm">
                    Open the policy
                  </Anchor>
                  <Button
                    component={Link}
                    to={`/policies/${policy.name}?tab=bench&decision=${decision.id}`}
                    size="xs"
                    variant="default"
                    leftSection={<IconFlask size={15} />}
                  >
                    Replay in the test bench
                  </Button>
                </Group>
              </Accordion.Panel>
            </Accordion.Item>
          );
        })}
      </Accordion>
    </Stack>
  );
}

interface ExplainedProps {
  policy: PolicyResult;
  replay: EvaluatedPolicy | null;
  note: string | null;
}

function Explained({ policy, replay, note }: ExplainedProps) {
  const said = [...policy.deny_reasons, ...policy.warnings];
  return (
    <Box>
      {note ? (
        <Text size="xs" c="dimmed" mb="xs">
          {note}
        </Text>
      ) : null}
      {replay ? (
        <Why result={replay} />
      ) : (
        <Text size="sm">
          {policy.error ??
            (said.length > 0 ? said.map(words).join(', ') : 'It had nothing to say.')}
        </Text>
      )}
    </Box>
  );
}
