import { Group, List, Stack, Text } from '@mantine/core';
import { IconBulb } from '@tabler/icons-react';

import type { EvaluatedPolicy } from '../api/types';
import { words } from '../lib/format';
import { Prose } from './Prose';
import { Trace } from './Trace';
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
      <Trace rules={result.rules} reads={result.reads} onShow={onShow} />
    </Stack>
  );
}
