//! Which lines of the policies the cases go through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

/// Lines of all policies that were tested.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    policies: BTreeMap<PathBuf, Lines>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lines {
    covered: BTreeSet<usize>,
    coverable: BTreeSet<usize>,
}

/// The lines of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PolicyCoverage {
    /// The policy's file.
    pub file: PathBuf,
    /// Lines that ran.
    pub covered: usize,
    /// Lines that could.
    pub coverable: usize,
    /// Their share, in percent.
    pub percent: f64,
    /// Lines that could run and did not, from 1.
    pub uncovered: Vec<usize>,
}

impl Coverage {
    /// Adds what one evaluation went through.
    pub fn add(
        &mut self,
        file: &Path,
        covered: impl IntoIterator<Item = usize>,
        coverable: impl IntoIterator<Item = usize>,
    ) {
        let lines = self.policies.entry(file.to_owned()).or_default();
        lines.covered.extend(covered);
        lines.coverable.extend(coverable);
    }

    /// Policy by policy.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyCoverage> {
        let of = |(file, lines): (&PathBuf, &Lines)| {
            let covered = lines.coverable.intersection(&lines.covered).count();
            PolicyCoverage {
                file: file.clone(),
                covered,
                coverable: lines.coverable.len(),
                percent: percent(covered, lines.coverable.len()),
                uncovered: lines.coverable.difference(&lines.covered).copied().collect(),
            }
        };
        self.policies.iter().map(of).collect()
    }

    /// The share of the policy that is covered least, in percent; 100 where there is none.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.policies().iter().map(|policy| policy.percent).fold(100.0, f64::min)
    }
}

/// A share in percent; 100 of nothing.
#[must_use]
pub fn percent(part: usize, whole: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    if whole == 0 { 100.0 } else { 100.0 * number(part) / number(whole) }
}

/// Line numbers as ranges: `3, 7-9`.
#[must_use]
pub fn ranges(lines: &[usize]) -> String {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => found.push((*line, *line)),
        }
    }
    let shown = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    found.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_and_the_least_counts() {
        let mut coverage = Coverage::default();
        let (a, b) = (Path::new("a.rego"), Path::new("b.rego"));
        coverage.add(a, [3], [3, 4, 5, 9]);
        coverage.add(a, [4], [3, 4, 5, 9]);
        coverage.add(b, [1], [1]);
        let policies = coverage.policies();
        assert_eq!((policies[0].covered, policies[0].coverable), (2, 4));
        assert_eq!(policies[0].uncovered, [5, 9]);
        assert!((coverage.least() - 50.0).abs() < 1e-9);
        assert!((policies[1].percent - 100.0).abs() < 1e-9);
        assert_eq!(ranges(&[3, 5, 6, 7, 9]), "3, 5-7, 9");
        assert!((Coverage::default().least() - 100.0).abs() < 1e-9);
    }
}
