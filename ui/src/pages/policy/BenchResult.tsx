import { Group, Stack, Text } from '@mantine/core';

import type { EvaluateReply, EvaluatedPolicy } from '../../api/types';
import { Why } from '../../components/Why';
import { DecisionBadge, ModeBadge } from '../../components/badges';
import { micros } from '../../lib/format';

interface Props {
  reply: EvaluateReply;
  result: EvaluatedPolicy | undefined;
  onShow: (line: number) => void;
}

export function BenchResult({ reply, result, onShow }: Props) {
  return (
    <Stack gap="md" aria-live="polite" data-testid="bench-result">
      <Group gap="sm">
        <DecisionBadge decision={result?.decision ?? reply.decision} />
        {result ? <ModeBadge mode={result.mode} /> : null}
        <Text size="sm" c="dimmed">
          {micros(result?.duration_us ?? reply.duration_us)}
        </Text>
      </Group>
      <Text size="sm">{reply.error_message ?? reply.reason}</Text>
      {result ? <Why result={result} onShow={onShow} /> : null}
    </Stack>
  );
}
