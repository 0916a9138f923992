import { LineChart } from '@mantine/charts';
import '@mantine/charts/styles.layer.css';
import { Box, VisuallyHidden } from '@mantine/core';
import { useMemo } from 'react';
import { useNavigate } from 'react-router';

import type { Overview } from '../../api/types';
import { micros } from '../../lib/format';
import { tick } from '../../lib/time';
import { ChartTip } from './ChartTip';
import { bucketLink, points, spanOf, type Point } from './timeline';

const SERIES = [
  { name: 'p50', label: 'p50', color: 'var(--sg-p50)' },
  { name: 'p95', label: 'p95', color: 'var(--sg-p95)' },
  { name: 'p99', label: 'p99', color: 'var(--sg-p99)' },
] as const;

export default function LatencyChart({ stats }: { stats: Overview }) {
  const data = useMemo(() => points(stats), [stats]);
  // A line needs neighbours: single points are drawn as dots.
  const few = data.filter(({ p50 }) => p50 !== null).length < 16;
  const navigate = useNavigate();
  const { totals } = stats;
  return (
    <Box>
      <VisuallyHidden>
        Half of the checks took at most {micros(totals.p50_us)}, 95% at most {micros(totals.p95_us)}
        , 99% at most {micros(totals.p99_us)}.
      </VisuallyHidden>
      <Box aria-hidden>
        <LineChart
          h={260}
          data={data}
          dataKey="at"
          series={[...SERIES]}
          curveType="monotone"
          withLegend
          legendProps={{ verticalAlign: 'top', height: 34 }}
          withDots={few}
          dotProps={{ r: 2.5 }}
          strokeWidth={2}
          connectNulls={false}
          tickLine="none"
          gridAxis="x"
          valueFormatter={micros}
          xAxisProps={{
            tickFormatter: (at: string) => tick(at, spanOf(stats)),
            minTickGap: 32,
          }}
          yAxisProps={{ width: 62 }}
          lineProps={{ isAnimationActive: false }}
          lineChartProps={{
            accessibilityLayer: false,
            style: { cursor: 'pointer' },
            onClick: ({ activeLabel }) => {
              if (typeof activeLabel === 'string') {
                void navigate(bucketLink(stats, activeLabel, null));
              }
            },
          }}
          tooltipAnimationDuration={0}
          tooltipProps={{
            content: ({ payload }) => (
              <ChartTip
                point={payload?.[0]?.payload as Point | undefined}
                seconds={stats.bucket_seconds}
                rows={[...SERIES]}
                show={micros}
              />
            ),
          }}
        />
      </Box>
    </Box>
  );
}
