# METADATA
# title: Cost control
# description: >-
#   Stops a call that the budget cannot pay for, and keeps expensive models for work that matters.
# custom:
#   severity: warning
#   reasons:
#     budget_exceeded: >-
#       The estimated cost is higher than what remains of the budget. Use a cheaper model or a
#       shorter prompt, or ask for more budget.
#     expensive_model_for_low_priority: >-
#       This model is reserved for more important tasks. Use a cheaper model, or raise the
#       priority of the task.
#   warnings:
#     budget_not_checked: >-
#       A budget or an estimate was given, but not as a number, so it could not be checked.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       expensive_models:
#         type: array
#         description: >-
#           Models kept from low-priority tasks. A trailing * stands for anything; letter case and a
#           provider in front of the name (openai/gpt-4) make no difference. Prices change, so keep
#           your own list. Empty means that no model counts as expensive.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default:
#           - gpt-4
#           - gpt-4-*
#           - gpt-4.5*
#           - o1
#           - o1-20*
#           - o1-preview*
#           - o1-pro*
#           - o3-pro*
#           - claude-3-opus*
#           - claude-opus-4*
#       low_priorities:
#         type: array
#         description: Values of task_priority that count as low.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: [low]
package cmbagent.cost_control

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

# Settings ----------------------------------------------------------------------------------

# Evaluation is bounded, so a list with more than 100 entries counts as not given.
default expensive_models := [
	"gpt-4",
	"gpt-4-*",
	"gpt-4.5*",
	"o1",
	"o1-20*",
	"o1-preview*",
	"o1-pro*",
	"o3-pro*",
	"claude-3-opus*",
	"claude-opus-4*",
]

expensive_models := input.parameters.expensive_models if {
	is_array(input.parameters.expensive_models)
	count(input.parameters.expensive_models) <= 100
}

default low_priorities := ["low"]

low_priorities := input.parameters.low_priorities if {
	is_array(input.parameters.low_priorities)
	count(input.parameters.low_priorities) <= 100
}

# Reasons to deny ---------------------------------------------------------------------------

# A budget that exactly covers the call is enough. A call that costs nothing always fits, even
# when the budget is overdrawn: falling back to a free model must stay possible.
deny_reasons contains "budget_exceeded" if {
	some cost in estimated_costs
	cost > 0
	cost > remaining_usd
}

deny_reasons contains "expensive_model_for_low_priority" if {
	input.action == "llm_call"
	low_priority
	some model in models
	listed(model, expensive_models)
}

# Warnings ----------------------------------------------------------------------------------

# A missing budget or estimate is normal. One that is there and cannot be read is a mistake in
# the caller, and the budget went unchecked. (Python's None arrives as null: not given.)
warnings contains "budget_not_checked" if {
	input.budget.remaining_usd != null
	not remaining_usd
}

warnings contains "budget_not_checked" if {
	estimate_given
	remaining_usd
	count(estimated_costs) == 0
}

estimate_given if input.estimated_cost_usd != null

estimate_given if input.estimated_cost != null

# Money -------------------------------------------------------------------------------------

remaining_usd := as_number(input.budget.remaining_usd)

# Both names are in use. Where they disagree, the higher one decides.
estimated_costs contains as_number(input.estimated_cost_usd)

estimated_costs contains as_number(input.estimated_cost)

# Models and priorities ---------------------------------------------------------------------

low_priority if listed(clean(input.task_priority), low_priorities)

# The model may be stated in the resource, in the context, or be the resource itself. Every
# stated one counts, so that a cheap name in one place cannot hide an expensive one in another.
stated_models contains clean(input.model)

stated_models contains clean(input.resource.model)

stated_models contains clean(input.resource)

models contains model if some model in stated_models

# "openai/gpt-4" is the same model as "gpt-4".
models contains model if {
	some stated in stated_models
	parts := split(stated, "/")
	model := parts[count(parts) - 1]
}

# A trailing * stands for anything, letter case makes no difference.
listed(name, list) if name in {lower(entry) | some entry in list; is_string(entry)}

listed(name, list) if {
	beginnings := {lower(trim_suffix(entry, "*")) |
		some entry in list
		is_string(entry)
		endswith(entry, "*")
	}
	strings.any_prefix_match(name, beginnings)
}

# Reading what the caller sent --------------------------------------------------------------

# Letter case and surrounding blanks make no difference. A value that is not a string, or is
# empty, says nothing.
clean(text) := cleaned if {
	is_string(text)
	cleaned := lower(trim_space(text))
	cleaned != ""
}

# Some clients send decimal numbers as strings ("0.50"). Anything else is not a number.
as_number(value) := value if is_number(value)

as_number(value) := number if {
	is_string(value)
	json.is_valid(value)
	number := json.unmarshal(value)
	is_number(number)
}
