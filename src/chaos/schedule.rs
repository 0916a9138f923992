//! What will be done to whom and when: all of it follows from the seed.

use std::fmt;
use std::time::Duration;

use oorandom::Rand64;
use serde::Serialize;

/// What is done to a component or to a way between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A process is killed without warning (SIGKILL) and started again after a while.
    Kill,
    /// A process is stopped in its tracks (SIGSTOP) and goes on after a while.
    Pause,
    /// A process is told to end (SIGTERM), and started again when it has.
    Restart,
    /// A way ends all its connections and takes no new ones for a while.
    Cut,
    /// A way keeps its connections and passes nothing on for a while.
    Freeze,
    /// A way passes everything on late for a while.
    Delay,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Pause, Self::Restart, Self::Cut, Self::Freeze, Self::Delay];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Cut => "cut",
            Self::Freeze => "freeze",
            Self::Delay => "delay",
        }
    }

    const fn of_ways(self) -> bool {
        matches!(self, Self::Cut | Self::Freeze | Self::Delay)
    }

    /// Shortest and longest time in milliseconds: of a pause long enough for another sink to take
    /// over, of all short enough for many in one run.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::Kill => (0, 2_500),
            Self::Restart => (0, 500),
            Self::Pause => (200, 6_000),
            Self::Cut | Self::Freeze => (200, 4_000),
            Self::Delay => (1_000, 5_000),
        }
    }
}

/// A process of the fleet; numbers begin at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// A nats-server.
    Nats(usize),
    /// ClickHouse.
    ClickHouse,
    /// A worker.
    Worker(usize),
    /// A sink.
    Sink(usize),
    /// An alerter.
    Alerter(usize),
}

impl Component {
    /// Whether it is one of the product's own roles, not a server.
    pub(super) const fn is_role(self) -> bool {
        matches!(self, Self::Worker(_) | Self::Sink(_) | Self::Alerter(_))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nats(number) => write!(f, "nats-{number}"),
            Self::ClickHouse => f.write_str("clickhouse"),
            Self::Worker(number) => write!(f, "worker-{number}"),
            Self::Sink(number) => write!(f, "sink-{number}"),
            Self::Alerter(number) => write!(f, "alerter-{number}"),
        }
    }
}

/// A way between components, through which all that one kind of them says to another goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// From the clients to NATS.
    ClientsToNats,
    /// From the workers to NATS.
    WorkersToNats,
    /// From the sinks to NATS; subscribers go there too.
    SinksToNats,
    /// From the sinks to ClickHouse.
    SinksToClickHouse,
    /// From the alerter to NATS.
    AlerterToNats,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ClientsToNats,
        Self::WorkersToNats,
        Self::SinksToNats,
        Self::SinksToClickHouse,
        Self::AlerterToNats,
    ];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientsToNats => "clients → NATS",
            Self::WorkersToNats => "workers → NATS",
            Self::SinksToNats => "sinks → NATS",
            Self::SinksToClickHouse => "sinks → ClickHouse",
            Self::AlerterToNats => "alerter → NATS",
        })
    }
}

/// To whom something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A process.
    Component(Component),
    /// A way.
    Way(Way),
}

/// One thing that will be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, since the faults began.
    pub at: Duration,
    /// What.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// For how long; how long a process stays away before it is started again.
    pub lasts: Duration,
    /// By how much a delayed way is late.
    pub late: Duration,
}

/// The faults of a run, by time. Kinds come from a shuffled deck of all, so that even a short run
/// sees most of them; one in four faults begins together with another.
#[must_use]
pub fn schedule(
    seed: u64,
    length: Duration,
    components: &[Component],
    only: &[FaultKind],
) -> Vec<Fault> {
    let mut random = Rand64::new(u128::from(seed));
    let mut faults = Vec::new();
    let mut deck: Vec<FaultKind> = Vec::new();
    let mut at = Duration::from_millis(random.rand_range(200..1_500));
    while at < length && !only.is_empty() {
        let kind = match deck.pop() {
            Some(kind) => kind,
            None => {
                deck = shuffled(&mut random, only);
                continue;
            }
        };
        let target = if kind.of_ways() {
            pick(&mut random, &Way::ALL).map(Target::Way)
        } else {
            pick(&mut random, components).map(Target::Component)
        };
        let Some(target) = target else { return faults };
        let (shortest, longest) = kind.lasts();
        faults.push(Fault {
            at,
            kind,
            target,
            lasts: Duration::from_millis(random.rand_range(shortest..longest)),
            late: Duration::from_millis(random.rand_range(5..150)),
        });
        if random.rand_range(0..4) != 0 {
            at += Duration::from_millis(random.rand_range(300..3_000));
        }
    }
    faults
}

fn shuffled(random: &mut Rand64, kinds: &[FaultKind]) -> Vec<FaultKind> {
    let mut left = kinds.to_vec();
    let mut deck = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let at = index(random, left.len());
        deck.push(left.swap_remove(at));
    }
    deck
}

fn pick<T: Copy>(random: &mut Rand64, from: &[T]) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    from.get(index(random, from.len())).copied()
}

fn index(random: &mut Rand64, length: usize) -> usize {
    let below = u64::try_from(length).unwrap_or(u64::MAX);
    usize::try_from(random.rand_range(0..below)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const CAST: [Component; 4] =
        [Component::Nats(1), Component::ClickHouse, Component::Worker(1), Component::Sink(1)];

    #[test]
    fn a_seed_is_a_schedule() {
        let minute = Duration::from_secs(60);
        let once = schedule(7, minute, &CAST, &FaultKind::ALL);
        assert_eq!(once, schedule(7, minute, &CAST, &FaultKind::ALL));
        assert_ne!(once, schedule(8, minute, &CAST, &FaultKind::ALL));
        assert!(once.iter().all(|fault| fault.at < minute) && once.is_sorted_by_key(|f| f.at));
        // What a seed meant yesterday it means tomorrow: this is the first fault of seed 7.
        assert_eq!(once.first().map(|fault| fault.kind), Some(FaultKind::Delay));
    }

    #[test]
    fn a_short_run_sees_every_kind_and_a_narrow_one_no_other() {
        for seed in 0..50 {
            let kinds = |only: &[FaultKind]| -> BTreeSet<FaultKind> {
                let faults = schedule(seed, Duration::from_secs(20), &CAST, only);
                faults.into_iter().map(|fault| fault.kind).collect()
            };
            assert!(kinds(&FaultKind::ALL).len() >= 5, "seed {seed}");
            assert_eq!(kinds(&[FaultKind::Cut]), BTreeSet::from([FaultKind::Cut]));
        }
        assert!(schedule(1, Duration::from_secs(20), &CAST, &[]).is_empty());
    }
}
