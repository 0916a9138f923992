import { Group, Paper, Text } from '@mantine/core';

import { seconds as duration } from '../../lib/format';
import { format } from '../../lib/time';
import type { Point } from './timeline';

interface Props {
  point: Point | undefined;
  seconds: number;
  rows: { name: keyof Omit<Point, 'at'>; label: string; color: string }[];
  show: (value: number | null) => string;
}

/** What a chart says of the bucket below the pointer. */
export function ChartTip({ point, seconds, rows, show }: Props) {
  if (!point) return null;
  return (
    <Paper px="sm" py="xs" withBorder shadow="md" radius="md">
      <Text size="xs" c="dimmed" mb={4}>
        {format.short.format(new Date(point.at))} · {duration(seconds)}
      </Text>
      {rows.map(({ name, label, color }) => (
        <Group key={name} justify="space-between" gap="lg" wrap="nowrap">
          <Group gap={6} wrap="nowrap">
            <span style={{ width: 9, height: 9, borderRadius: 3, background: color }} />
            <Text size="sm">{label}</Text>
          </Group>
          <Text size="sm" fw={600} className="sg-numbers">
            {show(point[name])}
          </Text>
        </Group>
      ))}
    </Paper>
  );
}
