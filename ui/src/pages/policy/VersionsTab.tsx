import { Button, Grid, Group, Select, Skeleton, Stack, Table, Text } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconGitCompare, IconRestore } from '@tabler/icons-react';
import { useState } from 'react';

import { useVersion, useVersions } from '../../api/policies';
import type { PolicyDetail, PolicyVersion } from '../../api/types';
import { Guard } from '../../components/Guard';
import { Panel } from '../../components/Panel';
import { Failure, Lines, Loading } from '../../components/states';
import { Time } from '../../components/Time';
import { StatusBadge, scopeText } from '../../components/badges';
import { DiffView } from '../../editor';
import { words } from '../../lib/format';
import { RollbackDialog } from './RollbackDialog';

export function VersionsTab({ policy }: { policy: PolicyDetail }) {
  const versions = useVersions(policy.id);
  const [from, setFrom] = useState<number | null>(null);
  const [to, setTo] = useState<number | null>(null);
  const [back, setBack] = useState<PolicyVersion | null>(null);
  const list = versions.data?.versions ?? [];
  const right = to ?? policy.version;
  const left = from ?? list.find(({ version }) => version < right)?.version ?? null;
  return (
    <Stack gap="lg">
      <Panel title="Versions" aside="Nothing is ever overwritten: a rollback is a new version.">
        {versions.isPending ? (
          <Loading label="versions">
            <Lines />
          </Loading>
        ) : null}
        {versions.isError ? (
          <Failure error={versions.error} what="Versions" retry={() => void versions.refetch()} />
        ) : null}
        {list.length > 0 ? (
          <VersionTable
            list={list}
            newest={policy.version}
            onCompare={(version) => {
              setFrom(list.find((one) => one.version < version)?.version ?? version);
              setTo(version);
            }}
            onBack={setBack}
          />
        ) : null}
        {versions.data?.missing.length ? (
          <Text size="xs" c="dimmed" mt="sm">
            Not kept any more:{' '}
            {versions.data.missing
              .map(([first, last]) => (first === last ? first : `${first} to ${last}`))
              .join(', ')}
            .
          </Text>
        ) : null}
      </Panel>
      {left !== null ? (
        <Compare id={policy.id} list={list} from={left} to={right} onFrom={setFrom} onTo={setTo} />
      ) : null}
      <RollbackDialog policy={policy} to={back} onClose={() => setBack(null)} />
    </Stack>
  );
}

interface TableProps {
  list: PolicyVersion[];
  newest: number;
  onCompare: (version: number) => void;
  onBack: (version: PolicyVersion) => void;
}

function VersionTable({ list, newest, onCompare, onBack }: TableProps) {
  return (
    <Table.ScrollContainer
      minWidth={720}
      maxHeight={360}
      scrollAreaProps={{ viewportProps: { tabIndex: 0, role: 'region', 'aria-label': 'Versions' } }}
    >
      <Table verticalSpacing={6} stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th w={80}>Version</Table.Th>
            <Table.Th>When</Table.Th>
            <Table.Th>Who</Table.Th>
            <Table.Th>Comment</Table.Th>
            <Table.Th>Status</Table.Th>
            <Table.Th />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {list.map((version) => (
            <Table.Tr key={version.version}>
              <Table.Td fw={600}>
                {version.version}
                {version.version === newest ? (
                  <Text span size="xs" c="dimmed">
                    {' '}
                    newest
                  </Text>
                ) : null}
              </Table.Td>
              <Table.Td>
                <Time value={version.updated_at} style="short" />
              </Table.Td>
              <Table.Td>{version.updated_by || '–'}</Table.Td>
              <Table.Td>{version.comment || '–'}</Table.Td>
              <Table.Td>
                <StatusBadge status={version.status} />
              </Table.Td>
              <Table.Td>
                <Group gap="xs" justify="flex-end" wrap="nowrap">
                  <Button
                    size="compact-sm"
                    variant="subtle"
                    leftSection={<IconGitCompare size={14} />}
                    onClick={() => onCompare(version.version)}
                    aria-label={`Compare version ${version.version} with the one before`}
                  >
                    Compare
                  </Button>
                  {version.version === newest ? null : (
                    <Guard need="author">
                      {(disabled) => (
                        <Button
                          size="compact-sm"
                          variant="default"
                          disabled={disabled}
                          leftSection={<IconRestore size={14} />}
                          onClick={() => onBack(version)}
                          aria-label={`Roll back to version ${version.version}`}
                        >
                          Roll back
                        </Button>
                      )}
                    </Guard>
                  )}
                </Group>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

interface CompareProps {
  id: string;
  list: PolicyVersion[];
  from: number;
  to: number;
  onFrom: (version: number) => void;
  onTo: (version: number) => void;
}

function Compare({ id, list, from, to, onFrom, onTo }: CompareProps) {
  const narrow = useMediaQuery('(max-width: 62em)') ?? false;
  const left = useVersion(id, from);
  const right = useVersion(id, to);
  const options = list.map(({ version }) => ({
    value: String(version),
    label: `Version ${version}`,
  }));
  const error = left.error ?? right.error;
  return (
    <Panel
      title="Compare"
      aside={
        <Group gap="xs" wrap="nowrap">
          <Select
            aria-label="From version"
            size="xs"
            w={120}
            data={options}
            value={String(from)}
            allowDeselect={false}
            onChange={(value) => onFrom(Number(value))}
          />
          <span aria-hidden>→</span>
          <Select
            aria-label="To version"
            size="xs"
            w={120}
            data={options}
            value={String(to)}
            allowDeselect={false}
            onChange={(value) => onTo(Number(value))}
          />
        </Group>
      }
    >
      {error ? <Failure error={error} what="The comparison" /> : null}
      {left.data && right.data ? (
        <Stack gap="sm">
          <Settings from={left.data} to={right.data} />
          {left.data.content === right.data.content ? (
            <Text size="sm" c="dimmed">
              The Rego is the same.
            </Text>
          ) : (
            <Grid>
              <Grid.Col span={12}>
                <DiffView
                  from={left.data.content}
                  to={right.data.content}
                  fromLabel={`Version ${from}`}
                  toLabel={`Version ${to}`}
                  narrow={narrow}
                />
              </Grid.Col>
            </Grid>
          )}
        </Stack>
      ) : error ? null : (
        <Skeleton height={240} />
      )}
    </Panel>
  );
}

/** What differs besides the Rego. */
function Settings({ from, to }: { from: PolicyDetail; to: PolicyDetail }) {
  const facts = (policy: PolicyDetail) => ({
    status: policy.status,
    mode: policy.mode,
    severity: policy.effective_severity,
    fail_mode: policy.effective_fail_mode,
    scope: scopeText(policy.scope, policy.scope_id),
    parameters: JSON.stringify(policy.parameters),
    description: policy.description,
  });
  const before = facts(from);
  const after = facts(to);
  const keys = (Object.keys(before) as (keyof typeof before)[]).filter(
    (key) => before[key] !== after[key],
  );
  if (keys.length === 0) return null;
  return (
    <Table fz="sm" verticalSpacing={4} layout="fixed">
      <Table.Tbody>
        {keys.map((key) => (
          <Table.Tr key={key}>
            <Table.Th w={120} scope="row">
              {words(key)}
            </Table.Th>
            <Table.Td c="var(--sg-deny-text)" style={{ overflowWrap: 'anywhere' }}>
              {before[key]}
            </Table.Td>
            <Table.Td c="var(--sg-good-text)" style={{ overflowWrap: 'anywhere' }}>
              {after[key]}
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
