import { Anchor, Progress, SimpleGrid, Text } from '@mantine/core';
import { Link } from 'react-router';

import type { Calls, Fleet } from '../../api/fleet.types';
import { Panel } from '../../components/Panel';
import { auditLink } from '../../lib/filters';
import { count, percent, words } from '../../lib/format';

/** How many calls were checked before they went on; what failed open is never invisible. */
export function CoveragePanel({ coverage }: { coverage: Fleet['clickhouse']['coverage'] }) {
  if (!coverage) return null;
  return (
    <Panel
      title="Coverage"
      help="The share of calls that a worker answered before they went on. The others went on, or were refused, without an answer, and told so afterwards."
    >
      <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="xl">
        <Share label="Last hour" calls={coverage.last_hour} range="1h" />
        <Share label="Last 24 hours" calls={coverage.last_day} range="24h" />
      </SimpleGrid>
    </Panel>
  );
}

function Share({ label, calls, range }: { label: string; calls: Calls; range: string }) {
  const all = calls.checked + calls.unchecked;
  const share = all > 0 ? calls.checked / all : null;
  return (
    <div>
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <Text fz={24} fw={700} className="sg-numbers">
        {percent(share)}
      </Text>
      <Progress
        value={(share ?? 0) * 100}
        size="sm"
        color={share !== null && share < 0.99 ? 'var(--sg-shadow)' : 'var(--sg-good)'}
        aria-label={`Checked, ${label.toLowerCase()}`}
      />
      <Text size="sm" mt={6}>
        {count(calls.checked)} checked,{' '}
        <Anchor
          component={Link}
          inherit
          underline="always"
          to={auditLink({ unchecked: 'true' }, { range })}
        >
          {count(calls.unchecked)} unchecked
        </Anchor>
        {calls.would_deny > 0 ? `, ${count(calls.would_deny)} of them would have been denied` : ''}
      </Text>
      {Object.entries(calls.causes).map(([cause, number]) => (
        <Text key={cause} size="xs" c="dimmed">
          {words(cause)}: {count(number)}
        </Text>
      ))}
    </div>
  );
}
