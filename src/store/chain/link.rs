//! A link of the chain: what it says and how it is digested. Format: docs/security.md.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::digest::{Chained, Fields, RowDigest};
use super::keys::Signer;

/// A part of one stream: sequences from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// When the stream was created.
    pub epoch: DateTime<Utc>,
    /// The first sequence.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// A row as the chain knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealedRow {
    /// Where its event stands in the stream.
    pub sequence: u64,
    /// Its id.
    pub id: Uuid,
    /// Its time, in microseconds since 1970.
    pub timestamp: i64,
    /// What it says.
    pub digest: RowDigest,
}

impl SealedRow {
    /// The beginning of its digest, which the index keeps.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        let mut first = [0; 8];
        first.iter_mut().zip(self.digest).for_each(|(to, from)| *to = from);
        u64::from_be_bytes(first)
    }
}

/// The rows of a link by name, in the order of the stream: by it a row that no longer fits is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Their sequences.
    pub sequences: Vec<u64>,
    /// Their ids.
    pub ids: Vec<Uuid>,
    /// Their times, in microseconds since 1970.
    pub timestamps: Vec<i64>,
    /// The first eight bytes of their digests.
    pub prefixes: Vec<u64>,
}

impl Index {
    /// The index of rows that are in order.
    #[must_use]
    pub fn new(rows: &[SealedRow]) -> Self {
        Self {
            sequences: rows.iter().map(|row| row.sequence).collect(),
            ids: rows.iter().map(|row| row.id).collect(),
            timestamps: rows.iter().map(|row| row.timestamp).collect(),
            prefixes: rows.iter().map(SealedRow::prefix).collect(),
        }
    }

    /// Its entries.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Uuid, i64, u64)> {
        let rest = self.timestamps.iter().zip(&self.prefixes);
        let all = self.sequences.iter().zip(&self.ids).zip(rest);
        all.map(|((sequence, id), (timestamp, prefix))| (*sequence, *id, *timestamp, *prefix))
    }

    /// SHA-256 over each entry: sequence, id, time, beginning of the digest.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        // The lengths too: columns of different lengths would else pair up to fewer entries.
        let lengths =
            [self.sequences.len(), self.ids.len(), self.timestamps.len(), self.prefixes.len()];
        if lengths.iter().any(|length| *length != self.sequences.len()) {
            digest.update(b"uneven");
        }
        for (sequence, id, timestamp, prefix) in self.entries() {
            digest.update(sequence.to_be_bytes());
            digest.update(id.as_bytes());
            digest.update(timestamp.to_be_bytes());
            digest.update(prefix.to_be_bytes());
        }
        hex::encode(digest.finalize())
    }
}

/// SHA-256 over each row, in order: sequence, id, digest.
#[must_use]
pub(crate) fn rows_digest(rows: &[SealedRow]) -> String {
    let mut digest = Sha256::new();
    for row in rows {
        digest.update(row.sequence.to_be_bytes());
        digest.update(row.id.as_bytes());
        digest.update(row.digest);
    }
    hex::encode(digest.finalize())
}

/// One link. Digests, signature and key are in hexadecimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clickhouse::Row)]
pub struct Link {
    /// `decisions` or `violations`.
    pub chain: String,
    /// Its place in the chain, from one.
    pub number: u64,
    /// How rows are digested.
    pub format: String,
    /// When the stream was created.
    #[serde(with = "super::super::query::micros")]
    pub epoch: DateTime<Utc>,
    /// The range of the stream that it covers: from here
    pub first_sequence: u64,
    /// to here, both included.
    pub last_sequence: u64,
    /// Rows in it.
    pub rows: u64,
    /// The earliest time of a row; 1970 where there are none.
    #[serde(with = "super::super::query::micros")]
    pub first_timestamp: DateTime<Utc>,
    /// The latest.
    #[serde(with = "super::super::query::micros")]
    pub last_timestamp: DateTime<Utc>,
    /// Over the rows.
    pub rows_digest: String,
    /// Over the index.
    pub index_digest: String,
    /// Of the link before; empty for the first.
    pub previous: String,
    /// When it was sealed.
    #[serde(with = "super::super::query::micros")]
    pub sealed_at: DateTime<Utc>,
    /// Over all of the above.
    pub digest: String,
    /// Of the digest; empty where no key is configured.
    pub signature: String,
    /// By which the signature is verified; says nothing of whether to believe it.
    pub public_key: String,
}

