//! The rows of one link beside what was sealed: what isn't the same is named.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::report::{Finding, Kind};
use crate::store::chain::{Index, Link, SealedRow};

/// What became of the rows of a link.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Rows that are as they were sealed.
    pub(super) intact: u64,
    /// Rows that are gone because their time is over.
    pub(super) expired: u64,
    /// Rows that are not where they were sealed: gone, or somewhere else.
    pub(super) absent: Vec<(Uuid, u64)>,
    /// What is wrong beyond that.
    pub(super) findings: Vec<Finding>,
}

/// Compares rows with their link, whose index is that of the table.
pub(super) fn compare(
    link: &Link,
    index: &Index,
    rows: &[SealedRow],
    retained_since: DateTime<Utc>,
) -> Compared {
    let mut compared = Compared::default();
    if index.digest() != link.index_digest {
        compared.findings.push(Finding::new(
            Kind::RowsDiffer,
            format!(
                "the rows of sequences {} to {} are not those that were sealed, and the list by which \
                 they could be named was altered too",
                link.first_sequence, link.last_sequence
            ),
        ));
        return compared;
    }
    let mut found: HashMap<Uuid, Vec<&SealedRow>> = HashMap::new();
    for row in rows {
        found.entry(row.id).or_default().push(row);
    }
    let mut known = HashSet::new();
    for (sequence, id, timestamp, prefix) in index.entries() {
        known.insert(id);
        let Some(rows) = found.get(&id) else {
            if timestamp < retained_since.timestamp_micros() {
                compared.expired += 1;
            } else {
                compared.absent.push((id, sequence));
            }
            continue;
        };
        let altered = rows.iter().any(|row| row.prefix() != prefix);
        let moved = rows.iter().find(|row| row.sequence != sequence);
        if altered {
            let detail = if rows.len() > 1 {
                "another copy of the row says something else"
            } else {
                "the row says something else than when it was sealed"
            };
            compared.findings.push(Finding::new(Kind::Altered, detail).row(id, sequence));
        }
        if let Some(moved) = moved {
            let detail = format!("the row was sealed here and stands at {}", moved.sequence);
            compared.findings.push(Finding::new(Kind::Moved, detail).row(id, sequence));
        }
        if !altered && moved.is_none() {
            compared.intact += 1;
        }
    }
    for row in rows.iter().filter(|row| !known.contains(&row.id)) {
        let detail = "the row was not there when its range was sealed";
        compared.findings.push(Finding::new(Kind::Inserted, detail).row(row.id, row.sequence));
    }
    if compared.findings.is_empty() && compared.absent.is_empty() && compared.expired == 0 {
        let detail = "the rows are not those that were sealed, in the parts of their digests that the \
                      list by which they are named doesn't hold";
        compared.findings.push(Finding::new(Kind::RowsDiffer, detail));
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::chain::{Chained, Range};

    fn row(sequence: u64) -> SealedRow {
        SealedRow {
            sequence,
            id: Uuid::from_u128(u128::from(sequence)),
            timestamp: i64::try_from(sequence).unwrap() * 1_000_000,
            digest: [u8::try_from(sequence).unwrap(); 32],
        }
    }

    fn compared(change: impl FnOnce(&mut Vec<SealedRow>)) -> Compared {
        let rows: Vec<_> = (1..=5).map(row).collect();
        let range = Range { epoch: DateTime::UNIX_EPOCH, first: 1, last: 5 };
        let link = Link::seal(Chained::Decisions, None, range, &rows, None);
        let index = Index::new(&rows);
        let mut rows = rows;
        change(&mut rows);
        compare(&link, &index, &rows, DateTime::from_timestamp(3, 0).unwrap())
    }

    fn kinds(compared: &Compared) -> Vec<(Kind, Option<u64>)> {
        compared.findings.iter().map(|finding| (finding.kind, finding.sequence)).collect()
    }

    #[test]
    fn what_is_not_the_same_is_named() {
        let altered = compared(|rows| rows[3].digest = [9; 32]);
        assert_eq!(kinds(&altered), [(Kind::Altered, Some(4))]);
        assert_eq!(altered.intact, 4);

        let deleted = compared(|rows| rows.truncate(4));
        assert_eq!(deleted.absent, [(row(5).id, 5)]);
        assert!(deleted.findings.is_empty());

        let expired = compared(|rows| rows.retain(|row| row.sequence > 2));
        assert_eq!((expired.expired, expired.intact, expired.absent.len()), (2, 3, 0));

        let inserted = compared(|rows| rows.push(row(6)));
        assert_eq!(kinds(&inserted), [(Kind::Inserted, Some(6))]);

        let swapped = compared(|rows| (rows[0].sequence, rows[1].sequence) = (2, 1));
        assert_eq!(kinds(&swapped), [(Kind::Moved, Some(1)), (Kind::Moved, Some(2))]);

        let copy = compared(|rows| rows.push(SealedRow { digest: [9; 32], ..row(2) }));
        assert_eq!(kinds(&copy), [(Kind::Altered, Some(2))]);

        let beyond = compared(|rows| rows[0].digest[31] = 7);
        assert_eq!(kinds(&beyond), [(Kind::RowsDiffer, None)]);
    }
}
