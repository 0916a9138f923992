# METADATA
# title: Rate limiting
# description: >-
#   Limits how many model calls one agent may make within a sliding window of time; or, for a policy
#   of one session, project or user, all its agents together.
# custom:
#   severity: warning
#   reasons:
#     rate_limit_exceeded: >-
#       Too many model calls were made within the window. Wait, then try again.
#   warnings:
#     rate_not_checked: >-
#       The number of calls in the window is not known, so the limit could not be checked.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       max_calls:
#         type: integer
#         description: How many model calls one agent may make within the window. One more is denied.
#         minimum: 0
#         default: 100
#       count:
#         type: string
#         description: >-
#           Whose calls count: each agent by itself, or everyone in the session, project or user that
#           the policy is for. A policy for everyone always counts each agent by itself.
#         enum: [agent, scope]
#         default: agent
#       window_seconds:
#         type: integer
#         description: The length of the window in seconds.
#         minimum: 1
#         maximum: 3600
#         default: 60
package cmbagent.rate_limiting

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

# Settings ----------------------------------------------------------------------------------

default max_calls := 100

max_calls := input.parameters.max_calls if is_number(input.parameters.max_calls)

default window_seconds := 60

window_seconds := input.parameters.window_seconds if is_number(input.parameters.window_seconds)

# Reasons to deny ---------------------------------------------------------------------------

deny_reasons contains "rate_limit_exceeded" if {
	input.action == "llm_call"
	calls_in_window > max_calls
	not counted_over_longer_window
}

# Warnings ----------------------------------------------------------------------------------

warnings contains "rate_not_checked" if {
	input.action == "llm_call"
	not calls_in_window
}

# Too many calls, but counted over a longer time than this policy asks about.
warnings contains "rate_not_checked" if {
	input.action == "llm_call"
	calls_in_window > max_calls
	counted_over_longer_window
}

# Few enough calls, but counted over a shorter time than this policy asks about.
warnings contains "rate_not_checked" if {
	input.action == "llm_call"
	calls_in_window <= max_calls
	counted_over_shorter_window
}

# How many calls ----------------------------------------------------------------------------

# The number of `llm_call`s of this agent, or of all in the scope, within the window, this one included: 100 is the
# hundredth call and still allowed, 101 is one too many. Calls that were denied do not count, or
# an agent that keeps asking would never be let in again.
#
# The system's own count decides, whatever the caller claims.
calls_in_window := system_count

# Only where the system has none, what the caller says of itself is better than nothing. Being
# the caller's word, it is not to be trusted.
calls_in_window := as_number(input.calls_in_window) if not system_count

system_count := scope_count

system_count := input.usage.calls_in_window if {
	not scope_count
	is_number(input.usage.calls_in_window)
}

scope_count := input.usage.scope_calls_in_window if {
	input.parameters.count == "scope"
	is_number(input.usage.scope_calls_in_window)
}

# The system says over which time it counted. If it does not, it counted over our window.
counted_over_longer_window if {
	system_count
	is_number(input.usage.window_seconds)
	input.usage.window_seconds > window_seconds
}

counted_over_shorter_window if {
	system_count
	is_number(input.usage.window_seconds)
	input.usage.window_seconds < window_seconds
}

# Reading what the caller sent --------------------------------------------------------------

# Some clients send decimal numbers as strings ("0.50"). Anything else is not a number.
as_number(value) := value if is_number(value)

as_number(value) := number if {
	is_string(value)
	json.is_valid(value)
	number := json.unmarshal(value)
	is_number(number)
}
