import { Group, SegmentedControl, SimpleGrid, Skeleton, Text, TextInput } from '@mantine/core';
import { IconDoorEnter, IconFileOff, IconSearch } from '@tabler/icons-react';
import { useMemo } from 'react';
import { useSearchParams } from 'react-router';

import { usePolicies } from '../../api/policies';
import type { Policy } from '../../api/types';
import { Note } from '../../components/Note';
import { Page } from '../../components/Page';
import { Empty, Failure, Loading } from '../../components/states';
import { plural } from '../../lib/format';
import { NewPolicy } from './NewPolicy';
import { PolicyCard } from './PolicyCard';

const STATUSES = [
  { value: '', label: 'All' },
  { value: 'active', label: 'Active' },
  { value: 'draft', label: 'Drafts' },
  { value: 'inactive', label: 'Inactive' },
];

export default function Policies() {
  const [search, setSearch] = useSearchParams();
  const policies = usePolicies();
  const text = search.get('text') ?? '';
  const status = search.get('status') ?? '';
  const set = (key: string, value: string) =>
    setSearch(
      (before) => {
        const next = new URLSearchParams(before);
        if (value) next.set(key, value);
        else next.delete(key);
        return next;
      },
      { replace: true },
    );
  const shown = useMemo(
    () => (policies.data?.policies ?? []).filter((policy) => wanted(policy, text, status)),
    [policies.data, text, status],
  );
  return (
    <Page
      title="Policies"
      actions={policies.data ? <NewPolicy policies={policies.data.policies} /> : null}
      lead={policies.data ? summary(policies.data.policies) : 'What may be restricted, for whom.'}
    >
      <Note tone="allow" icon={IconDoorEnter}>
        <Text inherit fw={550} c="var(--sg-allow-text)">
          Default policy: ALLOW ALL. All operations are allowed by default. Enable policies below to
          add restrictions.
        </Text>
      </Note>
      {policies.data && policies.data.enforcement !== 'on' ? (
        <Note tone="shadow">
          <Text inherit c="var(--sg-shadow-text)">
            Enforcement is <b>{policies.data.enforcement}</b>: whatever is enabled here, nothing is
            denied until an admin sets it to on.
          </Text>
        </Note>
      ) : null}
      <Group gap="sm">
        <TextInput
          aria-label="Search policies"
          placeholder="Search by name or description"
          leftSection={<IconSearch size={16} />}
          value={text}
          onChange={(event) => set('text', event.currentTarget.value)}
          w={{ base: '100%', xs: 300 }}
        />
        <SegmentedControl
          aria-label="Status"
          data={STATUSES}
          value={status}
          onChange={(value) => set('status', value)}
        />
      </Group>
      {policies.isError && !policies.data ? (
        <Failure error={policies.error} what="Policies" retry={() => void policies.refetch()} />
      ) : null}
      {policies.data && !policies.data.history ? (
        <Text size="sm" c="dimmed">
          History does not answer now, so denials are not counted. Policies can be changed all the
          same.
        </Text>
      ) : null}
      {policies.isPending ? (
        <Loading label="policies">
          <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="lg">
            {['a', 'b', 'c', 'd', 'e', 'f'].map((key) => (
              <Skeleton key={key} height={220} radius="lg" />
            ))}
          </SimpleGrid>
        </Loading>
      ) : null}
      {policies.data && shown.length === 0 ? (
        <Empty
          icon={IconFileOff}
          title={text || status ? 'No policy fits' : 'There are no policies'}
        >
          {text || status
            ? 'Change the search or the status to see others.'
            : 'Publish a folder of Rego with `sluicegate policy apply`.'}
        </Empty>
      ) : null}
      <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="lg">
        {shown.map((policy) => (
          <PolicyCard key={policy.id} policy={policy} />
        ))}
      </SimpleGrid>
    </Page>
  );
}

function wanted(policy: Policy, text: string, status: string): boolean {
  if (status && policy.status !== status) return false;
  const parts = [policy.name, policy.title, policy.description, policy.scope_id ?? ''];
  return !text || parts.some((part) => part.toLowerCase().includes(text.toLowerCase()));
}

function summary(policies: Policy[]): string {
  const number = (status: string) => policies.filter((policy) => policy.status === status).length;
  const drafts = number('draft');
  const tail = drafts > 0 ? `, ${plural(drafts, 'draft')} in shadow` : '';
  return `${plural(policies.length, 'policy', 'policies')}, ${number('active')} active${tail}.`;
}
