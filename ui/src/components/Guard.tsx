import { Box, Tooltip } from '@mantine/core';
import type { ReactNode } from 'react';

import { refusal, useSession } from '../api/session';
import type { Role } from '../api/types';

interface Props {
  need: Role;
  /** Given whether the control must be disabled. */
  children: (disabled: boolean) => ReactNode;
}

/** Shows a control to everyone; who may not use it sees it disabled, and why on hover or focus. */
export function Guard({ need, children }: Props) {
  const { data: session } = useSession();
  const reason = refusal(session, need);
  if (!reason) return children(false);
  return (
    <Tooltip label={reason}>
      <Box component="span" tabIndex={0} role="note" aria-label={reason} display="inline-block">
        {children(true)}
      </Box>
    </Tooltip>
  );
}
