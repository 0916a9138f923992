import { Button, Group, Stack, Text } from '@mantine/core';
import { IconCopy } from '@tabler/icons-react';

import type { EvaluateReply, EvaluatedPolicy, JsonObject } from '../../api/types';
import { Why } from '../../components/Why';
import { DecisionBadge, ModeBadge } from '../../components/badges';
import { micros } from '../../lib/format';
import { copyAndTell } from '../../lib/notify';
import { caseText } from '../../lib/suites';

interface Props {
  reply: EvaluateReply;
  result: EvaluatedPolicy | undefined;
  /** The policy's settings, without defaults. */
  parameters: JsonObject;
  onShow: (line: number) => void;
}

export function BenchResult({ reply, result, parameters, onShow }: Props) {
  return (
    <Stack gap="md" aria-live="polite" data-testid="bench-result">
      <Group gap="sm">
        <DecisionBadge decision={result?.decision ?? reply.decision} />
        {result ? <ModeBadge mode={result.mode} /> : null}
        <Text size="sm" c="dimmed">
          {micros(result?.duration_us ?? reply.duration_us)}
        </Text>
        {result ? (
          <Button
            ml="auto"
            size="xs"
            variant="default"
            leftSection={<IconCopy size={15} />}
            onClick={() =>
              void copyAndTell(
                caseText(reply.input, result, parameters),
                'Copied. Paste it below “tests:” in a suite, or under Suite, Try cases.',
              )
            }
          >
            Copy as test case
          </Button>
        ) : null}
      </Group>
      <Text size="sm">{reply.error_message ?? reply.reason}</Text>
      {result ? <Why result={result} onShow={onShow} /> : null}
    </Stack>
  );
}
