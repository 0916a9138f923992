import { Button, Card, Group, Loader, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import {
  IconCircleCheck,
  IconCircleX,
  IconDeviceFloppy,
  IconFlask,
  IconHistory,
} from '@tabler/icons-react';
import { useState, type Dispatch, type SetStateAction } from 'react';

import { ApiError, overtakenBy } from '../../api/client';
import { useChangePolicy, useImpact, useValidation } from '../../api/policies';
import { refusal, useSession } from '../../api/session';
import type { Finding, PolicyDetail, PolicyStatus } from '../../api/types';
import { FindingList } from '../../components/FindingList';
import { Guard } from '../../components/Guard';
import { ImpactPanel } from '../../components/ImpactPanel';
import { CodeEditor } from '../../editor';
import { baseOf, overtaken, saved, typed, unsaved, type Draft } from '../../lib/draft';
import { plural } from '../../lib/format';
import { notifyFailure } from '../../lib/notify';
import { useUndoable } from '../../lib/useUndoable';
import { titleOf } from '../../lib/policy';
import { Overtaken } from './Overtaken';

interface Props {
  policy: PolicyDetail;
  draft: Draft | null;
  onDraft: Dispatch<SetStateAction<Draft | null>>;
  /** A line to show first. */
  line: number | null;
}

export function EditTab({ policy, draft, onDraft, line }: Props) {
  const { data: session } = useSession();
  const readOnly = refusal(session, 'author') !== null;
  const edited = unsaved(draft, policy);
  const text = edited ?? policy.content;
  const [settled] = useDebouncedValue(text, 300);
  const validation = useValidation(policy.name, readOnly ? null : settled);
  const [reveal, setReveal] = useState(line === null ? null : { line });
  // An answer counts for the text it was asked for; while one types it is only a hint.
  const current = settled === text && validation.isSuccess && !validation.isPlaceholderData;
  const findings = validation.data?.findings ?? [];
  const valid = current && validation.data.valid;
  return (
    <Stack gap="md">
      {policy.template ? (
        <Text size="sm" c="dimmed">
          This policy follows the template <b>{policy.template}</b>. Saving here gives it a text of
          its own.
        </Text>
      ) : null}
      <CodeEditor
        value={text}
        label={`Rego of ${titleOf(policy)}`}
        onChange={(text) => onDraft((before) => typed(before, policy, text))}
        readOnly={readOnly}
        findings={findings}
        reveal={reveal}
        maxHeight="max(320px, calc(100vh - 440px))"
        minHeight="320px"
      />
      {readOnly ? null : (
        <Verdict
          busy={!current && !validation.isError}
          valid={valid}
          findings={findings}
          error={validation.error}
          onShow={(line) => setReveal({ line })}
        />
      )}
      {readOnly ? null : <TextImpact policy={policy} text={text} ready={valid} />}
      {edited !== null && draft?.overtakenBy ? (
        <Overtaken id={policy.id} version={draft.overtakenBy} text={settled} />
      ) : null}
      <SaveBar
        policy={policy}
        text={text}
        base={baseOf(draft, policy)}
        dirty={edited !== null}
        valid={valid}
        onDraft={onDraft}
      />
    </Stack>
  );
}

interface VerdictProps {
  busy: boolean;
  valid: boolean;
  findings: Finding[];
  error: Error | null;
  onShow: (line: number) => void;
}

/** What the server says of the text, each finding a way to its line. */
function Verdict({ busy, valid, findings, error, onShow }: VerdictProps) {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  return (
    <Card className="sg-card" padding="sm" aria-live="polite" data-testid="verdict">
      <Group gap="xs">
        {busy ? <Loader size={16} aria-label="Validating" /> : null}
        {!busy && !error ? (
          valid ? (
            <IconCircleCheck size={20} color="var(--sg-good)" aria-hidden />
          ) : (
            <IconCircleX size={20} color="var(--sg-deny)" aria-hidden />
          )
        ) : null}
        <Text size="sm" fw={600}>
          {error
            ? 'Validation does not answer'
            : busy
              ? 'Validating…'
              : valid
                ? findings.length > 0
                  ? `Valid, with ${plural(findings.length, 'remark')}`
                  : 'Valid'
                : plural(errors, 'error')}
        </Text>
        {error instanceof ApiError ? <Text size="sm">{error.message}</Text> : null}
      </Group>
      <FindingList findings={findings} onShow={onShow} />
    </Card>
  );
}

/** What the text would have done, asked for by hand: it tries thousands of decisions. */
function TextImpact({
  policy,
  text,
  ready,
}: {
  policy: PolicyDetail;
  text: string;
  ready: boolean;
}) {
  const [asked, setAsked] = useState<string | null>(null);
  const impact = useImpact(policy.id, asked === null ? null : { days: 7, rego: asked });
  if (asked !== text) {
    return (
      <Group>
        <Button
          variant="default"
          size="xs"
          disabled={!ready}
          leftSection={<IconHistory size={15} />}
          onClick={() => setAsked(text)}
        >
          Impact of this text over the last 7 days
        </Button>
      </Group>
    );
  }
  return (
    <ImpactPanel
      impact={impact.isPlaceholderData ? undefined : impact.data}
      error={impact.error}
      busy={impact.isFetching}
      waitingFor={null}
      mode={policy.mode}
    />
  );
}

interface SaveProps {
  policy: PolicyDetail;
  text: string;
  base: number;
  dirty: boolean;
  valid: boolean;
  onDraft: Props['onDraft'];
}

function SaveBar({ policy, text, base, dirty, valid, onDraft }: SaveProps) {
  const [comment, setComment] = useState('');
  const change = useChangePolicy(policy.id);
  const undoable = useUndoable();
  const title = titleOf(policy);
  const save = async (status?: PolicyStatus) => {
    try {
      const reply = await change.mutateAsync({
        version: base,
        change: { rego: text, comment, ...(status ? { status } : {}) },
      });
      // What was typed meanwhile is not in what was saved.
      setComment((now) => (now === comment ? '' : now));
      onDraft((before) => saved(before, text, reply.version));
      undoable(reply, `${title} is saved as version ${reply.version}.`);
    } catch (error) {
      const newest = overtakenBy(error);
      // That is said above the button, which a notification would lie over.
      if (newest !== null) onDraft((before) => overtaken(before, newest));
      else notifyFailure(error, `${title} was not saved`);
    }
  };
  const ready = dirty && valid && !change.isPending;
  return (
    <Group align="flex-end" gap="sm">
      <TextInput
        label="Comment"
        placeholder="What changes, and why"
        value={comment}
        onChange={(event) => setComment(event.currentTarget.value)}
        flex={1}
        miw={220}
      />
      <Button variant="subtle" disabled={!dirty} onClick={() => onDraft(null)}>
        Discard
      </Button>
      {policy.status === 'draft' ? null : (
        <Guard need="author">
          {(disabled) => (
            <Button
              variant="default"
              disabled={disabled || !ready}
              leftSection={<IconFlask size={16} />}
              onClick={() => void save('draft')}
            >
              Save as draft
            </Button>
          )}
        </Guard>
      )}
      <Guard need="author">
        {(disabled) => (
          <Button
            disabled={disabled || !ready}
            loading={change.isPending}
            leftSection={<IconDeviceFloppy size={16} />}
            onClick={() => void save()}
          >
            Save
          </Button>
        )}
      </Guard>
      {policy.status === 'draft' ? (
        <Guard need="author">
          {(disabled) => (
            <Button
              disabled={disabled || !ready}
              variant="light"
              onClick={() => void save('active')}
            >
              Save and promote
            </Button>
          )}
        </Guard>
      ) : null}
    </Group>
  );
}
