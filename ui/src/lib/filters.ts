import type { DecisionEvent, DecisionRow } from '../api/types';

/** The filters of the audit list that hold a value to compare with. */
export const VALUE_FILTERS = [
  'decision',
  'action',
  'agent',
  'user',
  'session_id',
  'run_id',
  'project_id',
  'policy',
  'reason',
  'text',
  'id',
] as const;
/** Those that are set or not. */
export const FLAG_FILTERS = ['error', 'shadow', 'unchecked'] as const;

export type ValueFilter = (typeof VALUE_FILTERS)[number];
type FlagFilter = (typeof FLAG_FILTERS)[number];
/** Without a value a filter is not set. */
export type Filters = { [key in ValueFilter]?: string | undefined } & {
  [key in FlagFilter]?: string | undefined;
};

export const FILTER_LABELS: Record<ValueFilter | FlagFilter, string> = {
  decision: 'Decision',
  action: 'Action',
  agent: 'Agent',
  user: 'User',
  session_id: 'Session',
  run_id: 'Run',
  project_id: 'Project',
  policy: 'Policy',
  reason: 'Reason',
  text: 'Text',
  id: 'Decision ID',
  error: 'Errors only',
  shadow: 'Drafts would deny',
  unchecked: 'Unchecked only',
};

export function filtersOf(search: URLSearchParams): Filters {
  const filters: Filters = {};
  for (const key of VALUE_FILTERS) {
    const value = search.get(key)?.trim();
    if (value) filters[key] = value;
  }
  for (const key of FLAG_FILTERS) {
    if (search.get(key) === 'true') filters[key] = 'true';
  }
  return filters;
}

export function withFilters(search: URLSearchParams, filters: Filters): URLSearchParams {
  const next = new URLSearchParams(search);
  for (const key of [...VALUE_FILTERS, ...FLAG_FILTERS]) {
    const value = filters[key];
    if (value) next.set(key, value);
    else next.delete(key);
  }
  return next;
}

/** A link into the audit list. */
export function auditLink(
  filters: Filters,
  window: { since?: string; until?: string; range?: string } = {},
): string {
  const search = withFilters(new URLSearchParams(), filters);
  for (const [key, value] of Object.entries(window)) {
    if (value) search.set(key, value);
  }
  return `/audit?${search.toString()}`;
}

/** The row that the audit list will show for an event of the live tail. */
export function rowOf(event: DecisionEvent): DecisionRow {
  const { policies, ...rest } = event;
  return {
    ...rest,
    policy: event.policy_name,
    decision_reason: event.reason,
    policies: (policies ?? []).map((policy) => `${policy.name}@${policy.version}`),
  };
}

/** Whether the live tail shows this row; the server knows only some of the filters of a list. */
export function matches(row: DecisionRow, filters: Filters): boolean {
  const same = (wanted: string | undefined, value: string) => !wanted || wanted === value;
  const { text, reason, policy } = filters;
  return (
    same(filters.decision, row.decision) &&
    same(filters.action, row.action) &&
    same(filters.agent, row.agent) &&
    same(filters.user, row.user) &&
    same(filters.session_id, row.session_id) &&
    same(filters.run_id, row.run_id) &&
    same(filters.project_id, row.project_id) &&
    same(filters.id, row.id) &&
    (!policy ||
      row.policy === policy ||
      row.policies.some((one) => one.startsWith(`${policy}@`))) &&
    (!reason || row.deny_reasons.includes(reason)) &&
    (!filters.error || row.error) &&
    (!filters.shadow || row.would_deny.length > 0) &&
    (!filters.unchecked || row.unchecked !== '') &&
    (!text || containsText(row, text))
  );
}

function containsText(row: DecisionRow, text: string): boolean {
  const wanted = text.toLowerCase();
  return [row.resource, row.reason, row.action, row.agent].some((part) =>
    part.toLowerCase().includes(wanted),
  );
}
