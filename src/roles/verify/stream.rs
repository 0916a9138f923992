//! The rows against what the stream still holds: each event up to where everything is settled has one
//! row, or was put aside, or has its row where the stream holds it a second time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::report::{Finding, Findings, Kind, Report, TableReport};
use super::{Job, Step, VerifyError};
use crate::bus::letters::{EVENT_ID, REPLAYED};
use crate::bus::reading::{Held, Kept, Replay};
use crate::bus::{Subjects, deadletter};
use crate::contract::event::Number;
use crate::contract::{DecisionEvent, ViolationEvent};
use crate::store::chain::{Chained, Digested as _, Range, RowDigest};
use crate::store::{DecisionRow, StoreError, StreamPosition, ViolationRow};

/// Sequences that are looked at together.
const CHUNK: u64 = 20_000;

/// Rows of one place that are named where none should be.
const STRAYS: u64 = 1_000;

/// How the stream and its consumers stood when the verification began.
#[derive(Debug)]
pub(super) struct Standing {
    /// When the stream was created; none where there is none.
    pub(super) epoch: Option<DateTime<Utc>>,
    /// What it held.
    pub(super) held: Held,
    /// Up to where each table has everything.
    pub(super) settled: BTreeMap<Chained, u64>,
    /// Consumers that should read it and aren't there.
    unread: BTreeMap<Chained, String>,
}

/// What was put aside.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    /// Where they stood.
    pub(super) places: BTreeSet<(i64, u64)>,
    /// Their numbers, where they could be read.
    pub(super) numbers: HashMap<Uuid, BTreeSet<u64>>,
}

/// Asks how the stream stands.
pub(super) async fn standing(job: &Job<'_>) -> Result<Standing, VerifyError> {
    let mut standing = Standing {
        epoch: None,
        held: Held { first: 0, last: 0 },
        settled: BTreeMap::new(),
        unread: BTreeMap::new(),
    };
    let Some(mut stream) = Replay::open(job.connection, &job.config.stream.name).await? else {
        return Ok(standing);
    };
    standing.epoch = Some(stream.epoch);
    standing.held = stream.held().await?;
    for chained in Chained::ALL {
        let consumer = format!("{}-{}", job.config.sink.consumer, chained.label());
        let settled = stream.settled(&consumer).await?;
        standing.settled.insert(chained, settled.unwrap_or(0));
        if settled.is_none() {
            standing.unread.insert(chained, consumer);
        }
    }
    Ok(standing)
}

/// Reads what was put aside.
pub(super) async fn dead_letters(job: &Job<'_>) -> Result<DeadLetters, VerifyError> {
    #[derive(Deserialize)]
    struct Numbered {
        #[serde(flatten)]
        number: Number,
    }
    let mut dead = DeadLetters::default();
    let name = &job.config.stream.dead_letter_name;
    let Some(mut stream) = Replay::open(job.connection, name).await? else { return Ok(dead) };
    let held = stream.held().await?;
    let subjects = Subjects::new(&job.config.nats.subject_prefix);
    let mut reading =
        stream.read(vec![subjects.dead_letters()], held.first, held.last, true).await?;
    while let Some(letter) = reading.next().await? {
        let epoch = letter.header(deadletter::EPOCH).and_then(|text| text.parse().ok());
        let sequence = letter.header(deadletter::SEQUENCE).and_then(|text| text.parse().ok());
        if let (Some(epoch), Some(sequence)) = (epoch, sequence) {
            let epoch: DateTime<Utc> = epoch;
            dead.places.insert((epoch.timestamp_micros(), sequence));
        }
        if let Ok(Numbered { number }) = serde_json::from_slice(&letter.payload) {
            dead.numbers.entry(number.worker_run).or_default().insert(number.worker_sequence);
        }
    }
    Ok(dead)
}

/// An event of the stream.
struct Event {
    sequence: u64,
    /// Also where it was given back after it had been put aside.
    id: Option<Uuid>,
    /// What its row should say; none where only headers are read, or nothing can be made of it.
    digest: Option<RowDigest>,
}

