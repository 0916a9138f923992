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
#         maxItems: 50
#         default: [.env, credentials, secrets]
#       sensitive_endings:
#         type: array
#         description: A path that ends with one of these is sensitive.
#         items: {type: string, minLength: 1}
#         maxItems: 50
#         default: [.pem, .key]
#       exceptions:
#         type: array
#         description: A path that ends with one of these is never sensitive (for example .env.example).
#         items: {type: string, minLength: 1}
#         maxItems: 50
#         default: []
#       actions:
#         type: array
#         description: The actions that are checked.
#         items: {type: string, minLength: 1}
#         maxItems: 20
#         default: [file_read]
package cmbagent.data_privacy

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

# Settings -----------------------------------------------------------------------------------

sensitive_names := list_setting("sensitive_names", {".env", "credentials", "secrets"})

sensitive_endings := list_setting("sensitive_endings", {".pem", ".key"})

exceptions := list_setting("exceptions", set())

actions := list_setting("actions", {"file_read"})

# A list from the settings, or, where it is not given or cannot be read, what stands in for it.
list_setting(name, instead) := words(input.parameters[name]) if {
	is_array(input.parameters[name])
	count(input.parameters[name]) <= 50
}

else := instead

words(list) := {word |
	some entry in list
	is_string(entry)
	word := lower(trim_space(entry))
	word != ""
}

# Reasons to deny ----------------------------------------------------------------------------

deny_reasons contains "sensitive_file_access" if {
	clean(input.action) in actions
	some path in paths
	sensitive(path)
	not excepted(path)
}

# Warnings -----------------------------------------------------------------------------------

warnings contains "path_not_checked" if {
	clean(input.action) in actions
	count(paths) == 0
}

warnings contains "path_not_checked" if {
	clean(input.action) in actions
	some field in fields
	is_array(input.resource[field])
	count(input.resource[field]) > most_paths
}

# What is sensitive --------------------------------------------------------------------------

# Paths are looked at as they are written: `..` is not resolved and links are not followed.
sensitive(path) if {
	some name in sensitive_names
	contains(path, name)
}

sensitive(path) if strings.any_suffix_match(path, sensitive_endings)

excepted(path) if strings.any_suffix_match(path, exceptions)

# Which paths are asked for ------------------------------------------------------------------

# The path may stand under any of these names, or the resource itself may be the path. Every
# one that is given is looked at.
fields := ["path", "file_path", "file", "filename", "paths", "files"]

paths contains clean(input.resource)

paths contains clean(input.resource[field]) if some field in fields

paths contains clean(entry) if {
	some field in fields
	is_array(input.resource[field])
	some entry in array.slice(input.resource[field], 0, most_paths)
}

# Evaluation is bounded, so a very long list is not looked at to its end.
most_paths := 50

# Letter case, and blanks, quotes, dots and slashes around a path make no difference to which
# file is meant: ".ENV", "server.pem " and "server.pem/." are all caught. Dots in front stay,
# because they are part of the name. A value that is not a string, or of which nothing is left,
# is no path.
clean(text) := cleaned if {
	is_string(text)
	start_trimmed := trim_left(lower(text), " \t\r\n\"'")
	cleaned := trim_right(start_trimmed, " \t\r\n\"'./\\")
	cleaned != ""
}
