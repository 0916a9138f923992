//! Which packages there are: a path of OPA's data names a package, or a rule in it, or neither.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

use super::ask::Asker;

/// How long what was learned is used without asking again.
const FRESH: Duration = Duration::from_secs(10);
/// What isn't known is asked for again, but not more often than so: unknown paths must not become a
/// flood of lists.
const SOONEST: Duration = Duration::from_millis(250);

/// The rules of a package that decide, which every package may have.
pub(super) const RULES: [&str; 3] = ["allow", "deny_reasons", "warnings"];

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A package, or something in its document.
    Package {
        /// Its name, with dots.
        package: String,
        /// What follows: a rule, and a place in its value.
        rest: Vec<String>,
    },
    /// Something above packages, such as everything.
    Above,
    /// Nothing.
    Nowhere,
}

/// The packages of all policies, as a worker last said. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Directory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    known: Option<Known>,
    /// Changes from here that were made since the start: what was asked before one isn't kept.
    changes: u64,
    asking: Option<Shared<BoxFuture<'static, Option<Known>>>>,
}

#[derive(Clone)]
struct Known {
    packages: Arc<BTreeSet<String>>,
    at: Instant,
}

impl Directory {
    /// What a path names, within a time. Without any worker to say it, the path is taken for a package,
    /// but for a rule that all packages may have.
    pub(super) async fn place(&self, asker: &Asker, path: &[String], patience: Duration) -> Place {
        let until = Instant::now() + patience;
        let mut known = self.known().filter(|known| known.at.elapsed() < FRESH);
        if known.is_none() {
            known = self.asked(asker, until).await.or_else(|| self.known());
        }
        let Some(known) = known else { return guessed(path) };
        let found = located(&known.packages, path);
        let sure = match &found {
            Place::Package { rest, .. } => {
                rest.first().is_none_or(|rule| RULES.contains(&rule.as_str()))
            }
            Place::Above => path.is_empty(),
            Place::Nowhere => false,
        };
        if sure || known.at.elapsed() < SOONEST {
            return found;
        }
        match self.asked(asker, until).await {
            Some(newer) => located(&newer.packages, path),
            None => found,
        }
    }

    /// Forgets what is known: a policy has just been changed from here.
    pub(super) fn forget(&self) {
        let mut inner = self.inner();
        inner.known = None;
        inner.asking = None;
        inner.changes += 1;
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> Option<Known> {
        self.inner().known.clone()
    }

    /// Asks a worker, once for all who want to know at the same time. Who can't wait any longer goes
    /// without; the answer is kept for those who come later.
    async fn asked(&self, asker: &Asker, until: Instant) -> Option<Known> {
        let asking = {
            let mut inner = self.inner();
            let under_way = inner.asking.clone().filter(|asking| asking.peek().is_none());
            under_way.unwrap_or_else(|| {
                let answer = tokio::spawn(self.clone().ask(asker.clone(), inner.changes));
                let asking = answer.map(|known| known.ok().flatten()).boxed().shared();
                inner.asking = Some(asking.clone());
                asking
            })
        };
        tokio::time::timeout_at(until.into(), asking).await.ok().flatten()
    }

    async fn ask(self, asker: Asker, changes: u64) -> Option<Known> {
        let at = Instant::now();
        let list = asker.list().await.ok()?;
        let own = list.policies.into_iter().filter(|view| view.record.template.is_none());
        let known = Known { packages: Arc::new(own.map(|view| view.record.package).collect()), at };
        let mut inner = self.inner();
        if inner.changes == changes {
            inner.known = Some(known.clone());
        }
        Some(known)
    }
}

/// The longest package that the path begins with.
fn located(packages: &BTreeSet<String>, path: &[String]) -> Place {
    for length in (1..=path.len()).rev() {
        let (front, rest) = path.split_at(length);
        let package = front.join(".");
        if packages.contains(&package) {
            return Place::Package { package, rest: rest.to_vec() };
        }
    }
    let beginning = path.iter().flat_map(|part| [part.as_str(), "."]).collect::<String>();
    let above = path.is_empty() || packages.iter().any(|package| package.starts_with(&beginning));
    if above { Place::Above } else { Place::Nowhere }
}

fn guessed(path: &[String]) -> Place {
    match path.split_last() {
        None => Place::Above,
        Some((rule, front)) if !front.is_empty() && RULES.contains(&rule.as_str()) => {
            Place::Package { package: front.join("."), rest: vec![rule.clone()] }
        }
        Some(_) => Place::Package { package: path.join("."), rest: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        let packages = ["a.b", "a.b.c", "x"].map(str::to_owned).into();
        let path: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        located(&packages, &path)
    }

    fn package(package: &str, rest: &[&str]) -> Place {
        let rest = rest.iter().map(|part| (*part).to_owned()).collect();
        Place::Package { package: package.into(), rest }
    }

    #[test]
    fn the_longest_package_is_meant() {
        assert_eq!(place("a/b"), package("a.b", &[]));
        assert_eq!(place("a/b/c"), package("a.b.c", &[]));
        assert_eq!(place("a/b/allow"), package("a.b", &["allow"]));
        assert_eq!(place("x/deny_reasons/0"), package("x", &["deny_reasons", "0"]));
        assert_eq!(place("a"), Place::Above);
        assert_eq!(place(""), Place::Above);
        assert_eq!(place("a/bb"), Place::Nowhere);
        assert_eq!(place("nowhere"), Place::Nowhere);
    }

    #[test]
    fn without_a_worker_a_path_is_a_package() {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(guessed(&path("a/b")), package("a.b", &[]));
        assert_eq!(guessed(&path("a/b/allow")), package("a.b", &["allow"]));
        assert_eq!(guessed(&path("allow")), package("allow", &[]));
        assert_eq!(guessed(&[]), Place::Above);
    }
}
