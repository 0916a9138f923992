import { Grid, SimpleGrid, Skeleton, Stack } from '@mantine/core';
import { IconCircleCheck, IconDatabaseOff } from '@tabler/icons-react';
import { Suspense, lazy } from 'react';
import { useSearchParams } from 'react-router';

import { useFleet, useOverview } from '../../api/stats';
import type { Overview as Stats } from '../../api/types';
import { Page } from '../../components/Page';
import { Panel } from '../../components/Panel';
import { RangePicker } from '../../components/RangePicker';
import { RefreshPicker, useRefreshInterval } from '../../components/RefreshPicker';
import { Empty, Failure, Loading } from '../../components/states';
import { auditLink, type Filters } from '../../lib/filters';
import { usd, words } from '../../lib/format';
import { rangeOf, withRange } from '../../lib/range';
import { FleetPanel } from './FleetPanel';
import { RankedList } from './RankedList';
import { OUTCOMES, REMARKS } from './timeline';
import { Totals } from './Totals';

const CountChart = lazy(() => import('./CountChart'));
const LatencyChart = lazy(() => import('./LatencyChart'));

export default function Overview() {
  const [search, setSearch] = useSearchParams();
  const range = rangeOf(search, '1h');
  const refresh = useRefreshInterval();
  const overview = useOverview(range, refresh.interval);
  const fleet = useFleet(refresh.interval);
  return (
    <Page
      title="Overview"
      lead="What the agents asked, what the policies answered, and how the system stands."
      actions={
        <>
          <RangePicker
            value={range}
            onChange={(picked) => setSearch((before) => withRange(before, picked))}
          />
          <RefreshPicker
            value={refresh.stored}
            onChange={refresh.set}
            busy={overview.isFetching && !overview.isLoading}
            onRefresh={() => {
              void overview.refetch();
              void fleet.refetch();
            }}
          />
        </>
      }
    >
      {overview.isError ? (
        <Failure error={overview.error} what="History" retry={() => void overview.refetch()} />
      ) : null}
      {overview.data ? <History stats={overview.data} search={search} /> : null}
      {overview.isPending ? <Waiting /> : null}
      <FleetPanel fleet={fleet.data} error={fleet.error} pending={fleet.isPending} />
    </Page>
  );
}

function History({ stats, search }: { stats: Stats; search: URLSearchParams }) {
  // A range that moves along stays one in the audit list; two ends stay two ends.
  const window = search.get('since')
    ? { since: stats.since, until: stats.until }
    : { range: search.get('range') ?? '1h' };
  const link = (filters: Filters) => auditLink(filters, window);
  if (stats.totals.decisions + stats.totals.unchecked === 0) {
    return (
      <Panel title="Decisions">
        <Empty icon={IconDatabaseOff} title="No decisions in this time">
          Nothing asked for a decision, or it is not stored yet. Pick a longer time, or start with a
          decorated function or one NATS request.
        </Empty>
      </Panel>
    );
  }
  return (
    <Stack gap="lg">
      <Totals stats={stats} link={link} />
      <Grid gap="lg">
        <Grid.Col span={{ base: 12, lg: 8 }}>
          <Panel
            title="Decisions over time"
            help="By outcome. Click a bar to see its decisions in the audit list."
          >
            <Suspense fallback={<Skeleton height={260} />}>
              <CountChart stats={stats} series={OUTCOMES} height={260} />
            </Suspense>
          </Panel>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 4 }}>
          <Panel
            title="Evaluation time"
            help="Quantiles of the time that workers took to evaluate the policies of a check."
          >
            <Suspense fallback={<Skeleton height={260} />}>
              <LatencyChart stats={stats} />
            </Suspense>
          </Panel>
        </Grid.Col>
      </Grid>
      <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="lg">
        <Panel
          title="Beside the outcome"
          help="Checks that a draft would have denied, calls that went on without an answer (fail open), and policies that failed. Click a bar to see the decisions."
        >
          {REMARKS.some(({ name }) => stats.totals[name] > 0) ? (
            <Suspense fallback={<Skeleton height={190} />}>
              <CountChart stats={stats} series={REMARKS} height={190} />
            </Suspense>
          ) : (
            <Empty icon={IconCircleCheck} title="All as it should be">
              Every call was checked, no policy failed, and no draft would have denied anything.
            </Empty>
          )}
        </Panel>
        <RankedList
          title="Denials by policy"
          empty="No policy denied anything in this time."
          tone="deny"
          rows={stats.policies.map(({ policy, denials }) => ({
            name: policy,
            to: link({ decision: 'deny', policy }),
            value: denials,
          }))}
        />
        <RankedList
          title="Denials by reason"
          empty="Nothing was denied in this time."
          tone="deny"
          rows={stats.reasons.map(({ reason, denials }) => ({
            name: words(reason),
            to: link({ decision: 'deny', reason }),
            value: denials,
          }))}
        />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="lg">
        <RankedList
          title="Top agents"
          empty="No agent said its name."
          tone="allow"
          rows={stats.agents.map(({ agent, decisions, denials }) => ({
            name: agent || '(no name)',
            to: link(agent ? { agent } : {}),
            value: decisions,
            denials,
          }))}
        />
        <RankedList
          title="Top actions"
          empty="No actions."
          tone="allow"
          rows={stats.actions.map(({ action, decisions, denials }) => ({
            name: action,
            to: link({ action }),
            value: decisions,
            denials,
          }))}
        />
        <RankedList
          title="Top sessions"
          empty="No session was named."
          tone="allow"
          rows={stats.sessions.map(({ session_id, decisions, denials, estimated_cost_usd }) => ({
            name: session_id || '(no session)',
            to: link(session_id ? { session_id } : {}),
            value: decisions,
            denials,
            note: estimated_cost_usd > 0 ? usd(estimated_cost_usd) : null,
          }))}
        />
      </SimpleGrid>
    </Stack>
  );
}

function Waiting() {
  return (
    <Loading label="the overview">
      <Stack gap="lg">
        <SimpleGrid cols={{ base: 2, md: 3, xl: 6 }}>
          {['a', 'b', 'c', 'd', 'e', 'f'].map((key) => (
            <Skeleton key={key} height={96} radius="lg" />
          ))}
        </SimpleGrid>
        <Skeleton height={330} radius="lg" />
      </Stack>
    </Loading>
  );
}
