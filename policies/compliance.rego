# METADATA
# title: Compliance
# description: >-
#   Rules an institution or a regulator may ask for: approved models only, data stays in agreed
#   regions, sensitive actions are reviewed by a person, stored data carries a retention tag.
#   Each of the four is off until you fill its list.
# custom:
#   severity: critical
#   reasons:
#     model_not_approved: >-
#       The model is not on the list of approved models. Use an approved one.
#     model_not_stated: >-
#       The request does not say which model it calls. Put it into resource.model.
#     region_not_allowed: >-
#       The region is not on the list of allowed regions. Use a service in an allowed region.
#     region_not_stated: >-
#       The request does not say in which region the data ends up. Put it into resource.region.
#     review_required: >-
#       This action needs a review. Let a person approve it and send context.review with
#       approved (true) and reviewer (a name).
#     retention_tag_missing: >-
#       Stored data needs a retention tag. Put it into resource.retention_tag.
#     retention_tag_not_allowed: >-
#       The retention tag is not on the list of allowed tags.
#   warnings:
#     model_not_stated: >-
#       The request does not say which model it calls, so it could not be checked.
#     region_not_stated: >-
#       The request does not say in which region the data ends up, so it could not be checked.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       approved_models:
#         type: array
#         description: >-
#           The models an llm_call may use, named as the agents name them. A trailing * stands for
#           anything; letter case makes no difference. Empty means that every model is approved.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: []
#       allowed_regions:
#         type: array
#         description: >-
#           The regions where data may go or be processed, such as eu-west-1 or eu-*. Empty means
#           that every region is allowed.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: []
#       region_actions:
#         type: array
#         description: The actions that must say which region they use, once allowed_regions is filled.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: [llm_call, external_api_call]
#       review_actions:
#         type: array
#         description: The actions that need an approving review. Empty means that none does.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: []
#       retention_tags:
#         type: array
#         description: The retention tags in use. Empty means that no tag is needed.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: []
#       retention_actions:
#         type: array
#         description: The actions that must carry a retention tag, once retention_tags is filled.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: [file_write]
#       deny_not_stated:
#         type: boolean
#         description: >-
#           Deny a call that does not say which model or region it uses. When false, such a call is
#           allowed with a warning.
#         default: false
package cmbagent.compliance

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

# Settings -----------------------------------------------------------------------------------

approved_models := list_setting("approved_models", set())

allowed_regions := list_setting("allowed_regions", set())

region_actions := list_setting("region_actions", {"llm_call", "external_api_call"})

review_actions := list_setting("review_actions", set())

retention_tags := list_setting("retention_tags", set())

retention_actions := list_setting("retention_actions", {"file_write"})

# What is not stated is a warning, unless the operator wants it denied.
default deny_not_stated := false

deny_not_stated if input.parameters.deny_not_stated == true

# A list from the settings, or, where it is not given or cannot be read, what stands in for it.
list_setting(name, instead) := words(input.parameters[name]) if {
	is_array(input.parameters[name])
	count(input.parameters[name]) <= 100
}

else := instead

words(list) := {word |
	some entry in list
	is_string(entry)
	word := lower(trim_space(entry))
	word != ""
}

# Approved models ----------------------------------------------------------------------------

deny_reasons contains "model_not_approved" if {
	models_restricted
	some model in models
	not listed(model, approved_models)
}

deny_reasons contains "model_not_stated" if {
	deny_not_stated
	model_missing
}

warnings contains "model_not_stated" if {
	not deny_not_stated
	model_missing
}

model_missing if {
	models_restricted
	count(models) == 0
}

models_restricted if {
	input.action == "llm_call"
	count(approved_models) > 0
}

# The model may be stated in the resource, in the context, or be the resource itself. Every
# stated one must be approved.
models contains clean(fact("model"))

models contains clean(input.resource.model)

models contains clean(input.resource)

# Data residency -----------------------------------------------------------------------------

# Whoever states a region, for whatever action, must state an allowed one.
deny_reasons contains "region_not_allowed" if {
	count(allowed_regions) > 0
	some region in regions
	not listed(region, allowed_regions)
}

deny_reasons contains "region_not_stated" if {
	deny_not_stated
	region_missing
}

warnings contains "region_not_stated" if {
	not deny_not_stated
	region_missing
}

region_missing if {
	count(allowed_regions) > 0
	clean(input.action) in region_actions
	count(regions) == 0
}

regions contains clean(input.resource.region)

regions contains clean(input.resource.data_region)

regions contains clean(fact("region"))

regions contains clean(fact("data_region"))

# Required review ----------------------------------------------------------------------------

deny_reasons contains "review_required" if {
	clean(input.action) in review_actions
	not reviewed
}

# A review counts when it approves and names somebody other than the agent that asks.
reviewed if {
	review.approved == true
	reviewer
	not self_reviewed
}

self_reviewed if reviewer == clean(fact("agent"))

reviewer := clean(review.reviewer)

review := fact("review")

# Retention tags -----------------------------------------------------------------------------

deny_reasons contains "retention_tag_missing" if {
	tag_needed
	count(tags) == 0
}

deny_reasons contains "retention_tag_not_allowed" if {
	tag_needed
	some tag in tags
	not listed(tag, retention_tags)
}

tag_needed if {
	count(retention_tags) > 0
	clean(input.action) in retention_actions
}

tags contains clean(input.resource.retention_tag)

tags contains clean(fact("retention_tag"))

# Reading what the caller sent ---------------------------------------------------------------

listed(name, list) if {
	some pattern in list
	matches(name, pattern)
}

matches(name, pattern) if name == pattern

matches(name, pattern) if {
	endswith(pattern, "*")
	startswith(name, trim_suffix(pattern, "*"))
}

# Sluicegate puts every key of `context` at the top of the input; a tool that evaluates a bare
# request leaves it under `context`.
fact(name) := input[name] if input[name] != null

else := input.context[name]

# Letter case and surrounding blanks make no difference. A value that is not a string, or is
# empty, states nothing.
clean(text) := cleaned if {
	is_string(text)
	cleaned := lower(trim_space(text))
	cleaned != ""
}
