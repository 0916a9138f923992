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

# Settings ----------------------------------------------------------------------------------

# An empty list restricts nothing, and all lists that restrict are empty unless you fill them.
# Evaluation is bounded, so a list with more than 100 entries counts as not given.
default approved_models := []

approved_models := input.parameters.approved_models if {
	is_array(input.parameters.approved_models)
	count(input.parameters.approved_models) <= 100
}

default allowed_regions := []

allowed_regions := input.parameters.allowed_regions if {
	is_array(input.parameters.allowed_regions)
	count(input.parameters.allowed_regions) <= 100
}

default region_actions := ["llm_call", "external_api_call"]

region_actions := input.parameters.region_actions if {
	is_array(input.parameters.region_actions)
	count(input.parameters.region_actions) <= 100
}

default review_actions := []

review_actions := input.parameters.review_actions if {
	is_array(input.parameters.review_actions)
	count(input.parameters.review_actions) <= 100
}

default retention_tags := []

retention_tags := input.parameters.retention_tags if {
	is_array(input.parameters.retention_tags)
	count(input.parameters.retention_tags) <= 100
}

default retention_actions := ["file_write"]

retention_actions := input.parameters.retention_actions if {
	is_array(input.parameters.retention_actions)
	count(input.parameters.retention_actions) <= 100
}

# What is not stated is a warning, unless the operator wants it denied.
default deny_not_stated := false

deny_not_stated if input.parameters.deny_not_stated == true

# Approved models ---------------------------------------------------------------------------

deny_reasons contains "model_not_approved" if {
	models_restricted
	some model in models
	not listed(model, approved_models)
}

deny_reasons contains "model_not_stated" if {
	model_missing
	deny_not_stated
}

warnings contains "model_not_stated" if {
	model_missing
	not deny_not_stated
}

model_missing if {
	models_restricted
	count(models) == 0
}

models_restricted if {
	input.action == "llm_call"
	some entry in approved_models
	is_string(entry)
}

# The model may be stated in the resource, in the context, or be the resource itself. Every
# stated one must be approved.
models contains clean(input.model)

models contains clean(input.resource.model)

models contains clean(input.resource)

# Data residency ----------------------------------------------------------------------------

# Whoever states a region, for whatever action, must state an allowed one.
deny_reasons contains "region_not_allowed" if {
	regions_restricted
	some region in regions
	not listed(region, allowed_regions)
}

deny_reasons contains "region_not_stated" if {
	region_missing
	deny_not_stated
}

warnings contains "region_not_stated" if {
	region_missing
	not deny_not_stated
}

region_missing if {
	regions_restricted
	input.action in region_actions
	count(regions) == 0
}

regions_restricted if {
	some entry in allowed_regions
	is_string(entry)
}

regions contains clean(input.resource.region)

regions contains clean(input.resource.data_region)

regions contains clean(input.region)

regions contains clean(input.data_region)

# Required review ---------------------------------------------------------------------------

deny_reasons contains "review_required" if {
	input.action in review_actions
	not reviewed
}

# A review counts when it approves and names somebody other than the agent that asks.
reviewed if {
	input.review.approved == true
	reviewer
	not self_reviewed
}

reviewer := clean(input.review.reviewer)

self_reviewed if reviewer == clean(input.agent)

# Retention tags ----------------------------------------------------------------------------

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
	input.action in retention_actions
	some entry in retention_tags
	is_string(entry)
}

tags contains clean(input.resource.retention_tag)

tags contains clean(input.retention_tag)

# Reading what the caller sent --------------------------------------------------------------

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

# Letter case and surrounding blanks make no difference. A value that is not a string, or is
# empty, says nothing.
clean(text) := cleaned if {
	is_string(text)
	cleaned := lower(trim_space(text))
	cleaned != ""
}
