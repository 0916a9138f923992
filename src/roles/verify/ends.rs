//! Where a chain ends: its newest link in the bucket, and the rows that no link covers.

use super::VerifyError;
use super::chain::{STRAYS, Walk, newest};
use super::report::{Finding, Kind};
use super::stream::Standing;
use crate::bus::{BusError, Heads};
use crate::store::chain::{Link, Range};

impl Walk<'_> {
    /// The end of the chain in ClickHouse is that in the bucket.
    pub(super) async fn end(&mut self) -> Result<(), VerifyError> {
        let end = self.before.clone();
        self.rolled_back().await?;
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
    pub(super) async fn strays(&mut self, standing: &Standing) -> Result<(), VerifyError> {
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
                self.unsealed(beyond).await?;
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

    /// The bucket keeps its last values for a while: its newest must be the greatest of them. If it isn't,
    /// somebody took the chain back to an earlier link, perhaps to have altered rows sealed.
    async fn rolled_back(&mut self) -> Result<(), VerifyError> {
        let heads = Heads::open(self.job.connection, self.job.config);
        let values =
            heads.history(self.chained.label(), self.job.config.nats.request_timeout).await?;
        let links = values.iter().map(|value| serde_json::from_slice::<Link>(value));
        let links: Vec<Link> = links.collect::<Result<_, _>>().map_err(|error| {
            BusError::Request { what: "read the bucket of chains", reason: error.to_string() }
        })?;
        for pair in links.windows(2) {
            if let [before, after] = pair
                && after.number <= before.number
                && after.digest != before.digest
            {
                let detail = format!(
                    "the bucket of chains had link {} and was taken back to link {}: what was sealed \
                     after that may be something else than before",
                    before.number, after.number
                );
                self.find(Finding::new(Kind::RolledBack, detail).in_link(after.number));
            }
        }
        Ok(())
    }

    /// Notes a part of a stream whose link isn't looked at.
    pub(super) fn pass(&mut self, range: Range) {
        match self.passed.last_mut() {
            Some(last)
                if last.epoch == range.epoch && range.first == last.last.saturating_add(1) =>
            {
                last.last = range.last.max(last.last);
            }
            _ => self.passed.push(range),
        }
    }

    /// A link that is not looked at has no row in the span that is asked for. If one is there, somebody
    /// put it there, or altered its time.
    pub(super) async fn passed_over(&mut self) -> Result<(), VerifyError> {
        let scope = self.job.scope;
        for range in std::mem::take(&mut self.passed) {
            let span = (scope.since, scope.until);
            let found = self.job.store.places_within(self.chained, range, span, STRAYS).await?;
            for place in found {
                let detail = "the row is of this span, and when its place was sealed none was";
                self.find(Finding::new(Kind::Inserted, detail).row(place.id, place.sequence));
            }
        }
        Ok(())
    }

    /// Rows that wait for a link longer than any sink takes.
    async fn unsealed(&mut self, range: Range) -> Result<(), VerifyError> {
        let since = self.job.store.stored_since(self.chained, range).await?;
        if let Some(since) = since.filter(|since| self.job.is_overdue(*since)) {
            let detail = format!(
                "{} rows are not sealed, the oldest was stored at {}: see the health of the sink",
                self.chain.rows_waiting,
                since.format("%Y-%m-%d %H:%M:%SZ")
            );
            self.find(Finding::new(Kind::Unsealed, detail).at(range.first));
        }
        Ok(())
    }
}
