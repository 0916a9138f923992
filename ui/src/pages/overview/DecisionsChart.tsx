import { BarChart } from '@mantine/charts';
import '@mantine/charts/styles.layer.css';
import { Box, VisuallyHidden } from '@mantine/core';
import { useMemo } from 'react';
import { useNavigate } from 'react-router';

import type { Overview } from '../../api/types';
import { count, plural, shortCount } from '../../lib/format';
import { tick } from '../../lib/time';
import { ChartTip } from './ChartTip';
import { OUTCOMES, bucketLink, points, spanOf, type Point } from './timeline';

export default function DecisionsChart({ stats }: { stats: Overview }) {
  const data = useMemo(() => points(stats), [stats]);
  const navigate = useNavigate();
  const { totals } = stats;
  return (
    <Box>
      <VisuallyHidden>
        {plural(data.length, 'bar')} of time: {count(totals.allow)} allowed, {count(totals.deny)}{' '}
        denied, {count(totals.unchecked)} unchecked. The tiles above link to each.
      </VisuallyHidden>
      <Box aria-hidden>
        <BarChart
          h={260}
          data={data}
          dataKey="at"
          type="stacked"
          series={OUTCOMES.map((outcome) => ({ ...outcome }))}
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
          barProps={(series) => ({
            cursor: 'pointer',
            isAnimationActive: false,
            tabIndex: -1,
            onClick: (bar: { payload?: Point }) => {
              if (bar.payload) void navigate(bucketLink(stats, bar.payload.at, series.name));
            },
          })}
          barChartProps={{ accessibilityLayer: false, barCategoryGap: '18%' }}
          tooltipAnimationDuration={0}
          tooltipProps={{
            content: ({ payload }) => (
              <ChartTip
                point={payload?.[0]?.payload as Point | undefined}
                seconds={stats.bucket_seconds}
                rows={[
                  ...OUTCOMES.map(({ name, label, color }) => ({ key: name, label, color })),
                  { key: 'would_deny', label: 'Drafts would deny', color: 'var(--sg-shadow)' },
                  { key: 'error', label: 'Errors', color: 'var(--sg-error)' },
                ]}
                show={count}
              />
            ),
          }}
        />
      </Box>
    </Box>
  );
}
