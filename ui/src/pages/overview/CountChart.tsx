import { BarChart } from '@mantine/charts';
import '@mantine/charts/styles.layer.css';
import { Box, VisuallyHidden } from '@mantine/core';
import { useMemo } from 'react';
import { useNavigate } from 'react-router';

import type { Overview } from '../../api/types';
import { count, shortCount } from '../../lib/format';
import { tick } from '../../lib/time';
import { ChartTip } from './ChartTip';
import { bucketLink, points, spanOf, type Counted, type Point } from './timeline';

interface Props {
  stats: Overview;
  series: Counted[];
  height: number;
}

/** Numbers over time as stacked bars; a click on one leads to what it counts. */
export default function CountChart({ stats, series, height }: Props) {
  const data = useMemo(() => points(stats), [stats]);
  const navigate = useNavigate();
  const said = series.map(({ name, label }) => `${label}: ${count(stats.totals[name])}`).join(', ');
  return (
    <Box>
      <VisuallyHidden>In all of this time: {said}. The tiles above link to each.</VisuallyHidden>
      <Box aria-hidden>
        <BarChart
          h={height}
          data={data}
          dataKey="at"
          type="stacked"
          series={series}
          withLegend
          legendProps={{ verticalAlign: 'top', height: 34 }}
          tickLine="none"
          gridAxis="x"
          valueFormatter={shortCount}
          xAxisProps={{
            tickFormatter: (at: string) => tick(at, spanOf(stats)),
            minTickGap: 32,
          }}
          yAxisProps={{ width: 44, allowDecimals: false }}
          barProps={({ name }) => ({
            cursor: 'pointer',
            isAnimationActive: false,
            tabIndex: -1,
            onClick: (bar: { payload?: Point }) => {
              if (bar.payload) void navigate(bucketLink(stats, bar.payload.at, name));
            },
          })}
          barChartProps={{ accessibilityLayer: false, barCategoryGap: '18%' }}
          tooltipAnimationDuration={0}
          tooltipProps={{
            content: ({ payload }) => (
              <ChartTip
                point={payload?.[0]?.payload as Point | undefined}
                seconds={stats.bucket_seconds}
                rows={series}
                show={count}
              />
            ),
          }}
        />
      </Box>
    </Box>
  );
}
