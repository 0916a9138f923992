import { Anchor, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';

import type { DecisionDetail } from '../../api/types';
import { FactTable } from '../../components/FactTable';
import { CopyIcon } from '../../components/Json';
import { Time } from '../../components/Time';
import { SeverityBadge } from '../../components/badges';
import type { Filters, ValueFilter } from '../../lib/filters';
import { micros, usd, words } from '../../lib/format';

interface Props {
  detail: DecisionDetail;
  onFilter: (filters: Filters) => void;
}

export function DecisionFacts({ detail, onFilter }: Props) {
  const { decision, outcome, violations } = detail;
  const narrow = (key: ValueFilter, value: string): ReactNode =>
    value ? (
      <Anchor
        component="button"
        type="button"
        inherit
        ta="left"
        onClick={() => onFilter({ [key]: value })}
      >
        {value}
      </Anchor>
    ) : (
      '–'
    );
  return (
    <Stack gap="lg">
      <FactTable
        rows={[
          ['Agent', narrow('agent', decision.agent)],
          ['User', narrow('user', decision.user)],
          ['Session', narrow('session_id', decision.session_id)],
          ['Run', narrow('run_id', decision.run_id)],
          ['Step', decision.step_id || '–'],
          ['Project', narrow('project_id', decision.project_id)],
          ['Action', narrow('action', decision.action)],
          ['Worker', decision.worker],
          ['Evaluated in', micros(decision.duration_us)],
          [
            'Revision',
            <span key="revision" className="sg-mono">
              {decision.policy_revision}
            </span>,
          ],
          [
            'Decision ID',
            <span
              key="id"
              className="sg-mono"
              style={{ position: 'relative', display: 'block', paddingRight: 36 }}
            >
              {decision.id}
              <CopyIcon text={decision.id} label="Copy the ID" />
            </span>,
          ],
        ]}
      />
      <div>
        <Text fw={600} size="sm" mb={4}>
          Outcome
        </Text>
        {outcome ? (
          <FactTable
            rows={[
              ['How it went', outcome.outcome],
              ...(outcome.exception_type
                ? [['Exception', outcome.exception_type] as [string, ReactNode]]
                : []),
              [
                'Took',
                outcome.duration_seconds === null ? '–' : micros(outcome.duration_seconds * 1e6),
              ],
              ['Cost', usd(outcome.cost_usd)],
              ['Told', <Time key="told" value={outcome.timestamp} />],
            ]}
          />
        ) : (
          <Text size="sm" c="dimmed">
            The caller has not told how the operation went.
          </Text>
        )}
      </div>
      {violations.length > 0 ? (
        <div>
          <Text fw={600} size="sm" mb={4}>
            Violations
          </Text>
          <FactTable
            rows={violations.map((violation) => [
              violation.policy_name,
              <span key={violation.id}>
                <SeverityBadge severity={violation.severity} />{' '}
                {violation.reasons.map(words).join(', ')}, {violation.action_taken}
              </span>,
            ])}
          />
        </div>
      ) : null}
    </Stack>
  );
}
