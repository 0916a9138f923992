import { expect, it } from 'vitest';

import type { Suite } from '../api/types';
import { caseText, casesOf } from './suites';

const one = (name: string, outcome: 'passed' | 'failed' | 'skipped', description = '') => ({
  name,
  description,
  outcome,
  line: 1,
  duration_us: 1,
});

const suite: Suite = {
  file: 'a_tests.yaml',
  policy: 'a',
  duration_ms: 1,
  cases: [one('first', 'passed'), one('late', 'skipped'), one('wrong', 'failed', 'A Budget')],
};

it('has what failed first, and filters by outcome and words', () => {
  const names = (outcome: 'all' | 'passed', text = '') =>
    casesOf(suite, { outcome, text }).map(({ name }) => name);
  expect(names('all')).toEqual(['wrong', 'late', 'first']);
  expect(names('passed')).toEqual(['first']);
  expect(names('all', 'budget')).toEqual(['wrong']);
});

it('writes an evaluation as a case', () => {
  const input = {
    action: 'llm_call',
    resource: { model: 'gpt-4' },
    context: { agent: 'planner' },
    agent: 'planner',
    timestamp: '2026-03-02T10:00:00.000000Z',
  };
  const result = {
    decision: 'deny',
    deny_reasons: ['budget_exceeded'],
    warnings: [],
  };
  expect(caseText(input, result, { limit: 2 })).toBe(`  - name: llm_call_deny_budget_exceeded
    action: llm_call
    resource: {model: gpt-4}
    context: {agent: planner}
    now: "2026-03-02T10:00:00Z"
    parameters: {limit: 2}
    expected: {decision: deny, deny_reasons: [budget_exceeded], warnings: []}`);
  const failed = { ...result, error: 'it took too long' };
  expect(caseText(input, failed, {})).toContain('    expected: {error: true}');
});
