import type { JsonObject, PolicyDetail } from '../api/types';

/** A check to begin with: of what the policy is about, as far as its Rego says so plainly. */
export function exampleOf(policy: Pick<PolicyDetail, 'content'>): {
  action: string;
  resource: string;
  context: JsonObject;
} {
  return {
    action: /input\.action\s*==\s*"([^"]+)"/.exec(policy.content)?.[1] ?? 'llm_call',
    resource: 'gpt-4',
    context: {
      agent: 'engineer-1',
      session_id: 's-1',
      estimated_cost_usd: 0.12,
      budget: { remaining_usd: 0.05 },
      task_priority: 'low',
    },
  };
}
