import { Anchor, Group, List, Stack, Table, Text } from '@mantine/core';
import { IconBulb } from '@tabler/icons-react';

import type { EvaluatedPolicy, Json } from '../api/types';
import { words } from '../lib/format';
import { Prose } from './Prose';
import classes from './Why.module.css';

interface Props {
  result: EvaluatedPolicy;
  /** Shows a line of the policy; without it lines are plain text. */
  onShow?: (line: number) => void;
}

/** Why a policy said what it said: reasons, remedy, rules that held, values that were read. */
export function Why({ result, onShow }: Props) {
  const advice = new Map((result.advice ?? []).map(({ reason, text }) => [reason, text]));
  const said = [...result.deny_reasons, ...result.warnings];
  return (
    <Stack gap="md">
      {result.error ? (
        <Text size="sm" c="var(--sg-error-text)">
          It could not be evaluated: {result.error}
        </Text>
      ) : null}
      {said.map((reason) => (
        <div key={reason}>
          <Text
            size="sm"
            fw={600}
            c={
              result.deny_reasons.includes(reason) ? 'var(--sg-deny-text)' : 'var(--sg-shadow-text)'
            }
          >
            {words(reason)}
          </Text>
          {advice.has(reason) ? (
            <Text size="sm">
              <Prose text={advice.get(reason) ?? ''} />
            </Text>
          ) : null}
        </div>
      ))}
      {result.remedy?.length ? (
        <div className={classes.remedy}>
          <Group gap={6} mb={4}>
            <IconBulb size={17} aria-hidden />
            <Text size="sm" fw={600}>
              It would be allowed with
            </Text>
          </Group>
          <List size="sm" spacing={2}>
            {result.remedy.map((change) => (
              <List.Item key={change.path}>
                <Prose text={change.text} />
              </List.Item>
            ))}
          </List>
        </div>
      ) : null}
      {result.rules?.length ? (
        <Rows
          title="Rules that held"
          head={['Line', 'Rule', 'Value']}
          rows={result.rules.map((rule) => [
            <LineLink key="line" line={rule.line} onShow={onShow} />,
            rule.rule,
            shown(rule.value),
          ])}
        />
      ) : null}
      {result.reads?.length ? (
        <Rows
          title="What it read"
          head={['Line', 'Place', 'Value']}
          rows={result.reads.map((read) => [
            <LineLink key="line" line={read.lines[0] ?? 0} onShow={onShow} />,
            read.path,
            read.value === undefined ? 'not given' : shown(read.value),
          ])}
        />
      ) : null}
    </Stack>
  );
}

function LineLink({
  line,
  onShow,
}: {
  line: number;
  onShow: ((line: number) => void) | undefined;
}) {
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

function shown(value: Json | undefined): string {
  return value === undefined ? 'true' : JSON.stringify(value);
}
