import { describe, expect, it } from 'vitest';

import type { DecisionEvent } from '../api/types';
import { auditLink, filtersOf, matches, rowOf } from './filters';

const event: DecisionEvent = {
  id: '1',
  timestamp: '2026-01-01T00:00:00Z',
  decision: 'deny',
  action: 'llm_call',
  resource: 'gpt-4',
  policy_name: 'cost_control',
  policy_package: 'p',
  schema: 1,
  subject: 'a',
  worker_run: 'r',
  worker_sequence: 1,
  policy_revision: 'r',
  reason: 'budget_exceeded',
  agent: 'planner-1',
  user: 'alice',
  session_id: 's-1',
  run_id: '',
  step_id: '',
  project_id: '',
  policies: [
    {
      name: 'cost_control',
      package: 'p',
      version: 3,
      scope: 'global',
      mode: 'enforce',
      decision: 'deny',
      deny_reasons: ['budget_exceeded'],
      warnings: [],
    },
  ],
  deny_reasons: ['budget_exceeded'],
  warnings: [],
  would_deny: ['too_many_calls'],
  enforced: true,
  error: false,
  error_message: '',
  unchecked: '',
  duration_us: 1,
  worker: 'w',
};

describe('matches', () => {
  const row = rowOf(event);

  it('takes a row that fits all filters', () => {
    const fitting = {
      decision: 'deny',
      policy: 'cost_control',
      reason: 'budget_exceeded',
      text: 'GPT',
    };
    expect(matches(row, fitting)).toBe(true);
    expect(matches(row, { shadow: 'true' })).toBe(true);
  });

  it.each([
    { agent: 'planner-2' },
    { policy: 'cost' },
    { reason: 'budget' },
    { reason: 'too_many_calls' },
    { error: 'true' },
    { unchecked: 'true' },
    { text: 'claude' },
  ])('refuses %o', (filters) => {
    expect(matches(row, filters)).toBe(false);
  });
});

describe('the URL', () => {
  it('keeps what is a filter', () => {
    const search = new URLSearchParams('agent= a &error=true&shadow=no&range=1h&decision=');
    expect(filtersOf(search)).toEqual({ agent: 'a', error: 'true' });
  });

  it('links into the audit list', () => {
    expect(auditLink({ decision: 'deny', reason: 'a b' }, { range: '24h' })).toBe(
      '/audit?decision=deny&reason=a+b&range=24h',
    );
  });
});
