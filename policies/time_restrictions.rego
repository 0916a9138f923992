# METADATA
# title: Time restrictions
# description: >-
#   Allows work within business hours only, in the time zone you choose.
# custom:
#   severity: warning
#   reasons:
#     outside_business_hours: It is outside business hours. Try again when they begin.
#   warnings:
#     business_hours_not_checked: >-
#       The time, the time zone, or one of the settings could not be read, so business hours
#       were not checked.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       time_zone:
#         type: string
#         description: >-
#           Name of the time zone, as in Europe/Berlin or America/New_York. Summer time is taken
#           care of.
#         minLength: 1
#         default: UTC
#       weekdays:
#         type: array
#         description: >-
#           Business days, as names (Monday or Mon) or numbers (1 is Monday; 7, or 0, is
#           Sunday). Empty means every day.
#         items:
#           enum: [0, 1, 2, 3, 4, 5, 6, 7,
#                  Mon, Tue, Wed, Thu, Fri, Sat, Sun, mon, tue, wed, thu, fri, sat, sun,
#                  Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday,
#                  monday, tuesday, wednesday, thursday, friday, saturday, sunday]
#         maxItems: 20
#         default: [Mon, Tue, Wed, Thu, Fri]
#       start:
#         type: string
#         description: First minute of business hours, HH:MM.
#         pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$'
#         default: '09:00'
#       end:
#         type: string
#         description: >-
#           First minute after business hours, HH:MM; 24:00 is the end of the day. Earlier than the
#           start means that the hours run past midnight; the same as the start means 24 hours.
#         pattern: '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$'
#         default: '18:00'
#       actions:
#         type: array
#         description: The actions that are restricted. Empty means every action.
#         items: {type: string, minLength: 1}
#         maxItems: 100
#         default: []
package cmbagent.time_restrictions

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

# Settings -----------------------------------------------------------------------------------

default time_zone := "UTC"

time_zone := input.parameters.time_zone

default weekdays := ["Mon", "Tue", "Wed", "Thu", "Fri"]

weekdays := input.parameters.weekdays

default start := "09:00"

start := input.parameters.start

default end := "18:00"

end := input.parameters.end

default actions := []

actions := input.parameters.actions

# A setting that cannot be read must not lock anybody out. It switches the check off, and the
# warning says so.
settings_readable if {
	time_zone != "Local" # would be the zone of whichever machine evaluates
	is_clock_time(start)
	is_clock_time(end)
	weekdays_readable
	is_array(actions)
	count(actions) <= 100
}

weekdays_readable if {
	is_array(weekdays)
	count(weekdays) <= 20
	every entry in weekdays {
		entry in ways_to_write_a_day
	}
}

# Reasons to deny ----------------------------------------------------------------------------

deny_reasons contains "outside_business_hours" if {
	not exempt
	moment
	not within_business_hours
}

# Warnings -----------------------------------------------------------------------------------

warnings contains "business_hours_not_checked" if {
	not exempt
	not moment
}

# Which actions are meant --------------------------------------------------------------------

exempt if {
	is_array(actions)
	count(actions) > 0
	not listed_action
}

listed_action if input.action in actions

# Business hours -----------------------------------------------------------------------------

# Times of day are written HH:MM, so comparing them as text compares them as times.
# The start is inside, the end is outside.
within_business_hours if {
	is_business_day(today)
	time_of_day >= start
	time_of_day < end
}

# Hours that run past midnight, such as 22:00 to 06:00: the evening belongs to today ...
within_business_hours if {
	overnight
	is_business_day(today)
	time_of_day >= start
}

# ... and the morning to the day on which they began.
within_business_hours if {
	overnight
	is_business_day(day_before[today])
	time_of_day < end
}

overnight if {
	settings_readable
	start >= end
}

is_business_day(day) if day in business_days

is_business_day(_) if count(weekdays) == 0

business_days := {day_names[entry] | some entry in weekdays}

# The moment of the call ---------------------------------------------------------------------

# The time comes from the input, never from the clock of the machine that evaluates: so a
# recorded call can be replayed, and all workers agree. Without readable settings, a readable time
# and a known time zone there is no moment, and nothing is denied.
moment := {"day": time.weekday(at), "clock": time.clock(at)} if {
	settings_readable
	at := [time.parse_rfc3339_ns(input.timestamp), time_zone]
}

today := moment.day

time_of_day := sprintf("%02d:%02d", [moment.clock[0], moment.clock[1]])

# Days of the week ---------------------------------------------------------------------------

day_names := {
	1: "Monday", "Mon": "Monday", "mon": "Monday", "Monday": "Monday", "monday": "Monday",
	2: "Tuesday", "Tue": "Tuesday", "tue": "Tuesday", "Tuesday": "Tuesday", "tuesday": "Tuesday",
	3: "Wednesday", "Wed": "Wednesday", "wed": "Wednesday", "Wednesday": "Wednesday", "wednesday": "Wednesday",
	4: "Thursday", "Thu": "Thursday", "thu": "Thursday", "Thursday": "Thursday", "thursday": "Thursday",
	5: "Friday", "Fri": "Friday", "fri": "Friday", "Friday": "Friday", "friday": "Friday",
	6: "Saturday", "Sat": "Saturday", "sat": "Saturday", "Saturday": "Saturday", "saturday": "Saturday",
	7: "Sunday", "Sun": "Sunday", "sun": "Sunday", "Sunday": "Sunday", "sunday": "Sunday",
	0: "Sunday",
}

ways_to_write_a_day := object.keys(day_names)

day_before := {
	"Monday": "Sunday",
	"Tuesday": "Monday",
	"Wednesday": "Tuesday",
	"Thursday": "Wednesday",
	"Friday": "Thursday",
	"Saturday": "Friday",
	"Sunday": "Saturday",
}

# Is it written correctly? -------------------------------------------------------------------

# HH:MM, from 00:00 to 24:00. With every digit turned into 0, a correct time looks like 00:00.
is_clock_time(text) if {
	is_string(text)
	strings.replace_n(digit_to_zero, text) == "00:00"
	text <= "24:00"
	substring(text, 3, 2) < "60"
}

digit_to_zero := {
	"1": "0", "2": "0", "3": "0", "4": "0", "5": "0", "6": "0", "7": "0", "8": "0", "9": "0",
}
