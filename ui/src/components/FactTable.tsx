import { Table } from '@mantine/core';
import type { ReactNode } from 'react';

/** Names with what they stand for. */
export function FactTable({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <Table layout="fixed" verticalSpacing={6}>
      <Table.Tbody>
        {rows.map(([name, value], row) => (
          // A policy may stand here twice: only the place tells rows apart.
          <Table.Tr key={row}>
            <Table.Th w={140} scope="row" c="dimmed" fw={500}>
              {name}
            </Table.Th>
            <Table.Td style={{ overflowWrap: 'anywhere' }}>{value}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
