import { Badge, type BadgeProps } from '@mantine/core';
import type { ReactNode } from 'react';

/** What a colour means is the same everywhere: teal allows, red denies, amber would, violet failed. */
export type Tone = 'allow' | 'deny' | 'shadow' | 'error' | 'quiet' | 'good';

interface Props extends BadgeProps {
  tone: Tone;
  children: ReactNode;
  title?: string;
}

export function ToneBadge({ tone, children, ...rest }: Props) {
  return (
    <Badge
      variant="default"
      styles={{
        root: {
          background: `var(--sg-${tone}-soft)`,
          color: `var(--sg-${tone}-text)`,
          border: 0,
          // A word that is cut off says nothing.
          flexShrink: 0,
          minWidth: 'max-content',
        },
      }}
      {...rest}
    >
      {children}
    </Badge>
  );
}
