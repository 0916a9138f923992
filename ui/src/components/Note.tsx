import { Alert } from '@mantine/core';
import type { ComponentType, ReactNode } from 'react';

import type { Tone } from './Tone';

interface Props {
  tone: Tone;
  icon?: ComponentType<{ size?: number }>;
  title?: string;
  /** `alert` interrupts who listens to the page; a note is read where it stands. */
  role?: 'alert' | 'note';
  small?: boolean;
  children: ReactNode;
}

/** A few words on a coloured ground. */
export function Note({ tone, icon: Icon, title, role = 'note', small = false, children }: Props) {
  const text = `var(--sg-${tone}-text)`;
  return (
    <Alert
      role={role}
      variant="default"
      {...(Icon ? { icon: <Icon size={small ? 16 : 20} /> } : {})}
      {...(title ? { title } : {})}
      {...(small ? { p: 'xs' } : {})}
      styles={{
        root: { background: `var(--sg-${tone}-soft)`, borderColor: 'transparent' },
        icon: { color: text },
        title: { color: text },
        message: { fontSize: `var(--mantine-font-size-${small ? 'xs' : 'sm'})` },
      }}
    >
      {children}
    </Alert>
  );
}
