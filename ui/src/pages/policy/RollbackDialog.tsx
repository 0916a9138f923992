import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';

import { useRollback } from '../../api/policies';
import type { PolicyDetail, PolicyVersion } from '../../api/types';
import { notifyFailure } from '../../lib/notify';
import { useUndoable } from '../../lib/useUndoable';
import { titleOf } from '../../lib/policy';

interface Props {
  policy: PolicyDetail;
  to: PolicyVersion | null;
  onClose: () => void;
}

export function RollbackDialog({ policy, to, onClose }: Props) {
  return (
    <Modal
      opened={to !== null}
      onClose={onClose}
      title={`Roll back to version ${to?.version ?? ''}?`}
    >
      {to ? <Confirm policy={policy} to={to} onClose={onClose} /> : null}
    </Modal>
  );
}

function Confirm({ policy, to, onClose }: Props & { to: PolicyVersion }) {
  const [comment, setComment] = useState('');
  const rollback = useRollback();
  const undoable = useUndoable();
  const confirm = async () => {
    try {
      const reply = await rollback.mutateAsync({
        id: policy.id,
        newest: policy.version,
        version: to.version,
        comment,
      });
      onClose();
      undoable(reply, `${titleOf(policy)} is as it was in version ${to.version}.`);
    } catch (error) {
      notifyFailure(error, 'The rollback failed');
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
          Rego, status, scope and settings become those of version {to.version}, as a new version{' '}
          {policy.version + 1}. Status: {policy.status} → {to.status}.
        </Text>
        <TextInput
          label="Comment"
          data-autofocus
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={rollback.isPending}>
            Roll back
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
