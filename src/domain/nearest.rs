//! The name that was probably meant.

/// Bytes of the longest name that is compared: comparing costs, and what is longer is no name.
const MOST_BYTES: usize = 128;
/// Names that are compared at most: nobody may make a check expensive by a name that doesn't exist.
const MOST_NAMES: usize = 1_000;
/// How alike two names must be, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The name nearest to an unknown one, if near enough to have been meant.
#[must_use]
pub fn nearest<'a>(unknown: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if unknown.len() > MOST_BYTES {
        return None;
    }
    names
        .into_iter()
        .take(MOST_NAMES)
        .map(|name| (strsim::jaro_winkler(name, unknown), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > ALIKE)
        .map(|(_, name)| name)
}

/// The same as the end of a sentence: `; did you mean …?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(unknown: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(unknown, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_and_a_name() {
        let names = ["cost_control", "rate_limiting"];
        assert_eq!(nearest("cost_contrl", names), Some("cost_control"));
        assert_eq!(nearest("zzz", names), None);
        assert_eq!(nearest(&"cost_control".repeat(20), names), None);
        assert_eq!(did_you_mean("rate_limit", names), "; did you mean `rate_limiting`?");
    }
}
