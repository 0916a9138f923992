import { Text, Tooltip } from '@mantine/core';

import { ago, format, utc } from '../lib/time';

interface Props {
  value: string;
  style?: 'full' | 'short' | 'ago';
}

/** A time in the viewer's zone, in UTC on hover or focus. */
export function Time({ value, style = 'full' }: Props) {
  const date = new Date(value);
  const known = !Number.isNaN(date.getTime());
  const shown = !known ? value : style === 'ago' ? ago(value) : format[style].format(date);
  const hint =
    style === 'ago' && known ? `${format.full.format(date)} · ${utc(value)}` : utc(value);
  return (
    <Tooltip label={hint}>
      <Text component="time" dateTime={value} inherit span className="sg-numbers">
        {shown}
      </Text>
    </Tooltip>
  );
}
