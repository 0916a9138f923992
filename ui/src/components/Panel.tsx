import { Box, Card, Group, Text, Title, Tooltip, UnstyledButton } from '@mantine/core';
import { IconHelpCircle } from '@tabler/icons-react';
import type { ReactNode } from 'react';

interface Props {
  title: string;
  help?: string;
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
}

/** A card with a heading. */
export function Panel({ title, help, aside, children, className }: Props) {
  return (
    <Card className={`sg-card ${className ?? ''}`} component="section" aria-label={title}>
      <Group justify="space-between" mb="md" gap="xs">
        <Group gap={6} wrap="nowrap" miw={0}>
          <Title order={2} fz="md" style={{ overflowWrap: 'anywhere' }}>
            {title}
          </Title>
          {help ? (
            <Tooltip label={help}>
              <UnstyledButton aria-label={`About ${title}: ${help}`} c="dimmed" lh={0}>
                <IconHelpCircle size={16} stroke={1.7} aria-hidden />
              </UnstyledButton>
            </Tooltip>
          ) : null}
        </Group>
        {aside ? (
          <Text component="div" size="sm" c="dimmed">
            {aside}
          </Text>
        ) : null}
      </Group>
      <Box miw={0}>{children}</Box>
    </Card>
  );
}
