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
use crate::store::chain::{Chained, LINKS_PER_PAGE, Link, Range, Signed};

/// Rows of one stream that are named where none should be.
pub(super) const STRAYS: u64 = 1_000;

/// Rows of a link that are read: no configuration allows more (`chain.rows`).
const MOST_ROWS: u64 = 1_000_000;

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
        passed: Vec::new(),
        unsigned: 0,
    };
    Box::pin(walk.run(standing, report)).await
}

/// The newest link that the bucket knows.
pub(super) async fn newest(job: &Job<'_>, chained: Chained) -> Result<Option<Link>, BusError> {
    let head = Heads::open(job.connection, job.config).newest(chained.label()).await?;
    let unreadable = |error: serde_json::Error| BusError::Request {
        what: "read the bucket of chains",
        reason: error.to_string(),
    };
    head.value.map(|value| serde_json::from_slice(&value).map_err(unreadable)).transpose()
}

/// One way through a chain.
pub(super) struct Walk<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) chained: Chained,
    /// In the bucket, when the walk began.
    pub(super) head: Option<Link>,
    /// The link before.
    pub(super) before: Option<Link>,
    /// Up to where each stream is covered.
    pub(super) covered: BTreeMap<DateTime<Utc>, u64>,
    pub(super) found: Findings,
    /// Rows that stand elsewhere: there they are no new ones.
    pub(super) moved: HashSet<Uuid>,
    /// Links that must come yet.
    pub(super) anchors: Vec<Link>,
    pub(super) chain: ChainReport,
    /// Parts of streams whose links are not of the span that is asked for.
    pub(super) passed: Vec<Range>,
    /// Links before the first signed one.
    unsigned: u64,
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
            let mut page = self.job.store.links(self.chained, from).await?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
            let (first, last) = (first.number, last.number);
            let more = page.len() >= LINKS_PER_PAGE;
            if more && first < last {
                // There may be others of the last number: they are read together.
                page.retain(|link| link.number < last);
            }
            for group in page.chunk_by(|a, b| a.number == b.number) {
                self.number(group).await?;
                let done = self.before.as_ref().map_or(0, |link| link.number);
                (self.job.on_step)(Step::Links { chain: self.chained.label(), done, all });
            }
            let next = if first < last { Some(last) } else { last.checked_add(1) };
            match next.filter(|_| more) {
                Some(next) => from = next,
                None => break,
            }
        }
        self.end().await?;
        self.strays(standing).await?;
        self.passed_over().await?;
        if self.unsigned > 0 {
            let of = format!("{} links of {}", self.unsigned, self.chained.label());
            if self.chain.signatures == Signatures::Unsigned {
                // Nobody vouches for them: signatures can be taken away.
                let detail = format!(
                    "{of} are there and none is signed: if the key was only just set \
                     (chain.signing_key_file), the next link that a sink seals vouches for them"
                );
                self.find(Finding::new(Kind::Signature, detail));
            } else {
                report.notes.push(format!(
                    "{of} were sealed before there was a key; the first signed one vouches for them"
                ));
            }
        }
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
    pub(super) async fn link(&mut self, link: &Link, in_order: bool) -> Result<(), VerifyError> {
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
        if !self.is_asked_for(link) {
            self.pass(link.range());
        } else if in_order && follows && link.is_whole() && self.is_signed(link) {
            self.rows(link).await?;
        } else {
            // Of a link that somebody made up nothing is believed, nor what it says it covers.
            let detail = "the link can't be believed, so the rows of its range were not compared";
            self.find(at(Kind::RowsDiffer, detail.into()));
        }
        self.before = Some(link.clone());
        Ok(())
    }

    /// Whether nothing speaks against its signature. That there is none, before the first that is signed,
    /// doesn't: the key may have come later.
    fn is_signed(&self, link: &Link) -> bool {
        match self.job.trusted.check(&link.calculated(), &link.signature) {
            Signed::Missing => self.chain.signatures == Signatures::Unsigned,
            signed => signed != Signed::Wrong,
        }
    }

    fn signature(&mut self, link: &Link) {
        let signed = self.job.trusted.check(&link.calculated(), &link.signature);
        if signed == Signed::Missing && self.chain.signatures == Signatures::Unsigned {
            self.unsigned += 1;
            return;
        }
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
        // More than so many can't be right, however many there are.
        let most = link.rows.min(MOST_ROWS).saturating_add(STRAYS);
        let rows = self.job.store.some_sealed_rows(self.chained, link.range(), most).await?;
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

    pub(super) fn find(&mut self, finding: Finding) {
        self.found.add(finding.in_chain(self.chained.label()));
    }
}
