import { Button, Group, Modal, Select, Stack, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import { useNavigate } from 'react-router';

import { ApiError } from '../../api/client';
import { useCreatePolicy } from '../../api/policies';
import type { Policy } from '../../api/types';
import { Guard } from '../../components/Guard';
import { skeleton } from '../../lib/policy';

const BLANK = '';

/** A policy of one's own: from Rego, or from the Rego of another with other settings. */
export function NewPolicy({ policies }: { policies: Policy[] }) {
  const [open, { open: ask, close }] = useDisclosure(false);
  return (
    <>
      <Guard need="author">
        {(disabled) => (
          <Button disabled={disabled} leftSection={<IconPlus size={16} />} onClick={ask}>
            New policy
          </Button>
        )}
      </Guard>
      <Modal opened={open} onClose={close} title="New policy">
        {open ? <Form policies={policies} onClose={close} /> : null}
      </Modal>
    </>
  );
}

function Form({ policies, onClose }: { policies: Policy[]; onClose: () => void }) {
  const [name, setName] = useState('');
  const [template, setTemplate] = useState(BLANK);
  const create = useCreatePolicy();
  const navigate = useNavigate();
  const taken = policies.some((policy) => policy.name === name);
  const wrong = name !== '' && !/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(name);
  const submit = () =>
    create.mutate(template === BLANK ? { name, rego: skeleton(name) } : { name, template }, {
      onSuccess: () => {
        onClose();
        void navigate(`/policies/${name}${template === BLANK ? '?tab=editor' : ''}`);
      },
    });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack>
        <TextInput
          label="Name"
          data-autofocus
          required
          withAsterisk={false}
          description="Letters, digits, - and _. It stands in every decision that the policy makes."
          value={name}
          error={
            wrong
              ? 'Only letters, digits, - and _.'
              : taken
                ? 'There is one of this name.'
                : problem(create.error)
          }
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Select
          label="Start from"
          data={[
            { value: BLANK, label: 'A short example in Rego' },
            ...policies
              .filter((policy) => !policy.template)
              .map((policy) => ({
                value: policy.name,
                label: `The Rego of ${policy.name}, with settings of its own`,
              })),
          ]}
          value={template}
          allowDeselect={false}
          onChange={(value) => setTemplate(value ?? BLANK)}
        />
        <Text size="sm" c="dimmed">
          It is inactive until you enable it.
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={!name || wrong || taken} loading={create.isPending}>
            Create
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function problem(error: Error | null): string | null {
  return error instanceof ApiError ? error.detail || error.title : (error?.message ?? null);
}
