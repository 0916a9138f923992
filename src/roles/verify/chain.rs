//! The chain of one table: its links among themselves, its newest link in the bucket, and the rows that
//! each link covers.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::compare::compare;
use super::report::{ChainReport, Finding, Findings, Kind, Report, Signatures};
use super::stream::Standing;
use super::{Job, Step, VerifyError};
use crate::bus::{BusError, Heads};
use crate::store::chain::{Chained, Link, Range, Signed};

/// Rows of one stream that are named where none should be.
const STRAYS: u64 = 1_000;

pub(super) async fn verify(
    job: &Job<'_>,
    chained: Chained,
    standing: &Standing,
    report: &mut Report,
) -> Result<ChainReport, VerifyError> {
    let walk = Walk {
        job,
        chained,
        head: newest(job, chained).await?,
        before: None,
        covered: BTreeMap::new(),
        found: std::mem::take(&mut report.findings),
        moved: HashSet::new(),
        anchors: job.scope.anchors.iter().filter(|a| a.chain == chained.label()).cloned().collect(),
        chain: ChainReport { chain: chained.label(), ..ChainReport::default() },
    };
    Box::pin(walk.run(standing, report)).await
}

/// The newest link that the bucket knows.
async fn newest(job: &Job<'_>, chained: Chained) -> Result<Option<Link>, BusError> {
    let head = Heads::open(job.connection, job.config).newest(chained.label()).await?;
    let unreadable = |error: serde_json::Error| BusError::Request {
        what: "read the bucket of chains",
        reason: error.to_string(),
    };
    head.value.map(|value| serde_json::from_slice(&value).map_err(unreadable)).transpose()
}

/// One way through a chain.
struct Walk<'a> {
    job: &'a Job<'a>,
    chained: Chained,
    /// In the bucket, when the walk began.
    head: Option<Link>,
    /// The link before.
    before: Option<Link>,
    /// Up to where each stream is covered.
    covered: BTreeMap<DateTime<Utc>, u64>,
    found: Findings,
    /// Rows that stand elsewhere: there they are no new ones.
    moved: HashSet<Uuid>,
    /// Links that must come yet.
    anchors: Vec<Link>,
    chain: ChainReport,
}

