import type { Policy } from '../api/types';

/** What to call a policy: one made from a template has the template's title, so its name tells more. */
export function titleOf(policy: Pick<Policy, 'name' | 'title' | 'template'>): string {
  return policy.template ? policy.name : policy.title || policy.name;
}

/** A policy to begin with: it denies nothing until its one rule is changed. */
export function skeleton(name: string): string {
  return `# METADATA
# title: ${name}
# description: Say in a sentence what this policy restricts.
# custom:
#   severity: warning
#   reasons:
#     not_allowed: Say here what the agent should do instead.
package custom.${name.replaceAll('-', '_').replace(/^(?=\d)/, '_')}

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

deny_reasons contains "not_allowed" if {
	input.action == "the_action"
	input.resource == "the resource"
}
`;
}
