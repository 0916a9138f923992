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
#           Business days, as names (Monday or Mon) or numbers (1 is Monday, 7 and 0 are Sunday).
#           Empty means every day.
#         items: {type: [string, integer]}
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

settings := input.parameters if is_object(input.parameters)

else := {}

time_zone := object.get(settings, "time_zone", "UTC")

weekdays := object.get(settings, "weekdays", ["Mon", "Tue", "Wed", "Thu", "Fri"])

start := object.get(settings, "start", "09:00")

end := object.get(settings, "end", "18:00")

actions := object.get(settings, "actions", [])

# A setting that cannot be read must not lock anybody out. It switches the check off, and the
# warning says so.
settings_readable if {
	time_zone in known_time_zones
	is_clock_time(start)
	is_clock_time(end)
	is_array(weekdays)
	count(weekdays) <= 20
	count(unknown_weekdays) == 0
	is_array(actions)
	count(actions) <= 100
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
	count(actions) <= 100
	not listed_action
}

listed_action if {
	some entry in actions
	plain(entry) == plain(input.action)
}

# Business hours -----------------------------------------------------------------------------

# Times of day are written HH:MM, so comparing them as text compares them as times.
# The start is inside, the end is outside.
within_business_hours if {
	is_business_day(today)
	start < end
	time_of_day >= start
	time_of_day < end
}

# Hours that run past midnight, such as 22:00 to 06:00: the evening belongs to today ...
within_business_hours if {
	is_business_day(today)
	start >= end
	time_of_day >= start
}

# ... and the morning to the day on which they began.
within_business_hours if {
	is_business_day(day_before[today])
	start >= end
	time_of_day < end
}

is_business_day(day) if day in business_days

is_business_day(_) if count(business_days) == 0

# The moment of the call ---------------------------------------------------------------------

# The time comes from the input, never from the clock of the machine that evaluates: so a
# recorded call can be replayed, and all workers agree. Without readable settings and a readable
# time there is no moment, and nothing is denied.
moment := [time.parse_rfc3339_ns(input.timestamp), time_zone] if {
	settings_readable
	timestamp_readable
}

today := time.weekday(moment)

time_of_day := sprintf("%02d:%02d", [clock[0], clock[1]])

clock := time.clock(moment)

# Days of the week ---------------------------------------------------------------------------

business_days := {day_names[plain(entry)] | some entry in weekdays}

unknown_weekdays := [entry | some entry in weekdays; not is_weekday(entry)]

is_weekday(entry) if day_names[plain(entry)]

plain(entry) := lower(trim_space(entry)) if is_string(entry)

plain(entry) := entry if is_number(entry)

day_names := {
	"mon": "Monday", "monday": "Monday", "1": "Monday", 1: "Monday",
	"tue": "Tuesday", "tuesday": "Tuesday", "2": "Tuesday", 2: "Tuesday",
	"wed": "Wednesday", "wednesday": "Wednesday", "3": "Wednesday", 3: "Wednesday",
	"thu": "Thursday", "thursday": "Thursday", "4": "Thursday", 4: "Thursday",
	"fri": "Friday", "friday": "Friday", "5": "Friday", 5: "Friday",
	"sat": "Saturday", "saturday": "Saturday", "6": "Saturday", 6: "Saturday",
	"sun": "Sunday", "sunday": "Sunday", "7": "Sunday", 7: "Sunday", "0": "Sunday", 0: "Sunday",
}

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

# Parsing a malformed time is an error that would stop the whole policy, so the text is looked
# at before it is parsed. With every digit turned into 0, a correct text has only a few shapes.
shape(text) := strings.replace_n({
	"1": "0", "2": "0", "3": "0", "4": "0", "5": "0", "6": "0", "7": "0", "8": "0", "9": "0",
}, text)

is_clock_time(text) if {
	is_string(text)
	shape(text) == "00:00"
	text <= "24:00"
	substring(text, 3, 2) < "60"
}

# A timestamp reads 2026-03-02T10:00:00Z, with or without a fraction of a second, and may end in
# an offset such as +01:00 instead of Z.
timestamp_readable if {
	startswith(timestamp_shape, "0000-00-00T00:00:00")
	timestamp_ending in {"Z", "+00:00", "-00:00"}
	day_exists(substring(input.timestamp, 0, 4), substring(input.timestamp, 5, 2), substring(input.timestamp, 8, 2))
	substring(input.timestamp, 11, 2) < "24"
	substring(input.timestamp, 14, 2) < "60"
	substring(input.timestamp, 17, 2) < "60"
	offset_exists
}

