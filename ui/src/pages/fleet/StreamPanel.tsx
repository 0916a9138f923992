import { Box, Group, Progress, Stack, Table, Text } from '@mantine/core';

import type { Fleet, Stream } from '../../api/fleet.types';
import { Panel } from '../../components/Panel';
import { Time } from '../../components/Time';
import { ToneBadge } from '../../components/Tone';
import { bytes, count, seconds } from '../../lib/format';

export function StreamPanel({ fleet }: { fleet: Fleet }) {
  const { nats } = fleet;
  return (
    <Panel title="NATS JetStream" aside={<span className="sg-mono">{nats.url}</span>}>
      <Stack gap="lg">
        <StreamView title="Audit stream" stream={nats.audit} expected={nats.audit_expected_bytes} />
        <Consumers stream={nats.audit} />
        <StreamView title="Dead letters" stream={nats.dead_letters} expected={null} bad />
        <StreamView title="Policies" stream={nats.policies} expected={null} />
      </Stack>
    </Panel>
  );
}

interface ViewProps {
  title: string;
  stream: Stream | null;
  expected: number | null;
  /** Messages in it are a problem. */
  bad?: boolean;
}

function StreamView({ title, stream, expected, bad = false }: ViewProps) {
  if (!stream) {
    return (
      <Group gap="xs">
        <Text size="sm" fw={600}>
          {title}
        </Text>
        <Text size="sm" c="dimmed">
          not made yet
        </Text>
      </Group>
    );
  }
  const share = stream.max_bytes ? (100 * stream.bytes) / stream.max_bytes : null;
  return (
    <Box>
      <Group justify="space-between" mb={4} gap="xs">
        <Group gap="xs">
          <Text size="sm" fw={600}>
            {title}
          </Text>
          {bad && stream.messages > 0 ? <ToneBadge tone="deny">wants a look</ToneBadge> : null}
          {stream.lagging.length > 0 ? (
            <ToneBadge tone="shadow">{stream.lagging.length} copies behind</ToneBadge>
          ) : null}
        </Group>
        <Text size="sm" className="sg-numbers">
          {count(stream.messages)} messages · {bytes(stream.bytes)}
          {stream.max_bytes ? ` of ${bytes(stream.max_bytes)}` : ''}
        </Text>
      </Group>
      {share === null ? null : (
        <Progress
          value={share}
          size="sm"
          color={share > 85 ? 'var(--sg-deny)' : 'var(--sg-allow)'}
          aria-label={`${title}: ${Math.round(share)}% of its room is used`}
        />
      )}
      <Text size="xs" c="dimmed" mt={4} component="div">
        {stream.replicas > 1 ? `${stream.replicas} copies` : 'One copy'}
        {stream.max_age_seconds
          ? ` · kept for ${seconds(stream.max_age_seconds)}`
          : ' · kept for ever'}
        {expected ? ` · will hold about ${bytes(expected)}` : ''}
        {stream.last ? (
          <>
            {' · newest '}
            <Time value={stream.last.time} style="ago" />
          </>
        ) : null}
      </Text>
    </Box>
  );
}

function Consumers({ stream }: { stream: Stream | null }) {
  if (!stream || stream.consumers.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nobody reads the audit stream: no sink carries decisions into history.
      </Text>
    );
  }
  return (
    <Table.ScrollContainer
      minWidth={420}
      scrollAreaProps={{
        viewportProps: { tabIndex: 0, role: 'region', 'aria-label': 'Consumers' },
      }}
    >
      <Table fz="sm" verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Consumer</Table.Th>
            <Table.Th ta="right">Pending</Table.Th>
            <Table.Th ta="right">Unacknowledged</Table.Th>
            <Table.Th ta="right">Redelivered</Table.Th>
            <Table.Th>Read</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {stream.consumers.map((consumer) => (
            <Table.Tr key={consumer.name}>
              <Table.Td style={{ whiteSpace: 'nowrap' }}>{consumer.name}</Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(consumer.pending)}
              </Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(consumer.unacknowledged)}
              </Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(consumer.redelivered)}
              </Table.Td>
              <Table.Td>
                <ToneBadge tone={consumer.active ? 'good' : 'shadow'}>
                  {consumer.active ? 'now' : 'not now'}
                </ToneBadge>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
