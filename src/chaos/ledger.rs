//! What the clients asked and what they were told.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

/// What became of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A decision.
    Answered {
        /// Its id.
        decision: Uuid,
        /// The verdict.
        allowed: bool,
        /// Whether its event was durable when the reply left; else the worker keeps it.
        recorded: bool,
    },
    /// A service error, with its code.
    Refused(u16),
    /// Nothing in time: whether it was decided is unknown.
    Unanswered,
}

/// One check, asked once.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its step, which no other check has.
    pub step: String,
    /// When it was asked and when its outcome was known, in seconds since the run began.
    pub between: (f64, f64),
    /// What the policies say of such a check.
    pub should_allow: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// All checks of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By which rows are known to be of this run.
    pub run: String,
    /// Every check, by its end.
    pub asked: Vec<Asked>,
}

/// How many checks, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcomes {
    /// All checks.
    pub asked: u64,
    /// With a decision whose event was durable.
    pub recorded: u64,
    /// With a decision whose event the worker kept.
    pub pending: u64,
    /// Refused with a service error, by its code.
    pub refused: BTreeMap<u16, u64>,
    /// Without an answer in time.
    pub unanswered: u64,
    /// Denied, of those with a decision.
    pub denied: u64,
}

impl Ledger {
    /// Counts what became of the checks.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        let mut counts = Outcomes::default();
        for asked in &self.asked {
            counts.asked += 1;
            match asked.outcome {
                Outcome::Answered { recorded, allowed, .. } => {
                    *(if recorded { &mut counts.recorded } else { &mut counts.pending }) += 1;
                    counts.denied += u64::from(!allowed);
                }
                Outcome::Refused(code) => *counts.refused.entry(code).or_default() += 1,
                Outcome::Unanswered => counts.unanswered += 1,
            }
        }
        counts
    }

    /// The longest time without an answered check, in seconds, and when it began.
    #[must_use]
    pub fn longest_blackout(&self) -> (f64, f64) {
        let answered = |asked: &&Asked| matches!(asked.outcome, Outcome::Answered { .. });
        let mut ends: Vec<f64> =
            self.asked.iter().filter(answered).map(|asked| asked.between.1).collect();
        ends.sort_by(f64::total_cmp);
        let first = self.asked.iter().map(|asked| asked.between.0).reduce(f64::min);
        let last = self.asked.iter().map(|asked| asked.between.1).reduce(f64::max);
        let (Some(mut before), Some(last)) = (first, last) else { return (0.0, 0.0) };
        ends.push(last);
        let mut longest = (0.0, before);
        for end in ends {
            if end - before > longest.0 {
                longest = (end - before, before);
            }
            before = end;
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(between: (f64, f64), outcome: Outcome) -> Asked {
        Asked { step: String::new(), between, should_allow: true, outcome }
    }

    #[test]
    fn a_blackout_is_the_time_between_answers() {
        let answer = || Outcome::Answered { decision: Uuid::nil(), allowed: true, recorded: true };
        let mut ledger = Ledger::default();
        assert_eq!(ledger.longest_blackout(), (0.0, 0.0));
        ledger.asked = vec![
            asked((1.0, 1.5), answer()),
            asked((2.0, 5.0), Outcome::Unanswered),
            asked((3.0, 6.5), answer()),
            asked((6.5, 7.0), answer()),
        ];
        assert_eq!(ledger.longest_blackout(), (5.0, 1.5));
        ledger.asked.push(asked((7.0, 17.0), Outcome::Refused(503)));
        assert_eq!(ledger.longest_blackout(), (10.0, 7.0), "until the end, too");
        let outcomes = ledger.outcomes();
        assert_eq!((outcomes.asked, outcomes.recorded, outcomes.unanswered), (5, 3, 1));
        assert_eq!(outcomes.refused, BTreeMap::from([(503, 1)]));
    }
}
