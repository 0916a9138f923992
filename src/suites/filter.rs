//! Which cases to run, by name.

use globset::{Glob, GlobMatcher};

/// Picks cases by name.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Names that contain a text.
    Contains(String),
    /// Names that a pattern with `*`, `?`, `[…]` or `{…}` matches as a whole.
    Glob(GlobMatcher),
}

impl Filter {
    /// A text, or a pattern where it has characters of one.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.contains(['*', '?', '[', '{']) {
            return Ok(Self::Contains(text.to_owned()));
        }
        Glob::new(text).map(|glob| Self::Glob(glob.compile_matcher())).map_err(|e| e.to_string())
    }

    /// Whether a case is picked, by its own name or by `policy/name`.
    #[must_use]
    pub fn takes(&self, policy: &str, name: &str) -> bool {
        let full = format!("{policy}/{name}");
        match self {
            Self::Contains(text) => full.contains(text.as_str()),
            Self::Glob(glob) => glob.is_match(name) || glob.is_match(full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_or_a_pattern() {
        let takes = |filter: &str, name| Filter::new(filter).unwrap().takes("cost_control", name);
        assert!(takes("budget", "empty_budget") && !takes("budget", "model"));
        assert!(takes("cost_control/empty", "empty_budget"));
        assert!(takes("empty_*", "empty_budget") && !takes("empty_*", "not_empty_budget"));
        assert!(takes("cost_*/*budget", "empty_budget"));
        assert!(Filter::new("[").is_err());
    }
}
