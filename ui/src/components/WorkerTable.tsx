import { Code, Table, Text, Tooltip } from '@mantine/core';

import type { Worker } from '../api/fleet.types';
import { count } from '../lib/format';
import { healthOf } from '../lib/fleet';
import { Time } from './Time';
import { ToneBadge } from './Tone';

export function WorkerTable({ workers }: { workers: Worker[] }) {
  return (
    <Table.ScrollContainer
      minWidth={760}
      scrollAreaProps={{ viewportProps: { tabIndex: 0, role: 'region', 'aria-label': 'Workers' } }}
    >
      <Table verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Worker</Table.Th>
            <Table.Th>Health</Table.Th>
            <Table.Th>Revision</Table.Th>
            <Table.Th ta="right">Policies</Table.Th>
            <Table.Th>Enforcement</Table.Th>
            <Table.Th ta="right">Recorded</Table.Th>
            <Table.Th ta="right">Waiting</Table.Th>
            <Table.Th>Started</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {workers.map((worker) => (
            <Table.Tr key={worker.name}>
              <Table.Td>
                <Text size="sm" fw={600}>
                  {worker.name}
                </Text>
                <Text size="xs" c="dimmed">
                  {worker.version}
                </Text>
              </Table.Td>
              <Table.Td>
                <HealthBadge worker={worker} workers={workers} />
              </Table.Td>
              <Table.Td>
                <Tooltip label={`${worker.revision} · bucket sequence ${worker.sequence}`}>
                  <Code tabIndex={0}>{worker.revision.replace(/^sha256:/, '').slice(0, 10)}</Code>
                </Tooltip>
              </Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {worker.taking_part} of {worker.policies}
              </Table.Td>
              <Table.Td>{worker.enforcement}</Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(worker.audit.recorded)}
              </Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(worker.audit.waiting)}
              </Table.Td>
              <Table.Td>
                <Time value={worker.started_at} style="ago" />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function HealthBadge({ worker, workers }: { worker: Worker; workers: Worker[] }) {
  const { tone, label, details } = healthOf(worker, workers);
  const badge = <ToneBadge tone={tone}>{label}</ToneBadge>;
  if (details.length === 0) return badge;
  return (
    <Tooltip label={details.join(' ')}>
      <span tabIndex={0} role="note" aria-label={`${label}: ${details.join(' ')}`}>
        {badge}
      </span>
    </Tooltip>
  );
}
