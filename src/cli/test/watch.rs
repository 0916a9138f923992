//! Again and again, on every change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use chrono::Local;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Test;
use super::show::counted;
use crate::cli::exit::Exit;
use crate::cli::print::{self, DIM, styled};
use crate::config::Config;

/// How long files must be quiet before they are read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// Rounds of waiting for quiet, in a folder that never rests.
const MOST_ROUNDS: u32 = 50;

pub(super) async fn run(command: &Test, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let (changed, mut changes) = mpsc::channel::<PathBuf>(64);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if !event.kind.is_access() {
            for path in event.paths.into_iter().filter(|path| relevant(path)) {
                // Full means that there is a change to look at already.
                let _ = changed.try_send(path);
            }
        }
    })?;
    let mut watched = BTreeSet::new();
    if let Some(missing) = command.paths.iter().find(|path| !path.exists()) {
        anyhow::bail!("{} is not there, so it can't be watched", missing.display());
    }
    loop {
        let plan = super::plan(command, config)?;
        // Before the run: what changes meanwhile is run again.
        watch(command, config, &plan.files, &mut watcher, &mut watched)?;
        let suites = counted(plan.suites(), "suite", "suites");
        let policies = counted(plan.policies(), "policy", "policies");
        super::once(command, config, json, plan).await?;
        if !json {
            let text = format!("watching {suites} and {policies} for changes; Ctrl-C ends it");
            print::line(styled(DIM, text));
        }
        let Some(path) = next(&mut changes).await? else { return Ok(Exit::Ok) };
        if !json {
            let here = std::env::current_dir().unwrap_or_default();
            let shown = path.strip_prefix(here).unwrap_or(&path).display();
            let time = Local::now().format("%H:%M:%S");
            print::line(format!("\n{}", styled(DIM, format!("{time}  {shown} changed"))));
        }
    }
}

/// The next change, once it is quiet again; none on Ctrl-C.
async fn next(changes: &mut mpsc::Receiver<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    let first = tokio::select! {
        change = changes.recv() => change.context("files are no longer watched")?,
        ended = tokio::signal::ctrl_c() => {
            ended?;
            return Ok(None);
        }
    };
    for _ in 0..MOST_ROUNDS {
        match tokio::time::timeout(QUIET, changes.recv()).await {
            Ok(Some(_)) => (),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(Some(first))
}

/// Files that can be suites or policies.
fn relevant(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && extension.is_some_and(|extension| ["yaml", "yml", "rego"].contains(&extension))
}

/// Watches the folders of all that is read: editors replace files rather than write into them.
/// Folders that are named are watched with what is below them, for suites that come.
fn watch(
    command: &Test,
    config: &Config,
    files: &BTreeSet<PathBuf>,
    watcher: &mut RecommendedWatcher,
    watched: &mut BTreeSet<PathBuf>,
) -> anyhow::Result<()> {
    let policies = command.policies.as_ref().unwrap_or(&config.policies.folder);
    let named = super::paths(command, config, policies);
    let folders = named.iter().map(|path| (path.as_path(), RecursiveMode::Recursive));
    let parents = files.iter().chain(&named).filter_map(|file| file.parent()).map(|parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        (parent, RecursiveMode::NonRecursive)
    });
    let policies = std::iter::once((policies.as_path(), RecursiveMode::NonRecursive));
    for (folder, mode) in folders.chain(parents).chain(policies) {
        if folder.is_dir() && watched.insert(folder.to_owned()) {
            watcher
                .watch(folder, mode)
                .with_context(|| format!("{} can't be watched", folder.display()))?;
        }
    }
    Ok(())
}