pub(super) async fn verify(
    job: &Job<'_>,
    standing: &Standing,
    dead: &DeadLetters,
    report: &mut Report,
) -> Result<(), VerifyError> {
    report.stream.contents = job.scope.contents;
    report.stream.first_sequence = standing.held.first;
    report.stream.last_sequence = standing.held.last;
    report.stream.epoch = standing.epoch;
    let (Some(epoch), Some(mut stream)) =
        (standing.epoch, Replay::open(job.connection, &job.config.stream.name).await?)
    else {
        let detail = format!(
            "there is no stream {} (setting stream.name): rows could not be compared with events",
            job.config.stream.name
        );
        report.findings.add(Finding::new(Kind::StreamMissing, detail));
        return Ok(());
    };
    let subjects = Subjects::new(&job.config.nats.subject_prefix);
    let mut suspects = Vec::new();
    for chained in Chained::ALL {
        let subject = match chained {
            Chained::Decisions => subjects.decisions(),
            Chained::Violations => subjects.violations(),
        };
        let settled = standing.settled.get(&chained).copied().unwrap_or(0);
        let mut table = Comparing {
            job,
            chained,
            epoch,
            dead,
            suspects: Vec::new(),
            missed: Vec::new(),
            replayed: BTreeMap::new(),
            overdue: None,
            findings: &mut report.findings,
            table: TableReport { table: chained.label(), settled, ..TableReport::default() },
        };
        let reading = stream
            .read(vec![subject], standing.held.first, standing.held.last, job.scope.contents)
            .await?;
        Box::pin(table.run(reading, standing)).await?;
        let (found, table) = (std::mem::take(&mut table.suspects), table.table);
        suspects.extend(found);
        report.stream.tables.push(table);
    }
    // What the stream forgot meanwhile, by its age, is no longer its word against that of a row.
    let first = stream.held().await?.first;
    for suspect in suspects.into_iter().filter(|suspect| suspect.sequence >= Some(first)) {
        report.findings.add(suspect);
    }
    Ok(())
}

/// One table beside the stream.
struct Comparing<'a> {
    job: &'a Job<'a>,
    chained: Chained,
    epoch: DateTime<Utc>,
    dead: &'a DeadLetters,
    /// Rows without an event, as long as the stream hasn't just forgotten it.
    suspects: Vec<Finding>,
    /// Events without a row.
    missed: Vec<(u64, Option<Uuid>)>,
    /// Places whose events were put aside and given back since, and the events.
    replayed: BTreeMap<u64, Option<Uuid>>,
    /// The oldest event that should be settled long since.
    overdue: Option<Kept>,
    findings: &'a mut Findings,
    table: TableReport,
}

