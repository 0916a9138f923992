import { Anchor, SimpleGrid, Table, Text } from '@mantine/core';

import type { FiredRule, InputRead } from '../api/types';
import classes from './Trace.module.css';

type Show = ((line: number) => void) | undefined;

interface Props {
  rules: FiredRule[] | undefined;
  reads: InputRead[] | undefined;
  /** Shows a line of the policy; without it lines are plain text. */
  onShow?: Show;
  /** The two beside each other, where there is room. */
  wide?: boolean;
}

/** What an evaluation did: rules that held, and what it read of the input. */
export function Trace({ rules, reads, onShow, wide = false }: Props) {
  if (!rules?.length && !reads?.length) return null;
  return (
    <SimpleGrid cols={{ base: 1, lg: wide ? 2 : 1 }} spacing="xl" verticalSpacing="md">
      {rules?.length ? (
        <Rows
          title="Rules that held"
          head={['Line', 'Rule', 'Value']}
          rows={rules.map((rule) => [
            <LineLink key="line" line={rule.line} onShow={onShow} />,
            rule.rule,
            shown(rule.value),
          ])}
        />
      ) : null}
      {reads?.length ? (
        <Rows
          title="What it read"
          head={['Line', 'Place', 'Value']}
          rows={reads.map((read) => [
            <LineLink key="line" line={read.lines[0] ?? 0} onShow={onShow} />,
            read.path,
            read.value === undefined ? 'not given' : shown(read.value),
          ])}
        />
      ) : null}
    </SimpleGrid>
  );
}

function LineLink({ line, onShow }: { line: number; onShow: Show }) {
  if (!onShow || line < 1) return line > 0 ? line : '–';
  return (
    <Anchor
      component="button"
      type="button"
      inherit
      onClick={() => onShow(line)}
      aria-label={`Show line ${line}`}
    >
      {line}
    </Anchor>
  );
}

function Rows({ title, head, rows }: { title: string; head: string[]; rows: React.ReactNode[][] }) {
  return (
    <div>
      <Text size="sm" fw={600} mb={4}>
        {title}
      </Text>
      <Table className={classes.table} fz="sm" layout="fixed" verticalSpacing={4}>
        <Table.Thead>
          <Table.Tr>
            {head.map((name, column) => (
              <Table.Th key={name} w={column === 0 ? 64 : undefined}>
                {name}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((cells, row) => (
            // Rules may hold twice on a line with the same value: only the place tells rows apart.
            <Table.Tr key={row}>
              {cells.map((cell, column) => (
                <Table.Td key={head[column]} className="sg-mono">
                  {cell}
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function shown(value: unknown): string {
  return value === undefined ? 'true' : JSON.stringify(value);
}
