import { Group, Progress, Stack, Table, Text } from '@mantine/core';
import { IconDatabaseOff } from '@tabler/icons-react';

import type { Fleet } from '../../api/fleet.types';
import { Note } from '../../components/Note';
import { Panel } from '../../components/Panel';
import { Time } from '../../components/Time';
import { bytes, count, seconds } from '../../lib/format';

export function ClickHousePanel({ clickhouse }: { clickhouse: Fleet['clickhouse'] }) {
  return (
    <Panel
      title={`ClickHouse ${clickhouse.version}`}
      aside={<span className="sg-mono">{clickhouse.url}</span>}
    >
      {clickhouse.unavailable ? (
        <Note tone="deny" icon={IconDatabaseOff} title="History does not answer" role="alert">
          <Text size="sm">{clickhouse.unavailable}</Text>
          <Text size="sm" mt={4}>
            Decisions are made and kept in the audit stream meanwhile, and stored once it is back.
          </Text>
        </Note>
      ) : (
        <Stack gap="lg">
          <Tables tables={clickhouse.tables} />
          {clickhouse.disks.map((disk) => {
            const used = disk.total > 0 ? (100 * (disk.total - disk.free)) / disk.total : 0;
            return (
              <div key={disk.name}>
                <Group justify="space-between" mb={4}>
                  <Text size="sm" fw={600}>
                    Disk {disk.name}
                  </Text>
                  <Text size="sm" className="sg-numbers">
                    {bytes(disk.free)} free of {bytes(disk.total)}
                  </Text>
                </Group>
                <Progress
                  value={used}
                  size="sm"
                  color={used > 85 ? 'var(--sg-deny)' : 'var(--sg-allow)'}
                  aria-label={`Disk ${disk.name}: ${Math.round(used)}% used`}
                />
              </div>
            );
          })}
          <Text size="xs" c="dimmed">
            Kept: decisions {kept(clickhouse.keep_decisions_seconds)}, violations{' '}
            {kept(clickhouse.keep_violations_seconds)}, outcomes{' '}
            {kept(clickhouse.keep_outcomes_seconds)}.
          </Text>
        </Stack>
      )}
    </Panel>
  );
}

function kept(value: number): string {
  return value > 0 ? seconds(value) : 'for ever';
}

function Tables({ tables }: { tables: Fleet['clickhouse']['tables'] }) {
  return (
    <Table.ScrollContainer
      minWidth={430}
      scrollAreaProps={{ viewportProps: { tabIndex: 0, role: 'region', 'aria-label': 'Tables' } }}
    >
      <Table fz="sm" verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Table</Table.Th>
            <Table.Th ta="right">Rows</Table.Th>
            <Table.Th ta="right">In 24 h</Table.Th>
            <Table.Th ta="right">Size</Table.Th>
            <Table.Th>Newest row</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {tables.map((table) => (
            <Table.Tr key={table.name}>
              <Table.Td className="sg-mono">{table.name}</Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(table.rows)}
              </Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {count(table.rows_last_day)}
              </Table.Td>
              <Table.Td ta="right" className="sg-numbers">
                {bytes(table.bytes)}
              </Table.Td>
              <Table.Td>{table.span ? <Time value={table.span[1]} style="ago" /> : '–'}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
