import { Table, Text } from '@mantine/core';

import type { Difference } from '../../api/types';
import { DecisionBadge } from '../../components/badges';
import { words } from '../../lib/format';
import classes from './Suite.module.css';

/** What a case expected, beside what the policy said. */
export function Differences({ differences }: { differences: Difference[] }) {
  return (
    <Table layout="fixed" fz="sm" verticalSpacing={4}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th w={{ base: 92, sm: 140 }}>Differs</Table.Th>
          <Table.Th>Expected</Table.Th>
          <Table.Th>Got</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {differences.map(({ field, expected, got }) => (
          <Table.Tr key={field}>
            <Table.Th scope="row" fw={500}>
              {words(field)}
            </Table.Th>
            <Table.Td>
              <Value field={field} value={expected} other={got} side="expected" />
            </Table.Td>
            <Table.Td>
              <Value field={field} value={got} other={expected} side="got" />
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

interface ValueProps {
  field: string;
  value: unknown;
  other: unknown;
  side: 'expected' | 'got';
}

function Value({ field, value, other, side }: ValueProps) {
  if (field === 'decision' && typeof value === 'string') return <DecisionBadge decision={value} />;
  if (field === 'error' && typeof value !== 'string') {
    return <Quiet>{value === true ? 'an error' : 'no error'}</Quiet>;
  }
  const items = Array.isArray(value) ? value : [value];
  if (items.length === 0) return <Quiet>none</Quiet>;
  const others = Array.isArray(other) ? other : [other];
  return (
    <ul className={classes.values}>
      {items.map((item) => (
        <li
          key={String(item)}
          className="sg-mono"
          data-only={others.includes(item) ? undefined : side}
        >
          {String(item)}
        </li>
      ))}
    </ul>
  );
}

function Quiet({ children }: { children: string }) {
  return (
    <Text size="sm" c="dimmed" fs="italic">
      {children}
    </Text>
  );
}
