import { Anchor, Button, Grid, Group, Stack, Table, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAdjustments, IconAlertTriangle, IconArrowUp } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { Link } from 'react-router';

import { useChangePolicy } from '../../api/policies';
import type { PolicyDetail } from '../../api/types';
import { CodeEditor } from '../../editor';
import { FactTable } from '../../components/FactTable';
import { Guard } from '../../components/Guard';
import { Note } from '../../components/Note';
import { Panel } from '../../components/Panel';
import { Time } from '../../components/Time';
import { SeverityBadge, scopeText } from '../../components/badges';
import { auditLink } from '../../lib/filters';
import { words } from '../../lib/format';
import { inAuthorsOrder } from '../../lib/schema';
import { notifyFailure } from '../../lib/notify';
import { useUndoable } from '../../lib/useUndoable';
import { EnableDialog } from '../policies/EnableDialog';
import { titleOf } from '../../lib/policy';

export function AboutTab({ policy }: { policy: PolicyDetail }) {
  return (
    <Grid gap="lg">
      <Grid.Col span={{ base: 12, lg: 7 }}>
        <Stack gap="lg">
          {policy.problem ? (
            <Note tone="error" icon={IconAlertTriangle} title="It can't be evaluated" role="alert">
              {policy.problem}
            </Note>
          ) : null}
          <Panel title="Description" aside={<Actions policy={policy} />}>
            <Text size="sm">{policy.description || 'It has no description.'}</Text>
          </Panel>
          <Reasons policy={policy} />
          <Panel title={policy.template ? `Rego, from the template ${policy.template}` : 'Rego'}>
            <CodeEditor
              value={policy.content}
              label="Rego of the version in force"
              readOnly
              maxHeight="60vh"
            />
          </Panel>
        </Stack>
      </Grid.Col>
      <Grid.Col span={{ base: 12, lg: 5 }}>
        <Stack gap="lg">
          <Facts policy={policy} />
          <Parameters policy={policy} />
        </Stack>
      </Grid.Col>
    </Grid>
  );
}

function Actions({ policy }: { policy: PolicyDetail }) {
  const [open, { open: ask, close }] = useDisclosure(false);
  const change = useChangePolicy(policy.id);
  const undoable = useUndoable();
  const title = titleOf(policy);
  const end = async (status: 'active' | 'inactive', comment: string, message: string) => {
    try {
      const reply = await change.mutateAsync({
        version: policy.version,
        change: { status, comment },
      });
      undoable(reply, message);
    } catch (error) {
      notifyFailure(error, `${title} was not changed`);
    }
  };
  const promote = () =>
    end('active', 'Promoted from draft', `${title} is promoted: it takes part in decisions now.`);
  const withdraw = () => end('inactive', 'Draft withdrawn', `${title} is inactive.`);
  return (
    <Group gap="xs">
      {policy.status === 'draft' ? (
        <Guard need="author">
          {(disabled) => (
            <Button
              size="xs"
              variant="default"
              disabled={disabled || change.isPending}
              onClick={() => void withdraw()}
            >
              Withdraw draft
            </Button>
          )}
        </Guard>
      ) : null}
      {policy.status === 'draft' ? (
        <Guard need="author">
          {(disabled) => (
            <Button
              size="xs"
              disabled={disabled}
              loading={change.isPending}
              leftSection={<IconArrowUp size={15} />}
              onClick={() => void promote()}
            >
              Promote
            </Button>
          )}
        </Guard>
      ) : null}
      <Guard need="author">
        {(disabled) => (
          <Button
            size="xs"
            variant="default"
            disabled={disabled}
            leftSection={<IconAdjustments size={15} />}
            onClick={ask}
          >
            Scope and settings
          </Button>
        )}
      </Guard>
      <EnableDialog policy={policy} opened={open} onClose={close} />
    </Group>
  );
}

function Reasons({ policy }: { policy: PolicyDetail }) {
  const reasons = Object.entries(policy.reasons ?? {});
  if (reasons.length === 0) return null;
  return (
    <Panel
      title="Reasons it gives"
      help="What an agent is told with a denial, and what to do about it."
    >
      <Stack gap="md">
        {reasons.map(([reason, text]) => (
          <div key={reason}>
            <Group gap="sm" justify="space-between">
              <Text fw={600} size="sm">
                {words(reason)}{' '}
                <Text span c="dimmed" className="sg-mono">
                  {reason}
                </Text>
              </Text>
              <Anchor
                component={Link}
                size="xs"
                to={auditLink({ policy: policy.name, reason }, { range: '7d' })}
                aria-label={`Decisions of 7 days with the reason ${words(reason)}`}
              >
                decisions
              </Anchor>
            </Group>
            <Text size="sm" c="dimmed">
              {text}
            </Text>
          </div>
        ))}
      </Stack>
    </Panel>
  );
}

function Facts({ policy }: { policy: PolicyDetail }) {
  const rows: [string, ReactNode][] = [
    ['Applies to', scopeText(policy.scope, policy.scope_id)],
    ['Severity', <SeverityBadge key="severity" severity={policy.effective_severity} />],
    [
      'When it fails itself',
      policy.effective_fail_mode === 'open'
        ? 'The check is allowed (fail open)'
        : 'The check is denied (fail closed)',
    ],
    [
      'Name',
      <span key="name" className="sg-mono">
        {policy.name}
      </span>,
    ],
    ['Version', String(policy.version)],
    [
      'Changed',
      <span key="changed">
        <Time value={policy.updated_at} /> {policy.updated_by ? `by ${policy.updated_by}` : ''}
      </span>,
    ],
    ['Comment', policy.comment || '–'],
    [
      'Created',
      <span key="created">
        <Time value={policy.created_at} /> {policy.created_by ? `by ${policy.created_by}` : ''}
      </span>,
    ],
  ];
  return (
    <Panel title="Facts">
      <FactTable rows={rows} />
    </Panel>
  );
}

function Parameters({ policy }: { policy: PolicyDetail }) {
  const all = policy.effective_parameters;
  const entries = inAuthorsOrder(Object.keys(all), policy.content).map(
    (key) => [key, all[key] ?? null] as const,
  );
  return (
    <Panel title="Settings" help="What the policy reads now: what was set, else its defaults.">
      {entries.length === 0 ? (
        <Text size="sm" c="dimmed">
          It has no settings.
        </Text>
      ) : (
        <Table layout="fixed" verticalSpacing={8}>
          <Table.Tbody>
            {entries.map(([key, value]) => (
              <Table.Tr key={key}>
                <Table.Th w={150} fw={500} scope="row">
                  {words(key)}
                </Table.Th>
                <Table.Td style={{ overflowWrap: 'anywhere' }}>
                  {Array.isArray(value) ? value.join(', ') || '(empty)' : String(value)}
                  {key in policy.parameters ? null : (
                    <Text span size="xs" c="dimmed">
                      {' '}
                      default
                    </Text>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Panel>
  );
}
