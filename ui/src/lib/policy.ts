import type { Policy } from '../api/types';

/** What to call a policy: one made from a template has the template's title, so its name tells more. */
export function titleOf(policy: Pick<Policy, 'name' | 'title' | 'template'>): string {
  return policy.template ? policy.name : policy.title || policy.name;
}
