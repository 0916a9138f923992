import { Button, Group, Modal, Stack, Text, Textarea } from '@mantine/core';
import { useState } from 'react';

import type { Violation } from '../../api/types';
import { useAcknowledge } from '../../api/violations';
import { notifyDone, notifyFailure } from '../../lib/notify';
import { words } from '../../lib/format';

interface Props {
  violation: Violation | null;
  onClose: () => void;
  onDone: (id: string) => void;
}

export function AcknowledgeDialog({ violation, onClose, onDone }: Props) {
  return (
    <Modal opened={violation !== null} onClose={onClose} title="Acknowledge this violation?">
      {violation ? <Confirm violation={violation} onClose={onClose} onDone={onDone} /> : null}
    </Modal>
  );
}

function Confirm({ violation, onClose, onDone }: Props & { violation: Violation }) {
  const [comment, setComment] = useState('');
  const acknowledge = useAcknowledge();
  const confirm = async () => {
    try {
      await acknowledge.mutateAsync({ id: violation.id, comment });
      onDone(violation.id);
      onClose();
      notifyDone('Acknowledged. Everyone sees it once it is stored.');
    } catch (error) {
      notifyFailure(error, 'It was not acknowledged');
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
          {violation.reasons.map(words).join(', ')}: {violation.agent || violation.user},{' '}
          {violation.action}. It is recorded that you have seen it.
        </Text>
        <Textarea
          label="Comment"
          data-autofocus
          autosize
          minRows={2}
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={acknowledge.isPending}>
            Acknowledge
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