timestamp_shape := shape(input.timestamp) if is_string(input.timestamp)

# What follows the seconds, without the fraction.
timestamp_ending := trim_left(substring(timestamp_shape, 20, -1), "0") if {
	startswith(substring(timestamp_shape, 19, 2), ".0")
}

else := substring(timestamp_shape, 19, -1)

offset_exists if endswith(timestamp_shape, "Z")

offset_exists if {
	count(timestamp_shape) > 20
	offset := substring(input.timestamp, count(input.timestamp) - 5, 5)
	substring(offset, 0, 2) < "24"
	substring(offset, 3, 2) < "60"
}

day_exists(year, month, day) if {
	startswith(year, "20")
	day >= "01"
	day <= last_day_of_month[month]
	not missing_leap_day(year, month, day)
}

# Between 2000 and 2099, every fourth year is a leap year.
missing_leap_day(year, month, day) if {
	month == "02"
	day == "29"
	to_number(year) % 4 != 0
}

last_day_of_month := {
	"01": "31", "02": "29", "03": "31", "04": "30", "05": "31", "06": "30",
	"07": "31", "08": "31", "09": "30", "10": "31", "11": "30", "12": "31",
}

# Time zones ---------------------------------------------------------------------------------

# An unknown time zone is an error too, so here are the names of all that exist (IANA, 2025b).
known_time_zones := {
	"Africa/Abidjan", "Africa/Accra", "Africa/Addis_Ababa", "Africa/Algiers", "Africa/Asmara",
	"Africa/Asmera", "Africa/Bamako", "Africa/Bangui", "Africa/Banjul", "Africa/Bissau",
	"Africa/Blantyre", "Africa/Brazzaville", "Africa/Bujumbura", "Africa/Cairo",
	"Africa/Casablanca", "Africa/Ceuta", "Africa/Conakry", "Africa/Dakar", "Africa/Dar_es_Salaam",
	"Africa/Djibouti", "Africa/Douala", "Africa/El_Aaiun", "Africa/Freetown", "Africa/Gaborone",
	"Africa/Harare", "Africa/Johannesburg", "Africa/Juba", "Africa/Kampala", "Africa/Khartoum",
	"Africa/Kigali", "Africa/Kinshasa", "Africa/Lagos", "Africa/Libreville", "Africa/Lome",
	"Africa/Luanda", "Africa/Lubumbashi", "Africa/Lusaka", "Africa/Malabo", "Africa/Maputo",
	"Africa/Maseru", "Africa/Mbabane", "Africa/Mogadishu", "Africa/Monrovia", "Africa/Nairobi",
	"Africa/Ndjamena", "Africa/Niamey", "Africa/Nouakchott", "Africa/Ouagadougou",
	"Africa/Porto-Novo", "Africa/Sao_Tome", "Africa/Timbuktu", "Africa/Tripoli", "Africa/Tunis",
	"Africa/Windhoek",
	"America/Adak", "America/Anchorage", "America/Anguilla", "America/Antigua", "America/Araguaina",
	"America/Argentina/Buenos_Aires", "America/Argentina/Catamarca",
	"America/Argentina/ComodRivadavia", "America/Argentina/Cordoba", "America/Argentina/Jujuy",
	"America/Argentina/La_Rioja", "America/Argentina/Mendoza", "America/Argentina/Rio_Gallegos",
	"America/Argentina/Salta", "America/Argentina/San_Juan", "America/Argentina/San_Luis",
	"America/Argentina/Tucuman", "America/Argentina/Ushuaia", "America/Aruba", "America/Asuncion",
	"America/Atikokan", "America/Atka", "America/Bahia", "America/Bahia_Banderas",
	"America/Barbados", "America/Belem", "America/Belize", "America/Blanc-Sablon",
	"America/Boa_Vista", "America/Bogota", "America/Boise", "America/Buenos_Aires",
	"America/Cambridge_Bay", "America/Campo_Grande", "America/Cancun", "America/Caracas",
	"America/Catamarca", "America/Cayenne", "America/Cayman", "America/Chicago",
	"America/Chihuahua", "America/Ciudad_Juarez", "America/Coral_Harbour", "America/Cordoba",
	"America/Costa_Rica", "America/Coyhaique", "America/Creston", "America/Cuiaba",
	"America/Curacao", "America/Danmarkshavn", "America/Dawson", "America/Dawson_Creek",
	"America/Denver", "America/Detroit", "America/Dominica", "America/Edmonton", "America/Eirunepe",
	"America/El_Salvador", "America/Ensenada", "America/Fort_Nelson", "America/Fort_Wayne",
	"America/Fortaleza", "America/Glace_Bay", "America/Godthab", "America/Goose_Bay",
	"America/Grand_Turk", "America/Grenada", "America/Guadeloupe", "America/Guatemala",
	"America/Guayaquil", "America/Guyana", "America/Halifax", "America/Havana",
	"America/Hermosillo", "America/Indiana/Indianapolis", "America/Indiana/Knox",
	"America/Indiana/Marengo", "America/Indiana/Petersburg", "America/Indiana/Tell_City",
	"America/Indiana/Vevay", "America/Indiana/Vincennes", "America/Indiana/Winamac",
	"America/Indianapolis", "America/Inuvik", "America/Iqaluit", "America/Jamaica", "America/Jujuy",
	"America/Juneau", "America/Kentucky/Louisville", "America/Kentucky/Monticello",
	"America/Knox_IN", "America/Kralendijk", "America/La_Paz", "America/Lima",
	"America/Los_Angeles", "America/Louisville", "America/Lower_Princes", "America/Maceio",
	"America/Managua", "America/Manaus", "America/Marigot", "America/Martinique",
	"America/Matamoros", "America/Mazatlan", "America/Mendoza", "America/Menominee",
	"America/Merida", "America/Metlakatla", "America/Mexico_City", "America/Miquelon",
	"America/Moncton", "America/Monterrey", "America/Montevideo", "America/Montreal",
	"America/Montserrat", "America/Nassau", "America/New_York", "America/Nipigon", "America/Nome",
	"America/Noronha", "America/North_Dakota/Beulah", "America/North_Dakota/Center",
	"America/North_Dakota/New_Salem", "America/Nuuk", "America/Ojinaga", "America/Panama",
	"America/Pangnirtung", "America/Paramaribo", "America/Phoenix", "America/Port-au-Prince",
	"America/Port_of_Spain", "America/Porto_Acre", "America/Porto_Velho", "America/Puerto_Rico",
	"America/Punta_Arenas", "America/Rainy_River", "America/Rankin_Inlet", "America/Recife",
	"America/Regina", "America/Resolute", "America/Rio_Branco", "America/Rosario",
	"America/Santa_Isabel", "America/Santarem", "America/Santiago", "America/Santo_Domingo",
	"America/Sao_Paulo", "America/Scoresbysund", "America/Shiprock", "America/Sitka",
	"America/St_Barthelemy", "America/St_Johns", "America/St_Kitts", "America/St_Lucia",
	"America/St_Thomas", "America/St_Vincent", "America/Swift_Current", "America/Tegucigalpa",
	"America/Thule", "America/Thunder_Bay", "America/Tijuana", "America/Toronto", "America/Tortola",
	"America/Vancouver", "America/Virgin", "America/Whitehorse", "America/Winnipeg",
	"America/Yakutat", "America/Yellowknife",
	"Antarctica/Casey", "Antarctica/Davis", "Antarctica/DumontDUrville", "Antarctica/Macquarie",
	"Antarctica/Mawson", "Antarctica/McMurdo", "Antarctica/Palmer", "Antarctica/Rothera",
	"Antarctica/South_Pole", "Antarctica/Syowa", "Antarctica/Troll", "Antarctica/Vostok",
	"Arctic/Longyearbyen",
	"Asia/Aden", "Asia/Almaty", "Asia/Amman", "Asia/Anadyr", "Asia/Aqtau", "Asia/Aqtobe",
	"Asia/Ashgabat", "Asia/Ashkhabad", "Asia/Atyrau", "Asia/Baghdad", "Asia/Bahrain", "Asia/Baku",
	"Asia/Bangkok", "Asia/Barnaul", "Asia/Beirut", "Asia/Bishkek", "Asia/Brunei", "Asia/Calcutta",
	"Asia/Chita", "Asia/Choibalsan", "Asia/Chongqing", "Asia/Chungking", "Asia/Colombo",
	"Asia/Dacca", "Asia/Damascus", "Asia/Dhaka", "Asia/Dili", "Asia/Dubai", "Asia/Dushanbe",
	"Asia/Famagusta", "Asia/Gaza", "Asia/Harbin", "Asia/Hebron", "Asia/Ho_Chi_Minh",
	"Asia/Hong_Kong", "Asia/Hovd", "Asia/Irkutsk", "Asia/Istanbul", "Asia/Jakarta", "Asia/Jayapura",
	"Asia/Jerusalem", "Asia/Kabul", "Asia/Kamchatka", "Asia/Karachi", "Asia/Kashgar",
	"Asia/Kathmandu", "Asia/Katmandu", "Asia/Khandyga", "Asia/Kolkata", "Asia/Krasnoyarsk",
	"Asia/Kuala_Lumpur", "Asia/Kuching", "Asia/Kuwait", "Asia/Macao", "Asia/Macau", "Asia/Magadan",
	"Asia/Makassar", "Asia/Manila", "Asia/Muscat", "Asia/Nicosia", "Asia/Novokuznetsk",
	"Asia/Novosibirsk", "Asia/Omsk", "Asia/Oral", "Asia/Phnom_Penh", "Asia/Pontianak",
	"Asia/Pyongyang", "Asia/Qatar", "Asia/Qostanay", "Asia/Qyzylorda", "Asia/Rangoon",
	"Asia/Riyadh", "Asia/Saigon", "Asia/Sakhalin", "Asia/Samarkand", "Asia/Seoul", "Asia/Shanghai",
	"Asia/Singapore", "Asia/Srednekolymsk", "Asia/Taipei", "Asia/Tashkent", "Asia/Tbilisi",
	"Asia/Tehran", "Asia/Tel_Aviv", "Asia/Thimbu", "Asia/Thimphu", "Asia/Tokyo", "Asia/Tomsk",
	"Asia/Ujung_Pandang", "Asia/Ulaanbaatar", "Asia/Ulan_Bator", "Asia/Urumqi", "Asia/Ust-Nera",
	"Asia/Vientiane", "Asia/Vladivostok", "Asia/Yakutsk", "Asia/Yangon", "Asia/Yekaterinburg",
	"Asia/Yerevan",
	"Atlantic/Azores", "Atlantic/Bermuda", "Atlantic/Canary", "Atlantic/Cape_Verde",
	"Atlantic/Faeroe", "Atlantic/Faroe", "Atlantic/Jan_Mayen", "Atlantic/Madeira",
	"Atlantic/Reykjavik", "Atlantic/South_Georgia", "Atlantic/St_Helena", "Atlantic/Stanley",
	"Australia/ACT", "Australia/Adelaide", "Australia/Brisbane", "Australia/Broken_Hill",
	"Australia/Canberra", "Australia/Currie", "Australia/Darwin", "Australia/Eucla",
	"Australia/Hobart", "Australia/LHI", "Australia/Lindeman", "Australia/Lord_Howe",
	"Australia/Melbourne", "Australia/NSW", "Australia/North", "Australia/Perth",
	"Australia/Queensland", "Australia/South", "Australia/Sydney", "Australia/Tasmania",
	"Australia/Victoria", "Australia/West", "Australia/Yancowinna",
	"Brazil/Acre", "Brazil/DeNoronha", "Brazil/East", "Brazil/West",
	"Canada/Atlantic", "Canada/Central", "Canada/Eastern", "Canada/Mountain", "Canada/Newfoundland",
	"Canada/Pacific", "Canada/Saskatchewan", "Canada/Yukon",
	"Chile/Continental", "Chile/EasterIsland",
	"Etc/GMT", "Etc/GMT+0", "Etc/GMT+1", "Etc/GMT+10", "Etc/GMT+11", "Etc/GMT+12", "Etc/GMT+2",
	"Etc/GMT+3", "Etc/GMT+4", "Etc/GMT+5", "Etc/GMT+6", "Etc/GMT+7", "Etc/GMT+8", "Etc/GMT+9",
	"Etc/GMT-0", "Etc/GMT-1", "Etc/GMT-10", "Etc/GMT-11", "Etc/GMT-12", "Etc/GMT-13", "Etc/GMT-14",
	"Etc/GMT-2", "Etc/GMT-3", "Etc/GMT-4", "Etc/GMT-5", "Etc/GMT-6", "Etc/GMT-7", "Etc/GMT-8",
	"Etc/GMT-9", "Etc/GMT0", "Etc/Greenwich", "Etc/UCT", "Etc/UTC", "Etc/Universal", "Etc/Zulu",
	"Europe/Amsterdam", "Europe/Andorra", "Europe/Astrakhan", "Europe/Athens", "Europe/Belfast",
	"Europe/Belgrade", "Europe/Berlin", "Europe/Bratislava", "Europe/Brussels", "Europe/Bucharest",
	"Europe/Budapest", "Europe/Busingen", "Europe/Chisinau", "Europe/Copenhagen", "Europe/Dublin",
	"Europe/Gibraltar", "Europe/Guernsey", "Europe/Helsinki", "Europe/Isle_of_Man",
	"Europe/Istanbul", "Europe/Jersey", "Europe/Kaliningrad", "Europe/Kiev", "Europe/Kirov",
	"Europe/Kyiv", "Europe/Lisbon", "Europe/Ljubljana", "Europe/London", "Europe/Luxembourg",
	"Europe/Madrid", "Europe/Malta", "Europe/Mariehamn", "Europe/Minsk", "Europe/Monaco",
	"Europe/Moscow", "Europe/Nicosia", "Europe/Oslo", "Europe/Paris", "Europe/Podgorica",
	"Europe/Prague", "Europe/Riga", "Europe/Rome", "Europe/Samara", "Europe/San_Marino",
	"Europe/Sarajevo", "Europe/Saratov", "Europe/Simferopol", "Europe/Skopje", "Europe/Sofia",
	"Europe/Stockholm", "Europe/Tallinn", "Europe/Tirane", "Europe/Tiraspol", "Europe/Ulyanovsk",
	"Europe/Uzhgorod", "Europe/Vaduz", "Europe/Vatican", "Europe/Vienna", "Europe/Vilnius",
	"Europe/Volgograd", "Europe/Warsaw", "Europe/Zagreb", "Europe/Zaporozhye", "Europe/Zurich",
	"Indian/Antananarivo", "Indian/Chagos", "Indian/Christmas", "Indian/Cocos", "Indian/Comoro",
	"Indian/Kerguelen", "Indian/Mahe", "Indian/Maldives", "Indian/Mauritius", "Indian/Mayotte",
	"Indian/Reunion",
	"Mexico/BajaNorte", "Mexico/BajaSur", "Mexico/General",
	"Pacific/Apia", "Pacific/Auckland", "Pacific/Bougainville", "Pacific/Chatham", "Pacific/Chuuk",
	"Pacific/Easter", "Pacific/Efate", "Pacific/Enderbury", "Pacific/Fakaofo", "Pacific/Fiji",
	"Pacific/Funafuti", "Pacific/Galapagos", "Pacific/Gambier", "Pacific/Guadalcanal",
	"Pacific/Guam", "Pacific/Honolulu", "Pacific/Johnston", "Pacific/Kanton", "Pacific/Kiritimati",
	"Pacific/Kosrae", "Pacific/Kwajalein", "Pacific/Majuro", "Pacific/Marquesas", "Pacific/Midway",
	"Pacific/Nauru", "Pacific/Niue", "Pacific/Norfolk", "Pacific/Noumea", "Pacific/Pago_Pago",
	"Pacific/Palau", "Pacific/Pitcairn", "Pacific/Pohnpei", "Pacific/Ponape",
	"Pacific/Port_Moresby", "Pacific/Rarotonga", "Pacific/Saipan", "Pacific/Samoa",
	"Pacific/Tahiti", "Pacific/Tarawa", "Pacific/Tongatapu", "Pacific/Truk", "Pacific/Wake",
	"Pacific/Wallis", "Pacific/Yap",
	"US/Alaska", "US/Aleutian", "US/Arizona", "US/Central", "US/East-Indiana", "US/Eastern",
	"US/Hawaii", "US/Indiana-Starke", "US/Michigan", "US/Mountain", "US/Pacific", "US/Samoa",
	"CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "GB", "GB-Eire", "GMT",
	"GMT+0", "GMT-0", "GMT0", "Greenwich", "HST", "Hongkong", "Iceland", "Iran", "Israel",
	"Jamaica", "Japan", "Kwajalein", "Libya", "MET", "MST", "MST7MDT", "NZ", "NZ-CHAT", "Navajo",
	"PRC", "PST8PDT", "Poland", "Portugal", "ROC", "ROK", "Singapore", "Turkey", "UCT", "UTC",
	"Universal", "W-SU", "WET", "Zulu",
}