impl Walk<'_> {
    async fn run(
        mut self,
        standing: &Standing,
        report: &mut Report,
    ) -> Result<ChainReport, VerifyError> {
        let newest = self.job.store.newest_link(self.chained).await?;
        let all = newest.as_ref().map_or(0, |link| link.number);
        let mut from = 1;
        loop {
            // All links of one number must be in one page; a page is longer than any sane number of them.
            let page = self.job.store.links(self.chained, from).await?;
            let Some(last) = page.last().map(|link| link.number) else { break };
            for group in page.chunk_by(|a, b| a.number == b.number) {
                self.number(group).await?;
                let done = self.before.as_ref().map_or(0, |link| link.number);
                (self.job.on_step)(Step::Links { chain: self.chained.label(), done, all });
            }
            from = last.saturating_add(1);
        }
        self.end().await?;
        self.strays(standing).await?;
        for anchor in std::mem::take(&mut self.anchors) {
            let detail =
                format!("the chain doesn't contain link {} {}", anchor.number, anchor.digest);
            self.find(Finding::new(Kind::Anchor, detail).in_link(anchor.number));
        }
        self.chain.ranges = self
            .covered
            .iter()
            .map(|(epoch, last)| Range { epoch: *epoch, first: 1, last: *last })
            .collect();
        self.found.withdraw(Kind::Inserted, &self.moved);
        report.findings = self.found;
        Ok(self.chain)
    }

    /// The links of one number: one of them goes on.
    async fn number(&mut self, group: &[Link]) -> Result<(), VerifyError> {
        let expected = self.before.as_ref().map_or(0, |link| link.number).saturating_add(1);
        let goes_on = |link: &&Link| {
            let follows = match &self.before {
                Some(before) => link.follows(before),
                None => link.number == 1 && link.previous.is_empty(),
            };
            follows && link.is_whole() && self.is_signed(link)
        };
        let Some(link) = group.iter().find(goes_on).or(group.first()) else { return Ok(()) };
        if link.number > expected {
            let detail = format!("links {expected} to {} are gone", link.number - 1);
            self.find(Finding::new(Kind::LinkDeleted, detail).in_link(expected));
        }
        for other in group.iter().filter(|other| other.digest != link.digest) {
            let detail =
                format!("link {} is there a second time, as {}", other.number, other.digest);
            self.find(Finding::new(Kind::LinkInserted, detail).in_link(other.number));
        }
        self.link(link, link.number == expected).await
    }

    /// One link: itself, its place, its rows.
    async fn link(&mut self, link: &Link, in_order: bool) -> Result<(), VerifyError> {
        let at = |kind, detail: String| Finding::new(kind, detail).in_link(link.number);
        if !link.is_whole() {
            self.find(at(Kind::LinkAltered, "the link says something else than its digest".into()));
        }
        let follows = match &self.before {
            Some(before) => link.previous == before.digest,
            None => link.previous.is_empty(),
        };
        if in_order && !follows {
            self.find(at(Kind::LinkAltered, "the link names another one before it".into()));
        }
        self.signature(link);
        self.range(link);
        self.anchors.retain(|anchor| {
            (anchor.number, &anchor.digest) != (link.number, &link.digest) || !link.is_whole()
        });
        self.chain.links += 1;
        self.chain.head_number = link.number;
        self.chain.head_digest.clone_from(&link.digest);
        self.chain.head_sealed_at = Some(link.sealed_at);
        if self.is_asked_for(link) {
            self.rows(link).await?;
        }
        self.before = Some(link.clone());
        Ok(())
    }

    fn is_signed(&self, link: &Link) -> bool {
        !matches!(
            self.job.trusted.check(&link.calculated(), &link.signature),
            Signed::Missing | Signed::Wrong
        )
    }

    fn signature(&mut self, link: &Link) {
        let signed = self.job.trusted.check(&link.calculated(), &link.signature);
        let problem = match signed {
            Signed::Missing => "the link is not signed",
            Signed::Wrong => "the link is signed by none of the keys that are believed",
            Signed::Yes | Signed::Unsigned | Signed::Unknown => "",
        };
        if !problem.is_empty() {
            self.find(Finding::new(Kind::Signature, problem).in_link(link.number));
        }
        self.chain.signatures = match (signed, self.chain.signatures) {
            (Signed::Missing | Signed::Wrong, _) | (_, Signatures::Invalid) => Signatures::Invalid,
            (Signed::Yes, _) => Signatures::Valid,
            (Signed::Unknown, _) | (_, Signatures::NotVerified) => Signatures::NotVerified,
            (Signed::Unsigned, other) => other,
        };
    }

    /// Links of one stream follow each other without a gap, from its first sequence on.
    fn range(&mut self, link: &Link) {
        let covered = self.covered.entry(link.epoch).or_default();
        let expected = covered.saturating_add(1);
        *covered = link.last_sequence.max(*covered);
        if link.first_sequence != expected || link.last_sequence < link.first_sequence {
            let detail = format!(
                "the link covers sequences {} to {}, and should begin at {expected}",
                link.first_sequence, link.last_sequence
            );
            self.find(Finding::new(Kind::Range, detail).in_link(link.number).at(expected));
        }
    }

    fn is_asked_for(&self, link: &Link) -> bool {
        let (first, last) = if link.rows == 0 {
            (link.sealed_at, link.sealed_at)
        } else {
            (link.first_timestamp, link.last_timestamp)
        };
        let scope = self.job.scope;
        scope.since.is_none_or(|since| last >= since)
            && scope.until.is_none_or(|until| first < until)
    }

    async fn rows(&mut self, link: &Link) -> Result<(), VerifyError> {
        if !self.chained.knows(&link.format) {
            let detail = format!("rows are sealed as `{}`, which this program can't", link.format);
            self.find(Finding::new(Kind::RowsDiffer, detail).in_link(link.number));
            return Ok(());
        }
        let rows = self.job.store.sealed_rows(self.chained, link.range()).await?;
        self.chain.links_checked += 1;
        self.chain.rows_sealed += link.rows;
        if link.rows > 0 {
            let first = self
                .chain
                .first_timestamp
                .map_or(link.first_timestamp, |t| t.min(link.first_timestamp));
            let last = self
                .chain
                .last_timestamp
                .map_or(link.last_timestamp, |t| t.max(link.last_timestamp));
            (self.chain.first_timestamp, self.chain.last_timestamp) = (Some(first), Some(last));
        }
        for pair in rows.windows(2) {
            if let [a, b] = pair
                && a.sequence == b.sequence
                && a.id != b.id
            {
                let detail = format!("the row has the same place as row {}", a.id);
                self.find(
                    Finding::new(Kind::SharedSequence, detail)
                        .in_link(link.number)
                        .row(b.id, b.sequence),
                );
            }
        }
        if link.covers(&rows) {
            self.chain.rows_intact += link.rows;
            return Ok(());
        }
        let index = self.job.store.link_index(link).await?;
        let retained = self.job.retained_since(self.chained);
        let compared = compare(link, &index, &rows, retained);
        self.chain.rows_intact += compared.intact;
        self.chain.rows_expired += compared.expired;
        for finding in compared.findings {
            self.find(finding.in_link(link.number));
        }
        self.absent(link, compared.absent).await
    }

    /// Rows that are not where they were sealed stand somewhere else, or are gone.
    async fn absent(&mut self, link: &Link, absent: Vec<(Uuid, u64)>) -> Result<(), VerifyError> {
        let ids: Vec<Uuid> = absent.iter().map(|(id, _)| *id).collect();
        let places = self.job.store.places(self.chained, &ids).await?;
        for (id, sequence) in absent {
            let finding = match places.iter().find(|place| place.id == id) {
                Some(place) => {
                    self.moved.insert(id);
                    let detail = format!(
                        "the row was sealed here and stands at {} of the stream of {}",
                        place.sequence,
                        place.epoch.to_rfc3339()
                    );
                    Finding::new(Kind::Moved, detail)
                }
                None => Finding::new(Kind::Deleted, "the row was sealed and is gone"),
            };
            self.find(finding.row(id, sequence).in_link(link.number));
        }
        Ok(())
    }

    /// The end of the chain in ClickHouse is that in the bucket.
    async fn end(&mut self) -> Result<(), VerifyError> {
        let end = self.before.clone();
        match (self.head.take(), end) {
            (None, None) => (),
            (None, Some(_)) => {
                // The first link may just have been made.
                if newest(self.job, self.chained).await?.is_none() {
                    let detail = "the bucket of chains knows no link: whether the chain's end was \
                                  removed can't be told";
                    self.find(Finding::new(Kind::Head, detail));
                }
            }
            (Some(head), end) => self.compare_ends(head, end).await?,
        }
        Ok(())
    }

    async fn compare_ends(&mut self, head: Link, end: Option<Link>) -> Result<(), VerifyError> {
        let number = end.as_ref().map_or(0, |end| end.number);
        let at = |kind, detail: String| Finding::new(kind, detail).in_link(head.number);
        if head.number <= number {
            let stored = self.job.store.links(self.chained, head.number).await?;
            if !stored.iter().any(|link| link.digest == head.digest) {
                self.find(at(
                    Kind::Head,
                    "the bucket of chains has another link of this number".into(),
                ));
            }
            // The bucket is written first: once more, it can't be behind.
            let now = newest(self.job, self.chained).await?;
            if number > now.map_or(0, |now| now.number) {
                let detail = format!(
                    "links {} to {number} are unknown to the bucket of chains",
                    head.number + 1
                );
                self.find(Finding::new(Kind::LinkInserted, detail).in_link(number));
            }
            return Ok(());
        }
        let next = match &end {
            Some(end) => head.follows(end),
            None => head.number == 1,
        };
        if next && head.is_whole() {
            let rows = self.job.store.sealed_rows(self.chained, head.range()).await?;
            if head.covers(&rows) {
                let detail = "the link is in the bucket of chains and not in ClickHouse: the next sink \
                              stores it";
                self.find(at(Kind::NotStoredYet, detail.into()));
                return self.link(&head, true).await;
            }
        }
        let detail = format!("links {} to {} are gone", number.saturating_add(1), head.number);
        self.find(at(Kind::LinkDeleted, detail));
        Ok(())
    }

    /// Rows where no link can ever come: of other streams than the newest, and before the first sequence.
    async fn strays(&mut self, standing: &Standing) -> Result<(), VerifyError> {
        let newest = standing.epoch.or_else(|| self.before.as_ref().map(|link| link.epoch));
        let goes_on = self.before.as_ref().is_some_and(|link| Some(link.epoch) == newest);
        for rows in self.job.store.epochs(self.chained).await? {
            let covered = self.covered.get(&rows.epoch).copied().unwrap_or_default();
            let beyond =
                Range { epoch: rows.epoch, first: covered.saturating_add(1), last: u64::MAX };
            let before = Range { epoch: rows.epoch, first: 0, last: 0 };
            if rows.first == 0 {
                self.stray(before, "the row has a place that no stream has").await?;
            }
            if rows.last <= covered {
                continue;
            }
            if Some(rows.epoch) == newest || !goes_on {
                let waiting = self.job.store.rows_from(self.chained, beyond).await?;
                self.chain.rows_waiting += waiting.rows;
            } else {
                let detail = "the row belongs to a stream that was sealed to its end before";
                self.stray(beyond, detail).await?;
            }
        }
        Ok(())
    }

    async fn stray(&mut self, range: Range, detail: &str) -> Result<(), VerifyError> {
        for place in self.job.store.places_in(self.chained, range, STRAYS).await? {
            self.find(Finding::new(Kind::Inserted, detail).row(place.id, place.sequence));
        }
        Ok(())
    }

    fn find(&mut self, finding: Finding) {
        self.found.add(finding.in_chain(self.chained.label()));
    }
}
