import {
  Button,
  Group,
  Modal,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { useDebouncedValue, useMediaQuery } from '@mantine/hooks';
import { useMemo, useState } from 'react';

import { useChangePolicy, useImpact, usePolicy } from '../../api/policies';
import type {
  ImpactRequest,
  JsonObject,
  Policy,
  PolicyDetail,
  PolicyMode,
  PolicyStatus,
  ScopeKind,
} from '../../api/types';
import { ImpactPanel } from '../../components/ImpactPanel';
import { Note } from '../../components/Note';
import { SchemaForm } from '../../components/SchemaForm';
import { Failure, Lines, Loading } from '../../components/states';
import { notifyFailure } from '../../lib/notify';
import { changedParameters, fault, fieldsOf } from '../../lib/schema';
import { useUndoable } from '../../lib/useUndoable';
import classes from './EnableDialog.module.css';
import { titleOf } from '../../lib/policy';

const SCOPES = [
  { value: 'global', label: 'Everyone' },
  { value: 'project', label: 'One project' },
  { value: 'session', label: 'One session' },
  { value: 'user', label: 'One user' },
];

interface Props {
  policy: Policy;
  opened: boolean;
  onClose: () => void;
}

export function EnableDialog({ policy, opened, onClose }: Props) {
  const small = useMediaQuery('(max-width: 48em)');
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      size="lg"
      fullScreen={small ?? false}
      title={`Enable ${titleOf(policy)}`}
    >
      {opened ? <Body policy={policy} onClose={onClose} /> : null}
    </Modal>
  );
}

function Body({ policy, onClose }: Omit<Props, 'opened'>) {
  const detail = usePolicy(policy.id);
  // What is being saved stays as it is until that ended.
  const [saving, setSaving] = useState<PolicyDetail | null>(null);
  if (detail.isError) {
    return <Failure error={detail.error} what="The policy" retry={() => void detail.refetch()} />;
  }
  if (!detail.data) {
    return (
      <Loading label="the policy">
        <Lines rows={6} />
      </Loading>
    );
  }
  // The fields begin with the newest version: what somebody else changed must not be written over.
  const shown = saving ?? detail.data;
  return (
    <Form
      key={shown.version}
      policy={shown}
      onSaving={(on) => setSaving(on ? shown : null)}
      onClose={onClose}
    />
  );
}

interface FormProps {
  policy: PolicyDetail;
  onSaving: (on: boolean) => void;
  onClose: () => void;
}

function Form({ policy, onSaving, onClose }: FormProps) {
  const fields = useMemo(
    () => fieldsOf(policy.parameters_schema, policy.content),
    [policy.parameters_schema, policy.content],
  );
  const [scope, setScope] = useState<ScopeKind>(policy.scope);
  const [scopeId, setScopeId] = useState(policy.scope_id ?? '');
  const [mode, setMode] = useState<PolicyMode>(policy.mode);
  const [values, setValues] = useState<JsonObject>(policy.effective_parameters);
  const [comment, setComment] = useState('');
  const change = useChangePolicy(policy.id);
  const undoable = useUndoable();
  const title = titleOf(policy);

  const needsId = scope !== 'global' && !scopeId.trim();
  const faulty = needsId || fields.some((field) => fault(field, values[field.key]) !== null);
  const parameters = changedParameters(policy.effective_parameters, values);
  const request: ImpactRequest = {
    days: 7,
    parameters: { ...policy.effective_parameters, ...parameters },
    scope,
    mode,
    ...(scope === 'global' ? {} : { scope_id: scopeId.trim() }),
  };
  // Asked once typing pauses: it tries thousands of decisions.
  const [settled] = useDebouncedValue(JSON.stringify(request), 600);
  const impact = useImpact(policy.id, faulty ? null : (JSON.parse(settled) as ImpactRequest));

  const save = async (status: PolicyStatus) => {
    onSaving(true);
    try {
      const reply = await change.mutateAsync({
        version: policy.version,
        change: {
          status,
          mode,
          scope,
          ...(scope === 'global' ? {} : { scope_id: scopeId.trim() }),
          ...(Object.keys(parameters).length > 0 ? { parameters } : {}),
          comment:
            comment || (status === 'draft' ? 'Enabled as a draft' : 'Enabled in the console'),
        },
      });
      onClose();
      undoable(reply, status === 'draft' ? `${title} runs in shadow.` : `${title} is enabled.`);
    } catch (error) {
      notifyFailure(error, `${title} was not enabled`);
      onSaving(false);
    }
  };

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!faulty) void save('active');
      }}
    >
      <Stack gap="md">
        <Text size="sm" c="dimmed">
          {policy.description}
        </Text>
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <Select
            label="Applies to"
            data={SCOPES}
            value={scope}
            allowDeselect={false}
            onChange={(value) => setScope((value ?? 'global') as ScopeKind)}
          />
          {scope === 'global' ? null : (
            <TextInput
              label={`ID of the ${scope}`}
              value={scopeId}
              required
              error={needsId ? `Say which ${scope}.` : null}
              onChange={(event) => setScopeId(event.currentTarget.value)}
            />
          )}
        </SimpleGrid>
        <div>
          <Text size="sm" fw={500} id="mode-label" mb={4}>
            When it finds a violation
          </Text>
          <SegmentedControl
            aria-labelledby="mode-label"
            value={mode}
            onChange={(value) => setMode(value as PolicyMode)}
            data={[
              { value: 'enforce', label: 'Deny (enforce)' },
              { value: 'warn', label: 'Only warn (warn)' },
            ]}
          />
        </div>
        <SchemaForm fields={fields} values={values} onChange={setValues} />
        <ImpactPanel
          impact={impact.data}
          error={impact.error}
          busy={impact.isFetching}
          waitingFor={faulty ? 'Fill in the fields above to see the impact.' : null}
          mode={mode}
        />
        <TextInput
          label="Comment"
          description="Kept with this version."
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
        />
        {policy.problem ? (
          <Note tone="error" role="alert">
            {policy.problem}
          </Note>
        ) : null}
        <Group justify="flex-end" className={classes.actions ?? ''}>
          <Button variant="subtle" onClick={onClose}>
            Cancel
          </Button>
          <Button
            variant="default"
            disabled={faulty || change.isPending}
            onClick={() => void save('draft')}
          >
            Run as draft
          </Button>
          <Button type="submit" disabled={faulty} loading={change.isPending}>
            Enable
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
