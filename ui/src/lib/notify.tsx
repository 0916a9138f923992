import { Button, Group, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconAlertTriangle, IconCheck } from '@tabler/icons-react';

import { ApiError } from '../api/client';
import { copyText } from './clipboard';

export function notifyDone(message: string): void {
  notifications.show({ message, color: 'teal', icon: <IconCheck size={18} />, withBorder: true });
}

export function notifyFailure(error: unknown, title: string): void {
  const detail =
    error instanceof ApiError
      ? error.status === 412
        ? 'Somebody changed this in the meantime. The newest version is shown now: look at it and try again.'
        : error.detail || error.title
      : error instanceof Error
        ? error.message
        : String(error);
  notifications.show({
    title,
    message: detail,
    color: 'red',
    icon: <IconAlertTriangle size={18} />,
    autoClose: 12_000,
    withBorder: true,
  });
}

/** Copies a text and says so, or says that it could not be. */
export async function copyAndTell(text: string, done: string): Promise<void> {
  if (await copyOrTell(text)) notifyDone(done);
}

/** Copies a text, or says that it could not be; whether it was. */
export async function copyOrTell(text: string): Promise<boolean> {
  const copied = await copyText(text);
  if (!copied) notifyFailure('This browser gives pages no clipboard.', 'Nothing was copied');
  return copied;
}

/** Tells of a change and offers to take it back. */
export function notifyUndo(message: string, undo: () => void): void {
  const id = `undo-${Date.now()}`;
  notifications.show({
    id,
    color: 'teal',
    icon: <IconCheck size={18} />,
    autoClose: 15_000,
    withBorder: true,
    message: (
      <Group justify="space-between" wrap="nowrap" gap="sm">
        <Text size="sm">{message}</Text>
        <Button
          size="compact-sm"
          variant="default"
          onClick={() => {
            notifications.hide(id);
            undo();
          }}
        >
          Undo
        </Button>
      </Group>
    ),
  });
}