impl Link {
    /// The link that follows `before` and covers `rows`, which are all rows of the range in order.
    #[must_use]
    pub fn seal(
        chained: Chained,
        before: Option<&Self>,
        range: Range,
        rows: &[SealedRow],
        signer: Option<&Signer>,
    ) -> Self {
        let times = || rows.iter().map(|row| row.timestamp);
        let time = |micros: Option<i64>| {
            DateTime::from_timestamp_micros(micros.unwrap_or_default()).unwrap_or_default()
        };
        let now = Utc::now();
        let mut link = Self {
            chain: chained.label().to_owned(),
            number: before.map_or(0, |before| before.number).saturating_add(1),
            format: chained.format().to_owned(),
            epoch: range.epoch,
            first_sequence: range.first,
            last_sequence: range.last,
            rows: u64::try_from(rows.len()).unwrap_or(u64::MAX),
            first_timestamp: time(times().min()),
            last_timestamp: time(times().max()),
            rows_digest: rows_digest(rows),
            index_digest: Index::new(rows).digest(),
            previous: before.map(|before| before.digest.clone()).unwrap_or_default(),
            // The column holds microseconds.
            sealed_at: DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now),
            digest: String::new(),
            signature: String::new(),
            public_key: String::new(),
        };
        let digest = link.calculated();
        link.digest = hex::encode(digest);
        if let Some(signer) = signer {
            link.signature = signer.sign(&digest);
            link.public_key = signer.public_key();
        }
        link
    }

    /// The digest of what it says.
    #[must_use]
    pub fn calculated(&self) -> RowDigest {
        let mut fields = Fields::tagged("link/1");
        fields.text(&self.chain);
        fields.number(self.number);
        fields.text(&self.format);
        fields.time(self.epoch);
        fields.number(self.first_sequence);
        fields.number(self.last_sequence);
        fields.number(self.rows);
        fields.time(self.first_timestamp);
        fields.time(self.last_timestamp);
        fields.text(&self.rows_digest);
        fields.text(&self.index_digest);
        fields.text(&self.previous);
        fields.time(self.sealed_at);
        fields.done()
    }

    /// Whether its digest is that of what it says.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.digest == hex::encode(self.calculated())
    }

    /// Whether it is the one after `before`.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        self.number == before.number.saturating_add(1) && self.previous == before.digest
    }

    /// What it covers.
    #[must_use]
    pub const fn range(&self) -> Range {
        Range { epoch: self.epoch, first: self.first_sequence, last: self.last_sequence }
    }

    /// Whether these are its rows.
    #[must_use]
    pub fn covers(&self, rows: &[SealedRow]) -> bool {
        u64::try_from(rows.len()) == Ok(self.rows) && self.rows_digest == rows_digest(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<SealedRow> {
        (1..=3)
            .map(|sequence| SealedRow {
                sequence,
                id: Uuid::from_u128(u128::from(sequence)),
                timestamp: 1_000_000 * i64::try_from(sequence).unwrap(),
                digest: [u8::try_from(sequence).unwrap(); 32],
            })
            .collect()
    }

    #[test]
    fn a_link_covers_its_rows_in_their_order_and_nothing_else() {
        let range = Range { epoch: DateTime::UNIX_EPOCH, first: 1, last: 9 };
        let rows = rows();
        let link = Link::seal(Chained::Decisions, None, range, &rows, None);
        assert!(link.is_whole() && link.covers(&rows));
        assert_eq!((link.number, link.previous.as_str(), link.rows), (1, "", 3));
        assert_eq!(link.last_timestamp.timestamp(), 3);
        assert!(!link.covers(&rows[..2]));
        let mut swapped = rows.clone();
        swapped.swap(0, 1);
        assert!(!link.covers(&swapped));

        let next = Link::seal(Chained::Decisions, Some(&link), range, &rows, None);
        assert!(next.follows(&link) && !link.follows(&next));
        assert_eq!(next.number, 2);
    }

    #[test]
    fn every_member_of_a_link_is_digested() {
        let range = Range { epoch: DateTime::UNIX_EPOCH, first: 1, last: 9 };
        let link = Link::seal(Chained::Violations, None, range, &rows(), None);
        let json = serde_json::to_value(&link).unwrap();
        for (member, value) in json.as_object().unwrap() {
            let mut other = json.clone();
            other[member] = match value {
                serde_json::Value::Number(n) => (n.as_u64().unwrap() + 1).into(),
                serde_json::Value::String(s) if s.contains("T00:00") => {
                    "2020-01-01T00:00:00Z".into()
                }
                serde_json::Value::String(s) if s.contains('T') => "2020-01-01T00:00:00Z".into(),
                serde_json::Value::String(s) => format!("{s}0").into(),
                other => panic!("{other}"),
            };
            let other: Link = serde_json::from_value(other).unwrap();
            let outside = ["signature", "public_key"].contains(&member.as_str());
            assert_eq!(other.is_whole(), outside, "{member}");
        }
    }

    #[test]
    fn an_uneven_index_is_another_one() {
        let index = Index::new(&rows());
        let mut uneven = index.clone();
        uneven.ids.push(Uuid::nil());
        assert_ne!(index.digest(), uneven.digest());
    }
}
