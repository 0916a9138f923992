import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';

import { useSetEnforcement } from '../api/stats';
import type { EnforcementMode } from '../api/types';
import { notifyFailure, notifyUndo } from '../lib/notify';

const EFFECT: Record<EnforcementMode, string> = {
  on: 'From now on, active policies deny again what they are made to deny.',
  shadow:
    'From now on, no policy denies anything. All are still evaluated, and what they would have denied is recorded.',
  off: 'From now on, no policy is evaluated. Every check is allowed, and recorded as allowed.',
};

interface Props {
  asked: EnforcementMode | null;
  now: EnforcementMode;
  onClose: () => void;
}

export function EnforcementDialog({ asked, now, onClose }: Props) {
  return (
    <Modal opened={asked !== null} onClose={onClose} title={`Set enforcement to ${asked ?? ''}?`}>
      {asked ? <Confirm asked={asked} now={now} onClose={onClose} /> : null}
    </Modal>
  );
}

function Confirm({ asked, now, onClose }: Props & { asked: EnforcementMode }) {
  const [comment, setComment] = useState('');
  const set = useSetEnforcement();
  const apply = (mode: EnforcementMode, why: string) => set.mutateAsync({ mode, comment: why });
  const confirm = async () => {
    try {
      await apply(asked, comment);
      onClose();
      notifyUndo(`Enforcement is ${asked}.`, () => {
        apply(now, `Undo of ${asked}`).catch((error: unknown) =>
          notifyFailure(error, 'Enforcement could not be set back'),
        );
      });
    } catch (error) {
      notifyFailure(error, 'Enforcement was not changed');
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void confirm();
      }}
    >
      <Stack>
        <Text size="sm">
          {EFFECT[asked]} This reaches every worker within milliseconds and is recorded with your
          name.
        </Text>
        <TextInput
          data-autofocus
          label="Why"
          description="Kept with the change."
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" color={asked === 'on' ? 'water' : 'red.8'} loading={set.isPending}>
            Set to {asked}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
