import { Card, SimpleGrid, Text } from '@mantine/core';
import { Link } from 'react-router';
import type { ReactNode } from 'react';

import type { Overview } from '../../api/types';
import type { Tone } from '../../components/Tone';
import type { Filters } from '../../lib/filters';
import { count, micros, percent, shortCount, usd } from '../../lib/format';
import classes from './Totals.module.css';

interface Props {
  stats: Overview;
  link: (filters: Filters) => string;
}

/** The figures of the time range, each a link to what it counts. */
export function Totals({ stats, link }: Props) {
  const { totals } = stats;
  const share = (part: number) => (totals.decisions > 0 ? percent(part / totals.decisions) : '–');
  return (
    <SimpleGrid cols={{ base: 2, md: 3, xl: 6 }} spacing={{ base: 'sm', sm: 'md' }}>
      <Tile label="Decisions" value={shortCount(totals.decisions)} to={link({})} tone="allow">
        {count(totals.allow)} allowed
      </Tile>
      <Tile
        label="Denied"
        value={shortCount(totals.deny)}
        to={link({ decision: 'deny' })}
        tone={totals.deny > 0 ? 'deny' : 'quiet'}
      >
        {share(totals.deny)} of decisions
      </Tile>
      <Tile
        label="Shadow denials"
        value={shortCount(totals.would_deny)}
        to={link({ shadow: 'true' })}
        tone={totals.would_deny > 0 ? 'shadow' : 'quiet'}
      >
        by drafts, {share(totals.would_deny)} of decisions
      </Tile>
      <Tile
        label="Coverage"
        value={percent(totals.coverage)}
        to={link({ unchecked: 'true' })}
        tone={(totals.coverage ?? 1) < 0.99 ? 'shadow' : 'good'}
      >
        {count(totals.unchecked)} unchecked
      </Tile>
      <Tile
        label="Spend"
        value={usd(totals.estimated_cost_usd)}
        to={link({ action: 'llm_call' })}
        tone="quiet"
      >
        {/* Callers need not tell what a call really cost: the estimate is of all, this of some. */}
        estimated
        {totals.actual_cost_usd > 0 ? `; ${usd(totals.actual_cost_usd)} actual, where told` : ''}
      </Tile>
      <Tile
        label="Evaluation errors"
        value={shortCount(totals.error)}
        to={link({ error: 'true' })}
        tone={totals.error > 0 ? 'error' : 'quiet'}
      >
        p99 {micros(totals.p99_us)}
      </Tile>
    </SimpleGrid>
  );
}

interface TileProps {
  label: string;
  value: string;
  to: string;
  tone: Tone;
  children: ReactNode;
}

function Tile({ label, value, to, tone, children }: TileProps) {
  return (
    <Card
      component={Link}
      to={to}
      padding="md"
      className={`sg-card ${classes.tile}`}
      data-tone={tone}
    >
      <Text size="sm" c="dimmed" fw={550}>
        {label}
      </Text>
      <Text fz={26} fw={700} lh={1.25} className="sg-numbers">
        {value}
      </Text>
      <Text size="xs" c="dimmed">
        {children}
      </Text>
    </Card>
  );
}
