import {
  Box,
  Button,
  Group,
  Select,
  SegmentedControl,
  Skeleton,
  Stack,
  TextInput,
} from '@mantine/core';
import { IconShieldCheck } from '@tabler/icons-react';
import { useState } from 'react';
import { useSearchParams } from 'react-router';

import { usePolicies } from '../../api/policies';
import type { Violation } from '../../api/types';
import { useViolations } from '../../api/violations';
import { Page } from '../../components/Page';
import { Panel } from '../../components/Panel';
import { RangePicker } from '../../components/RangePicker';
import { RefreshPicker, useRefreshInterval } from '../../components/RefreshPicker';
import { Empty, Failure, Loading } from '../../components/states';
import { plural } from '../../lib/format';
import { rangeOf, withRange } from '../../lib/range';
import { AcknowledgeDialog } from './AcknowledgeDialog';
import { ViolationItem } from './ViolationItem';

const SEVERITIES = [
  { value: '', label: 'All' },
  { value: 'critical', label: 'Critical' },
  { value: 'warning', label: 'Warning' },
  { value: 'info', label: 'Info' },
];
const KEYS = ['severity', 'policy', 'agent', 'session_id', 'notified', 'acknowledged'] as const;

export default function Violations() {
  const [search, setSearch] = useSearchParams();
  const refresh = useRefreshInterval();
  const range = rangeOf(search, '24h');
  const [asked, setAsked] = useState<Violation | null>(null);
  // The sink stores an acknowledgement with its next batch; until then the page remembers it.
  const [done, setDone] = useState<ReadonlySet<string>>(new Set());
  const policies = usePolicies(false);
  const filters = Object.fromEntries(
    KEYS.map((key) => [key, search.get(key) ?? undefined]).filter(([, value]) => value),
  ) as Partial<Record<(typeof KEYS)[number], string>>;
  const violations = useViolations(filters, range, refresh.interval);
  const list = violations.data?.pages.flatMap((page) => page.violations) ?? [];
  const set = (key: string, value: string | null) =>
    setSearch((before) => {
      const next = new URLSearchParams(before);
      if (value) next.set(key, value);
      else next.delete(key);
      return next;
    });

  return (
    <Page
      title="Violations"
      lead="Each is one policy that failed in one decision."
      actions={
        <>
          <RangePicker
            value={range}
            onChange={(picked) => setSearch((before) => withRange(before, picked))}
          />
          <RefreshPicker
            value={refresh.stored}
            onChange={refresh.set}
            busy={violations.isFetching && !violations.isPending}
            onRefresh={() => void violations.refetch()}
          />
        </>
      }
    >
      <Group gap="sm" role="search" aria-label="Filter violations">
        <SegmentedControl
          aria-label="Severity"
          data={SEVERITIES}
          value={filters.severity ?? ''}
          onChange={(value) => set('severity', value)}
        />
        <Select
          aria-label="Policy"
          placeholder="Any policy"
          clearable
          searchable
          w={200}
          data={policies.data?.policies.map(({ name }) => name) ?? []}
          value={filters.policy ?? null}
          onChange={(value) => set('policy', value)}
        />
        <Select
          aria-label="Acknowledged"
          placeholder="Acknowledged or not"
          clearable
          w={200}
          data={[
            { value: 'false', label: 'Not acknowledged' },
            { value: 'true', label: 'Acknowledged' },
          ]}
          value={filters.acknowledged ?? null}
          onChange={(value) => set('acknowledged', value)}
        />
        <Select
          aria-label="Notified"
          placeholder="Notified or not"
          clearable
          w={170}
          data={[
            { value: 'true', label: 'Notified' },
            { value: 'false', label: 'Not notified' },
          ]}
          value={filters.notified ?? null}
          onChange={(value) => set('notified', value)}
        />
        <TextInput
          key={filters.agent ?? ''}
          aria-label="Agent"
          placeholder="Any agent"
          w={150}
          defaultValue={filters.agent ?? ''}
          onBlur={(event) => {
            if (event.currentTarget.value !== (filters.agent ?? ''))
              set('agent', event.currentTarget.value);
          }}
          onKeyDown={(event) => {
            if (event.key === 'Enter') event.currentTarget.blur();
          }}
        />
      </Group>
      {violations.isError ? (
        <Failure
          error={violations.error}
          what="Violations"
          retry={() => void violations.refetch()}
        />
      ) : null}
      {violations.isPending ? (
        <Loading label="violations">
          <Stack>
            {['a', 'b', 'c', 'd'].map((key) => (
              <Skeleton key={key} height={84} radius="lg" />
            ))}
          </Stack>
        </Loading>
      ) : null}
      {violations.isSuccess ? (
        <Panel
          title={
            list.length > 0
              ? `${plural(list.length, 'violation')}${violations.hasNextPage ? ' and more' : ''}`
              : 'Violations'
          }
        >
          {list.length === 0 ? (
            <Empty icon={IconShieldCheck} title="No violations">
              {Object.keys(filters).length > 0
                ? 'None fits these filters in this time.'
                : 'No policy failed in this time.'}
            </Empty>
          ) : (
            <Box component="ul" p={0} m={0} style={{ listStyle: 'none' }}>
              {list.map((violation) => (
                <ViolationItem
                  key={violation.id}
                  violation={violation}
                  pending={done.has(violation.id)}
                  onAcknowledge={() => setAsked(violation)}
                />
              ))}
            </Box>
          )}
          {violations.hasNextPage ? (
            <Group justify="center" mt="md">
              <Button
                variant="default"
                loading={violations.isFetchingNextPage}
                onClick={() => void violations.fetchNextPage()}
              >
                Show more
              </Button>
            </Group>
          ) : null}
        </Panel>
      ) : null}
      <AcknowledgeDialog
        violation={asked}
        onClose={() => setAsked(null)}
        onDone={(id) => setDone((before) => new Set(before).add(id))}
      />
    </Page>
  );
}
