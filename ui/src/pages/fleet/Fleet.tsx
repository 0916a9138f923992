import { Grid, SimpleGrid, Skeleton, Stack } from '@mantine/core';
import { IconServerOff } from '@tabler/icons-react';

import { useFleet } from '../../api/stats';
import { Page } from '../../components/Page';
import { Panel } from '../../components/Panel';
import { RefreshPicker, useRefreshInterval } from '../../components/RefreshPicker';
import { Empty, Failure, Loading } from '../../components/states';
import { Time } from '../../components/Time';
import { WorkerTable } from '../../components/WorkerTable';
import { plural } from '../../lib/format';
import { Attention } from '../overview/FleetPanel';
import { ClickHousePanel } from './ClickHousePanel';
import { CoveragePanel } from './CoveragePanel';
import { StreamPanel } from './StreamPanel';

export default function Fleet() {
  const refresh = useRefreshInterval();
  const fleet = useFleet(refresh.interval);
  const data = fleet.data;
  return (
    <Page
      title="Fleet"
      lead={
        data ? (
          <>
            Workers, streams and history as of <Time value={data.at} style="full" />.
          </>
        ) : (
          'Workers, streams and history.'
        )
      }
      actions={
        <RefreshPicker
          value={refresh.stored}
          onChange={refresh.set}
          busy={fleet.isFetching && !fleet.isPending}
          onRefresh={() => void fleet.refetch()}
        />
      }
    >
      {fleet.isError ? (
        <Failure error={fleet.error} what="The fleet" retry={() => void fleet.refetch()} />
      ) : null}
      {fleet.isPending ? (
        <Loading label="the fleet">
          <Stack>
            <Skeleton height={200} radius="lg" />
            <SimpleGrid cols={{ base: 1, md: 2 }}>
              <Skeleton height={240} radius="lg" />
              <Skeleton height={240} radius="lg" />
            </SimpleGrid>
          </Stack>
        </Loading>
      ) : null}
      {data ? (
        <>
          <Attention fleet={data} />
          <Panel title={plural(data.workers.length, 'worker')}>
            {data.workers.length > 0 ? (
              <WorkerTable workers={data.workers} />
            ) : (
              <Empty icon={IconServerOff} title="No worker answers">
                Checks are not answered now; callers that fail open go on unchecked.
              </Empty>
            )}
          </Panel>
          <CoveragePanel coverage={data.clickhouse.coverage} />
          <Grid gap="lg">
            <Grid.Col span={{ base: 12, lg: 7 }}>
              <StreamPanel fleet={data} />
            </Grid.Col>
            <Grid.Col span={{ base: 12, lg: 5 }}>
              <ClickHousePanel clickhouse={data.clickhouse} />
            </Grid.Col>
          </Grid>
        </>
      ) : null}
    </Page>
  );
}
