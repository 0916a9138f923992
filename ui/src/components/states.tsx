import { Box, Button, Center, Group, Skeleton, Stack, Text, ThemeIcon } from '@mantine/core';
import {
  IconAlertTriangle,
  IconDatabaseOff,
  IconLock,
  IconMapQuestion,
  IconPlugConnectedX,
} from '@tabler/icons-react';
import type { ComponentType, ReactNode } from 'react';

import { ApiError } from '../api/client';
import { Note } from './Note';

interface EmptyProps {
  icon: ComponentType<{ size?: number; stroke?: number }>;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

/** Nothing is there, and what to do about that. */
export function Empty({ icon: Icon, title, children, action }: EmptyProps) {
  return (
    <Center py={48} px="md">
      <Stack align="center" gap="xs" maw={440}>
        <ThemeIcon variant="light" size={52} radius="xl" aria-hidden>
          <Icon size={26} stroke={1.6} />
        </ThemeIcon>
        <Text fw={600} ta="center">
          {title}
        </Text>
        {children ? (
          <Text c="dimmed" size="sm" ta="center" component="div">
            {children}
          </Text>
        ) : null}
        {action}
      </Stack>
    </Center>
  );
}

interface FailureProps {
  error: unknown;
  what: string;
  retry?: () => void;
}

/** What failed, why, and a way to try again. */
export function Failure({ error, what, retry }: FailureProps) {
  const { icon: Icon, title, detail } = described(error, what);
  return (
    <Note tone="deny" icon={Icon} title={title} role="alert">
      {detail}
      {retry ? (
        <Group mt="sm">
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        </Group>
      ) : null}
    </Note>
  );
}

/** A title in words of the page: the server's is the name of an HTTP status. */
function described(error: unknown, what: string) {
  if (!(error instanceof ApiError)) {
    const detail = error instanceof Error ? error.message : 'Something went wrong in the console.';
    return { icon: IconAlertTriangle, title: `${what} could not be shown`, detail };
  }
  const detail = error.detail || error.title;
  switch (error.status) {
    case 0:
      return { icon: IconPlugConnectedX, title: error.title, detail };
    case 401:
    case 403:
      return { icon: IconLock, title: `${what}: not with your rights`, detail };
    case 404:
      return { icon: IconMapQuestion, title: `${what} is not there`, detail };
    case 502:
    case 503:
    case 504:
      return { icon: IconDatabaseOff, title: `${what} can't be shown now`, detail };
    default:
      return { icon: IconAlertTriangle, title: `${what} could not be shown`, detail };
  }
}

/** Lines where text will be. */
export function Lines({ rows = 4, height = 18 }: { rows?: number; height?: number }) {
  return (
    <Stack gap="sm" aria-hidden data-loading>
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={height} width={`${100 - (row % 3) * 12}%`} />
      ))}
    </Stack>
  );
}

export function Loading({ children, label }: { children: ReactNode; label: string }) {
  return (
    <Box role="status" aria-label={`Loading ${label}`}>
      {children}
    </Box>
  );
}