impl Comparing<'_> {
    async fn run(
        &mut self,
        mut reading: crate::bus::reading::Reading,
        standing: &Standing,
    ) -> Result<(), VerifyError> {
        let (held, settled) = (standing.held, self.table.settled);
        let mut events: Vec<Event> = Vec::new();
        let mut from = held.first.max(1);
        while let Some(kept) = reading.next().await? {
            self.note_replay(&kept);
            if kept.sequence > settled {
                self.table.unsettled += 1;
                if self.overdue.is_none() && self.job.is_overdue(kept.time) {
                    self.overdue = Some(kept);
                }
                continue;
            }
            while kept.sequence >= from.saturating_add(CHUNK) {
                let to = from.saturating_add(CHUNK - 1);
                self.chunk(from, to, std::mem::take(&mut events)).await?;
                from = to.saturating_add(1);
                (self.job.on_step)(Step::Events {
                    done: from.saturating_sub(held.first),
                    all: held.last.saturating_sub(held.first).saturating_add(1),
                });
            }
            events.push(self.event(&kept));
        }
        if from <= settled {
            self.chunk(from, settled, events).await?;
        }
        self.never_stored();
        self.never_settled(standing);
        // No event of the stream can be behind its last one. What came since the beginning isn't meant.
        let now = Replay::open(self.job.connection, &self.job.config.stream.name).await?;
        let last = match now {
            Some(mut stream) if stream.epoch == self.epoch => stream.held().await?.last,
            _ => return Ok(()),
        };
        let beyond = Range { epoch: self.epoch, first: last.saturating_add(1), last: u64::MAX };
        for place in self.job.store.places_in(self.chained, beyond, STRAYS).await? {
            let now = Replay::open(self.job.connection, &self.job.config.stream.name).await?;
            if let Some(mut stream) = now
                && stream.held().await?.last < place.sequence
            {
                let detail = "the stream never had an event at the place of the row";
                self.find(Finding::new(Kind::Inserted, detail).row(place.id, place.sequence));
            }
        }
        Ok(())
    }

    /// What was given back has another message id than its event.
    fn event_id(&self, kept: &Kept) -> Option<Uuid> {
        kept.header(EVENT_ID).or(kept.message_id.as_deref())?.parse().ok()
    }

    fn event(&self, kept: &Kept) -> Event {
        let id = self.event_id(kept);
        let at = StreamPosition { epoch: self.epoch, sequence: kept.sequence };
        let digest = self.job.scope.contents.then(|| digest(self.chained, &kept.payload, at));
        Event { sequence: kept.sequence, id, digest: digest.flatten() }
    }

    /// Compares a part of the stream with the rows that say they are of it.
    async fn chunk(&mut self, from: u64, to: u64, events: Vec<Event>) -> Result<(), VerifyError> {
        let range = Range { epoch: self.epoch, first: from, last: to };
        let rows = self.rows(range).await?;
        let mut missing: Vec<(u64, Option<Uuid>)> = Vec::new();
        let mut places = BTreeSet::new();
        self.table.events += u64::try_from(events.len()).unwrap_or(0);
        for event in &events {
            places.insert(event.sequence);
            let here = rows.get(&event.sequence).map_or(&[][..], Vec::as_slice);
            match here.iter().find(|(id, _)| event.id.is_none_or(|of| of == *id)) {
                Some((id, digest)) => {
                    self.table.stored += 1;
                    if let (Some(said), Some(stored)) = (event.digest, digest)
                        && said != *stored
                    {
                        let detail = "the row says something else than its event in the stream";
                        self.find(Finding::new(Kind::Contents, detail).row(*id, event.sequence));
                    }
                }
                None => missing.push((event.sequence, event.id)),
            }
            for (id, _) in here.iter().filter(|(id, _)| event.id.is_some_and(|of| of != *id)) {
                let detail = "the stream holds another event at the place of the row";
                self.find(Finding::new(Kind::Inserted, detail).row(*id, event.sequence));
            }
        }
        for (sequence, here) in rows.iter().filter(|(sequence, _)| !places.contains(sequence)) {
            for (id, _) in here {
                let detail = "the stream holds no event of this table at the place of the row";
                let finding = Finding::new(Kind::Inserted, detail).row(*id, *sequence);
                self.suspects.push(finding.in_chain(self.chained.label()));
            }
        }
        self.missing(missing).await
    }

    /// Events without a row at their place were put aside, or have their row where the stream held them
    /// before or after.
    async fn missing(&mut self, missing: Vec<(u64, Option<Uuid>)>) -> Result<(), VerifyError> {
        let epoch = self.epoch.timestamp_micros();
        let (dead, missing): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|(sequence, _)| self.dead.places.contains(&(epoch, *sequence)));
        self.table.dead_letters += u64::try_from(dead.len()).unwrap_or(0);
        let ids: Vec<Uuid> = missing.iter().filter_map(|(_, id)| *id).collect();
        let places = self.job.store.places(self.chained, &ids).await?;
        for (sequence, id) in missing {
            if id.is_some_and(|id| places.iter().any(|place| place.id == id)) {
                self.table.resent += 1;
                continue;
            }
            if id.is_some_and(|id| self.is_expired(id)) {
                self.table.expired += 1;
                continue;
            }
            self.missed.push((sequence, id));
        }
        Ok(())
    }

    /// A message that was put aside, and given back, says where it stood.
    fn note_replay(&mut self, kept: &Kept) {
        let epoch = kept.header(deadletter::EPOCH).and_then(|text| text.parse().ok());
        let sequence = kept.header(deadletter::SEQUENCE).and_then(|text| text.parse().ok());
        if let Some(sequence) = sequence
            && epoch == Some(self.epoch)
            && kept.header(REPLAYED).is_some()
        {
            self.replayed.insert(sequence, self.event_id(kept));
        }
    }

    /// Events that have neither a row nor an excuse: what was given back must have a row where it stands
    /// now, and is looked at there.
    fn never_stored(&mut self) {
        for (sequence, id) in std::mem::take(&mut self.missed) {
            if self.replayed.get(&sequence).is_some_and(|of| id.is_none() || *of == id) {
                self.table.resent += 1;
                continue;
            }
            let detail = "the stream holds the event, and there is no row of it";
            let mut finding = Finding::new(Kind::Missing, detail).at(sequence);
            finding.id = id;
            self.find(finding);
        }
    }

    /// What nobody stores can't be called verified.
    fn never_settled(&mut self, standing: &Standing) {
        let waiting = self.table.unsettled;
        if let Some(consumer) = standing.unread.get(&self.chained)
            && waiting > 0
        {
            let detail = format!(
                "nobody stores the {waiting} events of this table: the stream has no consumer {consumer} \
                 (settings sink.consumer and stream.name; does a sink run?)"
            );
            self.find(Finding::new(Kind::NoConsumer, detail));
        } else if let Some(oldest) = self.overdue.take() {
            let detail = format!(
                "{waiting} events wait to be stored, the oldest since {}: the sink is behind, or down",
                oldest.time.format("%Y-%m-%d %H:%M:%SZ")
            );
            let mut finding = Finding::new(Kind::Overdue, detail).at(oldest.sequence);
            finding.id = self.event_id(&oldest);
            self.find(finding);
        }
    }

    /// Whether the row of an event may be gone, by the time in its id.
    fn is_expired(&self, id: Uuid) -> bool {
        let made = id.get_timestamp().and_then(|at| i64::try_from(at.to_unix().0).ok());
        made.is_some_and(|made| made < self.job.retained_since(self.chained).timestamp())
    }

    /// The rows of a range by their place, with what they say where that is asked for.
    async fn rows(
        &self,
        range: Range,
    ) -> Result<BTreeMap<u64, Vec<(Uuid, Option<RowDigest>)>>, StoreError> {
        let mut rows: BTreeMap<u64, Vec<(Uuid, Option<RowDigest>)>> = BTreeMap::new();
        if self.job.scope.contents {
            for row in self.job.store.sealed_rows(self.chained, range).await? {
                rows.entry(row.sequence).or_default().push((row.id, Some(row.digest)));
            }
        } else {
            for place in self.job.store.places_in(self.chained, range, u64::MAX).await? {
                rows.entry(place.sequence).or_default().push((place.id, None));
            }
        }
        Ok(rows)
    }

    fn find(&mut self, finding: Finding) {
        self.findings.add(finding.in_chain(self.chained.label()));
    }
}

/// What the row of an event says; none where it can't be one.
fn digest(chained: Chained, payload: &[u8], at: StreamPosition) -> Option<RowDigest> {
    match chained {
        Chained::Decisions => {
            let event: DecisionEvent = serde_json::from_slice(payload).ok()?;
            Some(DecisionRow::new(event, at).ok()?.digest())
        }
        Chained::Violations => {
            let event: ViolationEvent = serde_json::from_slice(payload).ok()?;
            Some(ViolationRow::new(event, at).ok()?.digest())
        }
    }
}
