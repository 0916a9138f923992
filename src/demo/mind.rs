//! What an agent wants to do next. Follows from the seed and from what it was told before.

use std::time::Duration;

use oorandom::Rand64;

/// A budget of a session, in dollars.
const BUDGETS: [f64; 3] = [0.25, 0.6, 1.5];
/// People that agents work for.
const USERS: [&str; 4] = ["alice", "bob", "carol", "dana"];
/// What sessions are about.
pub(super) const TOPICS: [&str; 6] =
    ["perovskite", "heat-pumps", "grid-batteries", "tidal-turbines", "hydrogen", "wind"];
/// Files that are none of an agent's business.
pub(super) const SECRETS: [&str; 3] = [".env", "deploy/server.pem", "config/credentials.json"];
/// Models, the best and dearest first, as they stand in the price list.
const MODELS: [&str; 3] = ["gpt-4", "gpt-4o", "gpt-4o-mini"];
/// A session has at most so many operations.
const LONGEST: u64 = 40;

/// What kind of work an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Thinks much, reads some.
    Planner,
    /// Reads files and pages, and asks models about them.
    Researcher,
    /// Writes and deletes files.
    Engineer,
}

impl Job {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Researcher => "researcher",
            Self::Engineer => "engineer",
        }
    }
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Ask a model; both in tokens.
    Ask { model: &'static str, prompt: u64, answer: u64 },
    /// Read a file.
    Read(String),
    /// Write a file of so many bytes.
    Write(String, usize),
    /// Delete a file.
    Delete(String),
    /// Get a page of the server.
    Fetch(String),
}

impl Operation {
    /// The action that a check names.
    pub(super) const fn action(&self) -> &'static str {
        match self {
            Self::Ask { .. } => "llm_call",
            Self::Read(_) => "file_read",
            Self::Write(..) => "file_write",
            Self::Delete(_) => "file_delete",
            Self::Fetch(_) => "external_api_call",
        }
    }
}

/// One step of a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) session: String,
    pub(super) number: u64,
    pub(super) user: &'static str,
    pub(super) priority: &'static str,
    pub(super) remaining_usd: f64,
}

/// What an agent has in mind.
#[derive(Debug)]
pub(super) struct Mind {
    random: Rand64,
    job: Job,
    name: String,
    run: String,
    /// How much more it does than others.
    eagerness: f64,
    sessions: u64,
    session: Session,
}

#[derive(Clone, Debug, Default)]
struct Session {
    steps: u64,
    left: u64,
    user: &'static str,
    topic: &'static str,
    priority: &'static str,
    remaining_usd: f64,
    /// The best model that it still tries.
    model: usize,
    written: u64,
}

impl Mind {
    pub(super) fn new(seed: u64, number: usize, run: &str) -> Self {
        let number = u64::try_from(number).unwrap_or_default();
        let job = match number % 3 {
            0 => Job::Planner,
            1 => Job::Researcher,
            _ => Job::Engineer,
        };
        // One number for each agent of each seed.
        let random = Rand64::new(u128::from(seed) << 64 | u128::from(number));
        let name = format!("{}-{}", job.as_str(), number / 3 + 1);
        // The second researcher overdoes it: somebody has to run into the limits.
        let eagerness = if number == 4 { 4.0 } else { 1.0 };
        Self {
            random,
            job,
            name,
            run: run.to_owned(),
            eagerness,
            sessions: 0,
            session: Session::default(),
        }
    }

    /// The agent's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The run that all its sessions belong to.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// How long it waits before the next step: as if each moment were as likely.
    pub(super) fn pause(&mut self, average: Duration) -> Duration {
        let times = -(1.0 - self.random.rand_float()).ln() / self.eagerness;
        average.mul_f64(times.clamp(0.0, 10.0))
    }

    /// The next step. A session that is at its end is followed by a new one.
    pub(super) fn next(&mut self) -> Step {
        if self.session.left == 0 {
            self.begin();
        }
        self.session.left -= 1;
        self.session.steps += 1;
        Step {
            operation: self.operation(),
            session: format!("{}-{}-{}", self.run, self.name, self.sessions),
            number: self.session.steps,
            user: self.session.user,
            priority: self.session.priority,
            remaining_usd: self.session.remaining_usd,
        }
    }

    /// Something was paid for.
    pub(super) fn paid(&mut self, usd: f64) {
        self.session.remaining_usd = (self.session.remaining_usd - usd).max(0.0);
    }

    /// Something was denied: goes on without, with a cheaper model, or ends the session.
    pub(super) fn denied(&mut self, reasons: &[String]) {
        let because = |reason: &str| reasons.iter().any(|said| said == reason);
        if because("budget_exceeded") && self.session.model + 1 >= MODELS.len() {
            self.session.left = 0;
        } else if because("budget_exceeded") || because("expensive_model_for_low_priority") {
            self.session.model = (self.session.model + 1).min(MODELS.len() - 1);
        }
    }

