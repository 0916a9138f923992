//! The set of policies in force, swapped whole when the folder changes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::folder::{FolderError, load_folder};
use crate::config::Config;
use crate::engine::PolicySet;
use crate::runtime::health::Reporter;
use crate::runtime::metrics::{self, ReloadResult};

/// The policies in force. Cheap to clone.
#[derive(Clone)]
pub(super) struct LivePolicies {
    set: Arc<ArcSwap<PolicySet>>,
}

impl LivePolicies {
    /// Loads the folder and follows its changes.
    ///
    /// At the start a wrong policy is taken in and fails at every check, so that its fail mode
    /// holds; a later change with anything wrong in it is refused as a whole, and the last good
    /// set stays in force.
    pub(super) fn start(config: &Arc<Config>, health: Reporter) -> Result<Self, FolderError> {
        let loaded = load_folder(config)?;
        report(&health, &loaded.problems, "fail at every check they apply to");
        installed(&loaded.set);
        let live = Self { set: Arc::new(ArcSwap::from_pointee(loaded.set)) };
        if config.policies.watch {
            match watch(config) {
                Ok((watcher, changes)) => {
                    let (live, config) = (live.clone(), Arc::clone(config));
                    tokio::spawn(live.follow(config, watcher, changes, health));
                }
                Err(error) => health.degraded(format!(
                    "{} can't be watched, changes need a restart: {error}",
                    config.policies.folder.display()
                )),
            }
        }
        Ok(live)
    }

    /// The set in force now.
    pub(super) fn current(&self) -> Arc<PolicySet> {
        self.set.load_full()
    }

    async fn follow(
        self,
        config: Arc<Config>,
        _watcher: RecommendedWatcher,
        mut changes: mpsc::Receiver<()>,
        health: Reporter,
    ) {
        while changes.recv().await.is_some() {
            settle(&mut changes, config.policies.settle).await;
            let loading = Arc::clone(&config);
            let loaded = tokio::task::spawn_blocking(move || load_folder(&loading)).await;
            let problems = match loaded {
                Ok(Ok(loaded)) if loaded.problems.is_empty() => {
                    self.install(loaded.set, &health);
                    continue;
                }
                Ok(Ok(loaded)) => loaded.problems,
                Ok(Err(error)) => vec![error.to_string()],
                Err(error) => vec![error.to_string()],
            };
            metrics::policy_reloads(ReloadResult::Refused).increment(1);
            report(&health, &problems, "the change is refused, the last good set stays in force");
        }
    }

    fn install(&self, set: PolicySet, health: &Reporter) {
        health.ready();
        if set.revision() == self.current().revision() {
            return;
        }
        metrics::policy_reloads(ReloadResult::Ok).increment(1);
        installed(&set);
        tracing::info!(
            revision = %set.revision(),
            policies = set.taking_part(),
            "policies reloaded"
        );
        self.set.store(Arc::new(set));
    }
}

fn installed(set: &PolicySet) {
    let count = u32::try_from(set.taking_part()).unwrap_or(u32::MAX);
    metrics::policies_active().set(f64::from(count));
}

fn report(health: &Reporter, problems: &[String], consequence: &str) {
    if problems.is_empty() {
        health.ready();
    } else {
        health.degraded(format!("{consequence}: {}", problems.join("; ")));
    }
}

/// Watches the folder itself, not its files: editors replace files rather than write into them.
fn watch(config: &Config) -> notify::Result<(RecommendedWatcher, mpsc::Receiver<()>)> {
    let (changed, changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = event.map_or(true, |event| !event.kind.is_access());
        if relevant {
            // Full means that a change is noted already.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(&config.policies.folder, RecursiveMode::NonRecursive)?;
    Ok((watcher, changes))
}

/// Waits until nothing has changed for a while, so that half-written files aren't read; but not
/// for ever in a folder that never rests.
async fn settle(changes: &mut mpsc::Receiver<()>, quiet: Duration) {
    const MOST_ROUNDS: u32 = 50;
    for _ in 0..MOST_ROUNDS {
        match tokio::time::timeout(quiet, changes.recv()).await {
            Ok(Some(())) => (),
            Ok(None) | Err(_) => return,
        }
    }
}
