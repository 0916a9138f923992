import { Box, Button, Group, Text } from '@mantine/core';
import { IconFilterOff, IconRefresh } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { useSearchParams } from 'react-router';

import { useDecisions } from '../../api/decisions';
import type { DecisionRow } from '../../api/types';
import { Page } from '../../components/Page';
import { RangePicker } from '../../components/RangePicker';
import { Failure } from '../../components/states';
import { filtersOf, withFilters, type Filters } from '../../lib/filters';
import { count } from '../../lib/format';
import { rangeOf, resolve, withRange } from '../../lib/range';
import { AuditTable } from './AuditTable';
import { DecisionDrawer } from './DecisionDrawer';
import { ExportMenu } from './ExportMenu';
import { FilterBar } from './FilterBar';
import { LiveSwitch } from './LiveSwitch';
import { useLiveRows } from './useLiveRows';

export default function Audit() {
  const [search, setSearch] = useSearchParams();
  const [live, setLive] = useState(false);
  const [asked, setAsked] = useState(0);
  const filters = filtersOf(search);
  const rangeKey = ['since', 'until', 'range'].map((key) => search.get(key)).join();
  const range = rangeOf(search, '24h');
  // All pages of a list must be of one span of time: it moves on only when the list is asked anew.
  const window = useMemo(
    () => resolve(rangeOf(search, '24h')),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the other parts of the URL don't move it
    [rangeKey, asked],
  );
  const decisions = useDecisions(filters, window);
  const stored = useMemo(
    () => decisions.data?.pages.flatMap((page) => page.decisions) ?? [],
    [decisions.data],
  );
  const tail = useLiveRows(live, filters, asked);
  const rows = useMemo(() => merged(tail.rows, stored), [tail.rows, stored]);
  const selected = search.get('decision_id');
  const select = (id: string | null) =>
    setSearch(
      (before) => {
        const next = new URLSearchParams(before);
        if (id) next.set('decision_id', id);
        else next.delete('decision_id');
        return next;
      },
      { replace: true },
    );
  const apply = (next: Filters) => setSearch((before) => withFilters(before, next));
  const filtered = Object.keys(filters).length > 0;

  return (
    <Page
      title="Audit"
      lead="Every decision, as it was recorded."
      actions={
        <>
          <RangePicker
            value={range}
            onChange={(picked) => setSearch((before) => withRange(before, picked))}
          />
          <LiveSwitch
            on={live}
            state={tail.state}
            onChange={(on) => {
              setLive(on);
              setAsked((number) => number + 1);
            }}
          />
          <ExportMenu
            query={{ ...filters, ...window }}
            sql={decisions.data?.pages[0]?.sql ?? null}
          />
        </>
      }
    >
      <Box>
        <FilterBar filters={filters} onChange={apply} />
        <Group justify="space-between" mt="sm" mb="xs" gap="xs">
          <Text size="sm" c="dimmed" aria-live="polite" data-testid="row-count">
            {decisions.isPending
              ? 'Loading…'
              : `${count(rows.length)} ${rows.length === 1 ? 'decision' : 'decisions'}${decisions.hasNextPage ? ' so far, more as you scroll' : ''}`}
            {tail.missed > 0
              ? ` · ${count(tail.missed)} live ones were too fast and are left out until you refresh`
              : ''}
          </Text>
          <Group gap="xs">
            {filtered ? (
              <Button
                size="compact-sm"
                variant="subtle"
                leftSection={<IconFilterOff size={15} />}
                onClick={() => apply({})}
              >
                Clear filters
              </Button>
            ) : null}
            <Button
              size="compact-sm"
              variant="subtle"
              leftSection={<IconRefresh size={15} />}
              onClick={() => setAsked((number) => number + 1)}
              loading={decisions.isFetching && !decisions.isFetchingNextPage}
            >
              Refresh
            </Button>
          </Group>
        </Group>
        {tail.error ? (
          <Box mb="sm">
            <Failure error={tail.error} what="The live tail" retry={tail.retry} />
          </Box>
        ) : null}
        {decisions.isError ? (
          <Failure
            error={decisions.error}
            what="The audit list"
            retry={() => void decisions.refetch()}
          />
        ) : null}
        {decisions.isError && rows.length === 0 ? null : (
          <AuditTable
            rows={rows}
            added={tail.added}
            loading={decisions.isPending}
            stale={decisions.isPlaceholderData}
            more={decisions.hasNextPage}
            fetching={decisions.isFetchingNextPage}
            onMore={() => void decisions.fetchNextPage()}
            selected={selected}
            onSelect={select}
            filtered={filtered}
          />
        )}
      </Box>
      <DecisionDrawer
        id={selected}
        onClose={() => select(null)}
        onFilter={(extra) =>
          setSearch((before) => {
            const next = withFilters(before, { ...filters, ...extra });
            next.delete('decision_id');
            return next;
          })
        }
      />
    </Page>
  );
}

/** The live rows above the stored ones, each decision once. */
function merged(live: DecisionRow[], stored: DecisionRow[]): DecisionRow[] {
  if (live.length === 0) return stored;
  const rows = new Map(live.map((row) => [row.id, row]));
  return [...rows.values(), ...stored.filter(({ id }) => !rows.has(id))];
}
