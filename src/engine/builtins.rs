//! Which builtin functions a policy may call: pure ones whose cost is bounded by their arguments.
//!
//! regorus can't disable builtins at run time, so cargo features leave most out and the compiled
//! program's table is checked against this list. What reaches out (`http.send`, `opa.runtime`,
//! `net.*`), what differs between workers (`time.now_ns`, `rand.intn`, `uuid.rfc4122`) and what a
//! small argument makes huge (`numbers.range`, `bits.lsh`) is not in it.

use super::error::EngineError;

const ALLOWED: &[&str] = &[
    "__builtin_sets.intersection",
    "__builtin_sets.union",
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.marshal_with_options",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.globs_match",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.template_match",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "walk",
];

/// Refuses a program that calls anything not on the list.
pub(super) fn check<'a>(called: impl Iterator<Item = &'a str>) -> Result<(), EngineError> {
    for name in called {
        if !ALLOWED.contains(&name) {
            return Err(refused(name));
        }
    }
    Ok(())
}

/// Whether a policy may call a builtin.
pub(super) fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name)
}

/// Why a builtin is refused, and what to use instead.
pub(super) fn refused(name: &str) -> EngineError {
    let reason = match name {
        "time.now_ns" => {
            "every policy sees the same time in input.timestamp; \
                          time.parse_rfc3339_ns(input.timestamp) is that time in nanoseconds"
        }
        "numbers.range" | "numbers.range_step" | "bits.lsh" => {
            "a small argument can make it take seconds and gigabytes"
        }
        name if name.starts_with("http.") || name.starts_with("net.") => {
            "policies see only their input; put what they need into the context of the check"
        }
        "opa.runtime" | "rand.intn" | "uuid.rfc4122" => {
            "its value differs from call to call, so a decision could not be repeated"
        }
        _ => "policies may call only functions that are pure and bounded",
    };
    EngineError::Builtin { name: name.to_owned(), reason: reason.to_owned() }
}

/// Finds the name of a refused builtin in a compiler's complaint about an unknown function.
pub(super) fn named_in(message: &str) -> Option<&'static str> {
    const LEFT_OUT: &[&str] = &[
        "http.send",
        "opa.runtime",
        "net.cidr_contains",
        "net.cidr_expand",
        "net.cidr_is_valid",
        "net.cidr_intersects",
        "net.cidr_merge",
        "net.lookup_ip_addr",
        "graph.reachable",
        "graph.reachable_paths",
        "yaml.unmarshal",
        "yaml.marshal",
        "yaml.is_valid",
        "uuid.parse",
        "uuid.rfc4122",
        "rand.intn",
    ];
    LEFT_OUT.iter().copied().find(|name| message.contains(*name))
}
