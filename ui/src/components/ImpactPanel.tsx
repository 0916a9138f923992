import { Anchor, Box, Group, Loader, Stack, Table, Text } from '@mantine/core';
import { Link } from 'react-router';

import type { Impact, PolicyMode } from '../api/types';
import { auditLink } from '../lib/filters';
import { count, plural, words } from '../lib/format';
import classes from './ImpactPanel.module.css';
import { Failure } from './states';
import { Time } from './Time';

interface Props {
  impact: Impact | undefined;
  error: Error | null;
  busy: boolean;
  /** What is missing before the impact can be asked for. */
  waitingFor: string | null;
  mode?: PolicyMode;
}

/** What a policy would have done to the decisions of the last days. */
export function ImpactPanel({ impact, error, busy, waitingFor, mode = 'enforce' }: Props) {
  return (
    <Box
      className={classes.frame}
      component="section"
      aria-label="Impact over the last 7 days"
      aria-busy={busy}
    >
      <Group justify="space-between" mb={6}>
        <Text size="sm" fw={600}>
          Impact over the last 7 days
        </Text>
        {busy ? <Loader size={14} aria-label="Working out the impact" /> : null}
      </Group>
      {waitingFor ? (
        <Text size="sm" c="dimmed">
          {waitingFor}
        </Text>
      ) : error ? (
        <Failure error={error} what="The impact" />
      ) : impact ? (
        <Result impact={impact} mode={mode} />
      ) : (
        <Text size="sm" c="dimmed">
          Trying this policy on recorded decisions…
        </Text>
      )}
    </Box>
  );
}

function Result({ impact, mode }: { impact: Impact; mode: PolicyMode }) {
  if (impact.tried === 0) {
    return (
      <Text size="sm" c="dimmed">
        There are no recorded decisions of this scope in the last 7 days to try it on.
      </Text>
    );
  }
  const share = Math.round((1000 * impact.newly_denied) / impact.tried) / 10;
  return (
    <Stack gap="xs">
      <Text size="sm" component="div">
        <b className={impact.newly_denied > 0 ? classes.bad : classes.good}>
          {impact.newly_denied === 0
            ? 'Nothing that was allowed would have been denied'
            : `${plural(impact.newly_denied, 'allowed operation')} (${share}%) would have been ${mode === 'warn' ? 'warned of' : 'denied'}`}
        </b>{' '}
        of {plural(impact.tried, 'decision')} tried
        {impact.complete ? '' : `, the newest of ${count(impact.decisions)}`}.
      </Text>
      {impact.reasons.length > 0 ? (
        <Text size="sm">
          {impact.reasons
            .map(({ reason, count: number }) => `${words(reason)} ${count(number)}`)
            .join(' · ')}
        </Text>
      ) : null}
      {impact.agents.length > 0 ? (
        <Text size="sm" c="dimmed">
          Agents:{' '}
          {impact.agents
            .slice(0, 6)
            .map(({ agent, count: number }) => `${agent || '(no name)'} ${count(number)}`)
            .join(' · ')}
        </Text>
      ) : null}
      {impact.errors > 0 ? (
        <Text size="sm" c="var(--sg-error-text)">
          {plural(impact.errors, 'evaluation')} failed.
        </Text>
      ) : null}
      {impact.examples.length > 0 ? <Examples impact={impact} /> : null}
      {impact.usage_known ? null : (
        <Text size="xs" c="dimmed">
          Calls in a time window are not known for the past: limits of rate count as not reached.
        </Text>
      )}
    </Stack>
  );
}

function Examples({ impact }: { impact: Impact }) {
  return (
    <details>
      <summary className={classes.summary}>Examples</summary>
      <Table.ScrollContainer minWidth={420}>
        <Table fz="xs" verticalSpacing={4}>
          <Table.Tbody>
            {impact.examples.slice(0, 8).map((example) => (
              <Table.Tr key={example.id}>
                <Table.Td>
                  <Anchor
                    component={Link}
                    inherit
                    to={auditLink({ id: example.id }, { range: '30d' })}
                  >
                    <Time value={example.timestamp} style="short" />
                  </Anchor>
                </Table.Td>
                <Table.Td>{example.agent}</Table.Td>
                <Table.Td>{example.action}</Table.Td>
                <Table.Td className={classes.resource}>{example.resource}</Table.Td>
                <Table.Td>{example.reasons.map(words).join(', ')}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </details>
  );
}
