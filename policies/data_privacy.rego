# METADATA
# title: Data privacy
# description: >-
#   Keeps agents from reading files that usually hold passwords, tokens or private keys.
# custom:
#   severity: critical
#   reasons:
#     sensitive_file_access: >-
#       The path looks like a file with secrets. Read another file, or ask the operator for an
#       exception.
#   warnings:
#     path_not_checked: >-
#       No path could be read from the request, or it named more than 50, so not everything was
#       checked.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       sensitive_names:
#         type: array
#         description: A path that contains one of these anywhere, in a file or folder name, is sensitive.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: [.env, credentials, secrets]
#       sensitive_endings:
#         type: array
#         description: A path that ends with one of these is sensitive.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: [.pem, .key]
#       exceptions:
#         type: array
#         description: A path that ends with one of these is never sensitive (for example .env.example).
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: []
#       actions:
#         type: array
#         description: The actions that are checked.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: [file_read]
package cmbagent.data_privacy

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

# Settings ----------------------------------------------------------------------------------

# Evaluation is bounded, so a list with more than 100 entries counts as not given.
default sensitive_names := [".env", "credentials", "secrets"]

sensitive_names := input.parameters.sensitive_names if {
	is_array(input.parameters.sensitive_names)
	count(input.parameters.sensitive_names) <= 100
}

default sensitive_endings := [".pem", ".key"]

sensitive_endings := input.parameters.sensitive_endings if {
	is_array(input.parameters.sensitive_endings)
	count(input.parameters.sensitive_endings) <= 100
}

default exceptions := []

exceptions := input.parameters.exceptions if {
	is_array(input.parameters.exceptions)
	count(input.parameters.exceptions) <= 100
}

default actions := ["file_read"]

actions := input.parameters.actions if is_array(input.parameters.actions)

# Reasons to deny ---------------------------------------------------------------------------

deny_reasons contains "sensitive_file_access" if {
	input.action in actions
	some name in words(sensitive_names)
	contains(all_paths, name)
}

deny_reasons contains "sensitive_file_access" if {
	input.action in actions
	strings.any_suffix_match(paths, words(sensitive_endings))
}

# Warnings ----------------------------------------------------------------------------------

warnings contains "path_not_checked" if {
	input.action in actions
	count(stated_paths) == 0
}

warnings contains "path_not_checked" if {
	input.action in actions
	some list in given
	is_array(list)
	count(list) > most_paths
}

# Which paths are asked for -----------------------------------------------------------------

# The path may stand under any of these names, or the resource itself may be the path. Every
# one that is given is looked at.
given contains input.resource if is_string(input.resource)

given contains input.resource[name] if {
	some name in ["path", "file_path", "file", "filename", "paths", "files"]
}

stated_paths contains clean(value) if some value in given

stated_paths contains clean(value) if {
	some list in given
	is_array(list)
	some value in array.slice(list, 0, most_paths)
}

# Evaluation is bounded, so a very long list is not looked at to its end.
most_paths := 50

# The paths to check: those that are not excepted.
paths := {path |
	some path in stated_paths
	not strings.any_suffix_match(path, excepted_endings)
}

excepted_endings := words(exceptions)

# Looking for a name in one long text of all paths is quicker than in each path by itself.
all_paths := concat("\n", paths)

# Reading paths -----------------------------------------------------------------------------

# Paths are looked at as they are written: `..` is not resolved and links are not followed.
# Letter case makes no difference, nor do blanks, quotes, dots and slashes at the end: ".ENV",
# "server.pem " and "server.pem/." are all caught. A value that is not a string, or of which
# nothing is left, is no path.
clean(text) := cleaned if {
	is_string(text)
	cleaned := trim_right(lower(text), " \t\r\n\"'./\\")
	cleaned != ""
}

# An empty entry in a list of settings would be part of every path.
words(list) := {lower(entry) | some entry in list; is_string(entry); entry != ""}
