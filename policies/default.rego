# METADATA
# title: Default
# description: >-
#   Allows everything. Points out, as warnings, the three things an operator usually wants to
#   know about: deletions, calls that leave unencrypted, and costly model calls.
# custom:
#   severity: info
#   warnings:
#     file_delete: A file is being deleted.
#     external_api_call_not_https: An external API is called at an address that is not https.
#     llm_call_above_cost_threshold: A single model call is estimated above the threshold.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       llm_call_warn_usd:
#         type: number
#         description: Warn when one model call is estimated to cost more than this, in US dollars.
#         minimum: 0
#         default: 1.0
package cmbagent.default

import rego.v1

# This policy never denies: with nothing else enabled, everything is allowed and recorded.
allow := true

deny_reasons := set()

# Settings ----------------------------------------------------------------------------------

default llm_call_warn_usd := 1.0

llm_call_warn_usd := input.parameters.llm_call_warn_usd if is_number(input.parameters.llm_call_warn_usd)

# Warnings ----------------------------------------------------------------------------------

warnings contains "file_delete" if input.action == "file_delete"

warnings contains "external_api_call_not_https" if {
	input.action == "external_api_call"
	some url in urls
	not startswith(url, "https://")
}

warnings contains "llm_call_above_cost_threshold" if {
	input.action == "llm_call"
	some cost in estimated_costs
	cost > llm_call_warn_usd
}

# Where the call goes -----------------------------------------------------------------------

# The address may stand under any of these names; every one that is given is looked at.
urls contains clean(input.resource.url)

urls contains clean(input.resource.uri)

urls contains clean(input.resource.endpoint)

# A resource given as a plain string may be the name of a service, so it counts as an address
# only when it looks like one.
urls contains clean(input.resource) if contains(clean(input.resource), "://")

# What the call costs -----------------------------------------------------------------------

# Both names are in use. Where they disagree, the higher one decides.
estimated_costs contains as_number(input.estimated_cost_usd)

estimated_costs contains as_number(input.estimated_cost)

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
