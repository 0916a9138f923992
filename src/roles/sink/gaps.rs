//! Versions that are missing: they count up by one, so a jump says that some were not seen. They may
//! still come: after a sink died, what it held is delivered again later than what is new. So a jump is
//! a suspicion until nothing before it can come any more.

use std::collections::HashMap;

use crate::runtime::metrics;
use crate::store::{StreamPosition, VersionOf};

/// Suspicions held at once; a change of policies is rare, and so is a jump.
const MOST: usize = 10_000;

/// Versions that the history lacked when a later one came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The version that came.
    pub(super) of: VersionOf,
    /// The first that was not there.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
    /// Where the version stood that came.
    at: StreamPosition,
}

/// Gaps that may close yet.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Gap>);

impl Gap {
    /// Tells people, if fewer versions are stored now than there should be.
    pub(super) fn report(&self, stored: u64) {
        let missing = (self.to - self.from).saturating_add(1).saturating_sub(stored);
        if missing == 0 {
            return;
        }
        tracing::warn!(
            name = self.of.name,
            missing,
            from = self.from,
            to = self.to,
            "versions are missing in the history: they had left the bucket before a sink read \
             them, or were put aside as dead letters"
        );
        metrics::policy_version_gaps().increment(missing);
    }
}

impl Suspects {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, gaps: Vec<Gap>) {
        let room = MOST.saturating_sub(self.0.len());
        if gaps.len() > room {
            tracing::warn!(
                gaps = gaps.len() - room,
                "more versions seem to be missing than can be looked into"
            );
        }
        self.0.extend(gaps.into_iter().take(room));
    }

    /// Takes those out before which nothing can come any more: everything up to `settled` has come,
    /// or the stream itself is gone.
    pub(super) fn settled(&mut self, settled: StreamPosition) -> Vec<Gap> {
        self.0.extract_if(.., |gap| gap.at.epoch != settled.epoch || gap.at <= settled).collect()
    }
}

/// The gaps before versions that come now, given the greatest that are stored.
///
/// Of a history that is new here, the first version may follow another history of the same name (a
/// deletion and a new beginning), or be one that such a history had (a bucket that was made anew).
pub(super) fn jumps(known: &[VersionOf], new: &[(VersionOf, StreamPosition)]) -> Vec<Gap> {
    let mut of_history: HashMap<&str, u64> = HashMap::new();
    let mut of_name: HashMap<&str, u64> = HashMap::new();
    let mut found = Vec::new();
    let known = known.iter().map(|of| (of, None));
    for (of, at) in known.chain(new.iter().map(|(of, at)| (of, Some(*at)))) {
        let (history, name) = (of.history.as_str(), of.name.as_str());
        let before = of_history.get(history).or(of_name.get(name)).copied().unwrap_or_default();
        if let Some(at) = at
            && of.version > before.saturating_add(1)
        {
            found.push(Gap { of: of.clone(), from: before + 1, to: of.version - 1, at });
        }
        for greatest in [of_history.entry(history).or_default(), of_name.entry(name).or_default()] {
            *greatest = of.version.max(*greatest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn of(history: &str, name: &str, version: u64) -> VersionOf {
        VersionOf { history: history.into(), name: name.into(), version }
    }

    fn at(epoch: i64, sequence: u64) -> StreamPosition {
        StreamPosition { epoch: DateTime::from_timestamp(epoch, 0).unwrap(), sequence }
    }

    fn found(known: &[VersionOf], new: &[VersionOf]) -> Vec<(String, u64, u64)> {
        let new: Vec<_> = new.iter().map(|of| (of.clone(), at(1, of.version))).collect();
        jumps(known, &new).into_iter().map(|gap| (gap.of.name, gap.from, gap.to)).collect()
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
        let (old, new) = ([of("1", "a", 9)], |version| of("2", "a", version));
        assert_eq!(found(&old, &[new(10), new(11)]), [], "goes on after a deletion");
        assert_eq!(found(&old, &[new(1), new(2)]), [], "begins anew");
        assert_eq!(found(&old, &[new(1), new(3)]), [("a".to_owned(), 2, 2)]);
        assert_eq!(found(&old, &[new(12)]), [("a".to_owned(), 10, 11)]);
        let other = of("3", "b", 2);
        assert_eq!(found(&old, &[other]), [("b".to_owned(), 1, 1)]);
    }

    #[test]
    fn a_gap_is_one_when_nothing_before_it_can_come() {
        let mut suspects = Suspects::default();
        let new = [(of("1", "a", 3), at(1, 7)), (of("2", "b", 5), at(1, 9))];
        suspects.add(jumps(&[], &new));
        assert!(suspects.settled(at(1, 6)).is_empty());
        assert_eq!(suspects.settled(at(1, 7)).len(), 1);
        assert!(suspects.settled(at(1, 8)).is_empty());
        assert_eq!(suspects.settled(at(2, 0)).len(), 1, "the stream is gone");
        assert!(suspects.is_empty());
    }
}
