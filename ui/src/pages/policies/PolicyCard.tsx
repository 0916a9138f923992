import { Anchor, Box, Card, Group, Switch, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle } from '@tabler/icons-react';
import { Link } from 'react-router';

import { useChangePolicy } from '../../api/policies';
import type { Policy } from '../../api/types';
import { Guard } from '../../components/Guard';
import { Note } from '../../components/Note';
import { Time } from '../../components/Time';
import { ToneBadge } from '../../components/Tone';
import { ModeBadge, SeverityBadge, StatusBadge, scopeText } from '../../components/badges';
import { auditLink } from '../../lib/filters';
import { count } from '../../lib/format';
import { notifyFailure } from '../../lib/notify';
import { useUndoable } from '../../lib/useUndoable';
import { EnableDialog } from './EnableDialog';
import classes from './PolicyCard.module.css';
import { titleOf } from '../../lib/policy';

export function PolicyCard({ policy }: { policy: Policy }) {
  const title = titleOf(policy);
  return (
    <Card
      className={`sg-card ${classes.card}`}
      component="article"
      data-status={policy.status}
      aria-label={title}
    >
      <Group justify="space-between" align="flex-start" wrap="nowrap" gap="sm">
        <Box miw={0}>
          <Title order={2} fz="md">
            <Anchor component={Link} to={`/policies/${policy.name}`} inherit c="inherit">
              {title}
            </Anchor>
          </Title>
          <Text size="xs" c="dimmed" className="sg-mono">
            {policy.template ? `from ${policy.template}` : policy.name} · v{policy.version}
          </Text>
        </Box>
        <PolicySwitch policy={policy} />
      </Group>
      <Text size="sm" mt="sm" lineClamp={3} className={classes.description}>
        {policy.description}
      </Text>
      {policy.problem ? (
        <Box mt="sm">
          <Note tone="error" icon={IconAlertTriangle} role="alert" small>
            {policy.problem}
          </Note>
        </Box>
      ) : null}
      <Group gap={6} mt="md">
        <StatusBadge status={policy.status} />
        <ModeBadge mode={policy.mode} />
        <SeverityBadge severity={policy.effective_severity} />
        <ToneBadge tone={policy.scope === 'global' ? 'quiet' : 'allow'} title="For whom it applies">
          {scopeText(policy.scope, policy.scope_id)}
        </ToneBadge>
        {policy.effective_fail_mode === 'closed' ? (
          <ToneBadge tone="error" title="Denies when the policy itself fails.">
            fail closed
          </ToneBadge>
        ) : null}
      </Group>
      <Group justify="space-between" className={classes.foot} gap="xs">
        <Denials policy={policy} />
        <Text size="xs" c="dimmed">
          <Time value={policy.updated_at} style="ago" />
          {policy.updated_by ? ` by ${policy.updated_by}` : ''}
        </Text>
      </Group>
    </Card>
  );
}

function Denials({ policy }: { policy: Policy }) {
  const denials = policy.denials_24h ?? null;
  const would = policy.would_deny_24h ?? null;
  if (denials === null && would === null) {
    return (
      <Text size="xs" c="dimmed">
        Denials: not known now
      </Text>
    );
  }
  return (
    <Group gap="md">
      <Anchor
        component={Link}
        size="xs"
        fw={600}
        c={denials ? 'var(--sg-deny-text)' : 'dimmed'}
        to={auditLink({ decision: 'deny', policy: policy.name }, { range: '24h' })}
      >
        {count(denials)} denied in 24 h
      </Anchor>
      {would ? (
        <Anchor
          component={Link}
          size="xs"
          fw={600}
          c="var(--sg-shadow-text)"
          to={auditLink({ shadow: 'true', policy: policy.name }, { range: '24h' })}
        >
          {count(would)} would be denied
        </Anchor>
      ) : null}
    </Group>
  );
}

/** Enabling asks for scope and settings first; disabling happens at once, with an Undo. */
export function PolicySwitch({ policy }: { policy: Policy }) {
  const [asking, { open, close }] = useDisclosure(false);
  const change = useChangePolicy(policy.id);
  const undoable = useUndoable();
  const title = titleOf(policy);
  const disable = async () => {
    try {
      const reply = await change.mutateAsync({
        change: { status: 'inactive', comment: 'Disabled in the console' },
        version: policy.version,
      });
      undoable(reply, `${title} is disabled.`);
    } catch (error) {
      notifyFailure(error, `${title} was not disabled`);
    }
  };
  return (
    <>
      <Guard need="author">
        {(disabled) => (
          <Switch
            size="md"
            checked={policy.status === 'active'}
            disabled={disabled || change.isPending}
            aria-label={`${policy.status === 'active' ? 'Disable' : 'Enable'} ${title}`}
            onChange={(event) => {
              if (event.currentTarget.checked) open();
              else void disable();
            }}
          />
        )}
      </Guard>
      <EnableDialog policy={policy} opened={asking} onClose={close} />
    </>
  );
}