    fn begin(&mut self) {
        self.sessions += 1;
        self.session = Session {
            left: self.random.rand_range(8..LONGEST),
            user: self.one_of(&USERS),
            topic: self.one_of(&TOPICS),
            priority: self.one_of(&["low", "normal", "normal", "high"]),
            remaining_usd: BUDGETS.get(self.below(BUDGETS.len())).copied().unwrap_or_default(),
            ..Session::default()
        };
    }

    fn operation(&mut self) -> Operation {
        // Of a hundred operations: models, reading, pages; the rest is writing.
        let (asks, reads, fetches) = match self.job {
            Job::Planner => (65, 20, 5),
            Job::Researcher => (40, 25, 30),
            Job::Engineer => (35, 25, 5),
        };
        let topic = self.session.topic;
        let dice = self.random.rand_range(0..100);
        if dice < asks {
            Operation::Ask {
                model: MODELS.get(self.session.model).copied().unwrap_or_default(),
                prompt: self.random.rand_range(200..1_500),
                answer: self.random.rand_range(300..1_200),
            }
        } else if dice < asks + reads {
            // Now and then an agent looks where it shouldn't.
            if self.random.rand_range(0..12) == 0 {
                Operation::Read(self.one_of(&SECRETS).to_owned())
            } else {
                Operation::Read(format!("notes/{topic}.md"))
            }
        } else if dice < asks + reads + fetches {
            Operation::Fetch(format!("/pages/{topic}"))
        } else if self.session.written > 0 && self.random.rand_range(0..3) == 0 {
            let path = self.report(self.session.written);
            self.session.written -= 1;
            Operation::Delete(path)
        } else {
            self.session.written += 1;
            let bytes = usize::try_from(self.random.rand_range(200..4_000)).unwrap_or_default();
            Operation::Write(self.report(self.session.written), bytes)
        }
    }

    /// A report is written over by the agent's next session: the folder doesn't grow without end.
    fn report(&self, number: u64) -> String {
        format!("reports/{}-{number}.md", self.name)
    }

    fn one_of(&mut self, from: &[&'static str]) -> &'static str {
        let place = self.below(from.len());
        from.get(place).copied().unwrap_or_default()
    }

    fn below(&mut self, length: usize) -> usize {
        let length = u64::try_from(length.max(1)).unwrap_or(1);
        usize::try_from(self.random.rand_range(0..length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn steps(seed: u64, number: usize) -> Vec<Step> {
        let mut mind = Mind::new(seed, number, "r");
        (0..400).map(|_| mind.next()).collect()
    }

    #[test]
    fn the_same_seed_wants_the_same() {
        assert_eq!(steps(7, 1), steps(7, 1));
        assert_ne!(steps(7, 1), steps(8, 1));
        assert_ne!(steps(7, 1), steps(7, 4), "two researchers differ");
    }

    #[test]
    fn everything_occurs_that_policies_look_at() {
        let all: Vec<Step> = (0..6).flat_map(|number| steps(1, number)).collect();
        let actions: BTreeSet<_> = all.iter().map(|step| step.operation.action()).collect();
        assert_eq!(actions.len(), 5, "{actions:?}");
        let read = |path: &str| all.iter().any(|s| s.operation == Operation::Read(path.to_owned()));
        assert!(SECRETS.iter().all(|path| read(path)));
        assert!(all.iter().any(|step| step.priority == "low"));
        let sessions: BTreeSet<_> = all.iter().map(|step| &step.session).collect();
        assert!(sessions.len() > 40, "{}", sessions.len());
    }

    #[test]
    fn denials_make_it_thrifty_and_then_end_the_session() {
        let mut mind = Mind::new(1, 0, "r");
        let asked = |mind: &mut Mind| loop {
            if let Step { operation: Operation::Ask { model, .. }, session, .. } = mind.next() {
                break (model, session);
            }
        };
        let (model, first) = asked(&mut mind);
        assert_eq!(model, MODELS[0]);
        let budget = ["budget_exceeded".to_owned()];
        mind.denied(&["expensive_model_for_low_priority".to_owned()]);
        mind.denied(&budget);
        mind.denied(&["rate_limit_exceeded".to_owned()]);
        let (model, same) = asked(&mut mind);
        assert_eq!((model, &same), (MODELS[2], &first));
        mind.denied(&budget);
        let (model, next) = asked(&mut mind);
        assert_eq!(model, MODELS[0]);
        assert_ne!(next, first);
    }

    #[test]
    fn budgets_are_spent() {
        let mut mind = Mind::new(1, 0, "r");
        let before = mind.next().remaining_usd;
        mind.paid(0.1);
        assert!((mind.next().remaining_usd - (before - 0.1)).abs() < 1e-9);
        mind.paid(100.0);
        assert!(mind.next().remaining_usd < 1e-9);
    }

    #[test]
    fn pauses_are_as_long_as_asked_for_on_average() {
        let mut mind = Mind::new(1, 0, "r");
        let all: Duration = (0..4_000).map(|_| mind.pause(Duration::from_millis(100))).sum();
        let average = all / 4_000;
        assert!((90..110).contains(&average.as_millis()), "{average:?}");
    }
}
