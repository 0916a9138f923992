//! Versions that are missing: they count up by one, so a jump says that some were never seen.

use std::collections::HashMap;

use crate::runtime::metrics;
use crate::store::VersionOf;

/// Versions that the history lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Of what, by its name.
    pub(super) name: String,
    /// The first that is missing.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
}

impl Gap {
    /// Tells people.
    pub(super) fn report(&self) {
        tracing::warn!(
            name = self.name,
            from = self.from,
            to = self.to,
            "versions are missing in the history: they had left the bucket before a sink read \
             them, or were put aside as dead letters"
        );
        metrics::policy_version_gaps().increment((self.to - self.from).saturating_add(1));
    }
}

/// The gaps before versions that come now, given the greatest that are stored.
///
/// Of a history that is new here, the first version may follow another history of the same name (a
/// deletion and a new beginning), or be one that such a history had (a bucket that was made anew).
pub(super) fn gaps(known: &[VersionOf], new: &[VersionOf]) -> Vec<Gap> {
    let mut of_history: HashMap<&str, u64> = HashMap::new();
    let mut of_name: HashMap<&str, u64> = HashMap::new();
    let mut found = Vec::new();
    for (of, is_new) in known.iter().map(|of| (of, false)).chain(new.iter().map(|of| (of, true))) {
        let (history, name) = (of.history.as_str(), of.name.as_str());
        let before = of_history.get(history).or(of_name.get(name)).copied().unwrap_or_default();
        if is_new && of.version > before.saturating_add(1) {
            found.push(Gap { name: of.name.clone(), from: before + 1, to: of.version - 1 });
        }
        for greatest in [of_history.entry(history).or_default(), of_name.entry(name).or_default()] {
            *greatest = of.version.max(*greatest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(history: &str, name: &str, version: u64) -> VersionOf {
        VersionOf { history: history.into(), name: name.into(), version }
    }

    fn found(known: &[VersionOf], new: &[VersionOf]) -> Vec<(String, u64, u64)> {
        gaps(known, new).into_iter().map(|gap| (gap.name, gap.from, gap.to)).collect()
    }

    #[test]
    fn a_jump_is_a_gap_and_what_follows_is_none() {
        let a = |version| of("1", "a", version);
        let gap = |from, to| vec![("a".to_owned(), from, to)];
        assert_eq!(found(&[], &[a(1), a(2), a(3)]), []);
        assert_eq!(found(&[], &[a(3)]), gap(1, 2));
        assert_eq!(found(&[a(4)], &[a(5), a(6)]), []);
        assert_eq!(found(&[a(4)], &[a(7), a(8)]), gap(5, 6));
        assert_eq!(found(&[a(4)], &[a(4), a(3)]), [], "again, or written anew");
        assert_eq!(found(&[a(4)], &[a(u64::MAX)]), gap(5, u64::MAX - 1));
        assert_eq!(found(&[a(u64::MAX)], &[a(u64::MAX)]), []);
    }

    #[test]
    fn histories_of_one_name_follow_each_other_or_begin_anew() {
        let (old, new) = (of("1", "a", 9), |version| of("2", "a", version));
        assert_eq!(found(&[old.clone()], &[new(10), new(11)]), [], "goes on after a deletion");
        assert_eq!(found(&[old.clone()], &[new(1), new(2)]), [], "begins anew");
        assert_eq!(found(&[old.clone()], &[new(1), new(3)]), [("a".to_owned(), 2, 2)]);
        assert_eq!(found(&[old.clone()], &[new(12)]), [("a".to_owned(), 10, 11)]);
        let other = of("3", "b", 2);
        assert_eq!(found(&[old], &[other]), [("b".to_owned(), 1, 1)]);
    }
}
