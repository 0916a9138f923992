import { Drawer, Group, Stack, Tabs, Text } from '@mantine/core';

import { ApiError } from '../../api/client';
import { useDecision } from '../../api/decisions';
import type { DecisionDetail } from '../../api/types';
import { JsonView } from '../../components/Json';
import { Failure, Lines, Loading } from '../../components/states';
import { Time } from '../../components/Time';
import { ToneBadge } from '../../components/Tone';
import { DecisionBadge } from '../../components/badges';
import type { Filters } from '../../lib/filters';
import { DecisionFacts } from './DecisionFacts';
import { PolicyResults } from './PolicyResults';

interface Props {
  id: string | null;
  onClose: () => void;
  onFilter: (filters: Filters) => void;
}

export function DecisionDrawer({ id, onClose, onFilter }: Props) {
  const detail = useDecision(id);
  const missing = detail.error instanceof ApiError && detail.error.status === 404;
  return (
    <Drawer
      opened={id !== null}
      onClose={onClose}
      position="right"
      size="min(720px, 100vw)"
      title="Decision"
      closeButtonProps={{ 'aria-label': 'Close the decision' }}
    >
      {detail.data ? <Body detail={detail.data} onFilter={onFilter} /> : null}
      {detail.isPending && id !== null ? (
        <Loading label="the decision">
          <Lines rows={8} />
          {detail.failureCount > 0 ? (
            <Text size="sm" c="dimmed" mt="md">
              It is not stored yet; that takes a moment.
            </Text>
          ) : null}
        </Loading>
      ) : null}
      {detail.isError ? (
        missing ? (
          <Text size="sm">
            This decision is not in the history: it is not stored yet, or older than what is kept.
          </Text>
        ) : (
          <Failure error={detail.error} what="The decision" retry={() => void detail.refetch()} />
        )
      ) : null}
    </Drawer>
  );
}

function Body({
  detail,
  onFilter,
}: {
  detail: DecisionDetail;
  onFilter: (filters: Filters) => void;
}) {
  const { decision } = detail;
  return (
    <Stack gap="md">
      <div>
        <Group gap="xs" mb={6}>
          <DecisionBadge decision={decision.decision} />
          {decision.enforced ? null : <ToneBadge tone="shadow">not enforced</ToneBadge>}
          {decision.error ? <ToneBadge tone="error">evaluation error</ToneBadge> : null}
          {decision.unchecked ? (
            <ToneBadge tone="quiet">unchecked: {decision.unchecked}</ToneBadge>
          ) : null}
          <Text size="sm" c="dimmed">
            <Time value={decision.timestamp} />
          </Text>
        </Group>
        <Text fw={600} style={{ overflowWrap: 'anywhere' }}>
          {decision.action} · {decision.resource}
        </Text>
        <Text size="sm">{decision.error_message || decision.reason}</Text>
      </div>
      <Tabs defaultValue="policies">
        <Tabs.List mb="md">
          <Tabs.Tab value="policies">Policies ({decision.policies.length})</Tabs.Tab>
          <Tabs.Tab value="input">Input</Tabs.Tab>
          <Tabs.Tab value="facts">Facts</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="policies">
          <PolicyResults detail={detail} />
        </Tabs.Panel>
        <Tabs.Panel value="input">
          <JsonView
            value={decision.input ?? {}}
            label="Input that the policies saw"
            maxHeight={560}
          />
        </Tabs.Panel>
        <Tabs.Panel value="facts">
          <DecisionFacts detail={detail} onFilter={onFilter} />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}
