//! `sluicegate serve`, `worker`, `sink`, `alerter`, `console`: roles against configured servers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use crate::config::Config;
use crate::roles::console::{self, Shown};
use crate::roles::{RoleContext, alerter, instance_name, sink, worker};
use crate::runtime::health::Health;
use crate::runtime::retry::Retry;
use crate::runtime::{metrics, shutdown};

/// A role of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Decides checks.
    Worker,
    /// Carries the stream to ClickHouse.
    Sink,
    /// Posts violations.
    Alerter,
    /// HTTP.
    Console,
}

/// Every role that has something to do: an alerter only where somebody is to be told.
pub(crate) fn all(config: &Config) -> Vec<Role> {
    let mut roles = vec![Role::Worker, Role::Sink, Role::Console];
    if config.alerter.is_configured() {
        roles.push(Role::Alerter);
    }
    roles
}

/// Runs roles until a signal, then lets them finish.
pub(crate) async fn run(config: Config, roles: &[Role]) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let health = Health::default();
    expect_parts(&health, roles, &config);
    let listener = listener(&config, roles).await?;
    roles_until(Arc::new(config), roles, health, stop, listener).await
}

/// Takes the HTTP address of these roles, so that a taken port is known before anything starts.
pub(crate) async fn listener(
    config: &Config,
    roles: &[Role],
) -> anyhow::Result<Option<TcpListener>> {
    let (address, setting): (SocketAddr, _) = if roles.contains(&Role::Console) {
        (config.http.listen, "http.listen")
    } else if let Some(address) = config.telemetry.listen_address() {
        (address, "telemetry.listen")
    } else {
        return Ok(None);
    };
    Ok(Some(console::listen(address, setting).await?))
}

/// Names the parts that these roles will report, so that nobody takes the process for ready before
/// the roles have begun.
pub(crate) fn expect_parts(health: &Health, roles: &[Role], config: &Config) {
    for role in roles {
        let parts: Vec<String> = match role {
            Role::Worker => worker::PARTS.map(Into::into).into(),
            Role::Sink => sink::PARTS.map(Into::into).into(),
            Role::Alerter => alerter::parts(&config.alerter),
            Role::Console => console::PARTS.map(Into::into).into(),
        };
        for part in parts {
            drop(health.part(part));
        }
    }
}

/// Runs roles until told to stop. A role that ends with an error that may pass is started again,
/// after a wait; another error ends all, in order.
pub(crate) async fn roles_until(
    config: Arc<Config>,
    roles: &[Role],
    health: Health,
    stop: CancellationToken,
    listener: Option<TcpListener>,
) -> anyhow::Result<Exit> {
    let handle = metrics::install()?;
    // HTTP answers until the roles have finished, so that their drain can be watched.
    let http_stop = CancellationToken::new();
    let http = listener.map(|listener| {
        let shown = Shown {
            health: health.clone(),
            metrics: handle,
            request_timeout: config.http.request_timeout,
            max_body: usize::try_from(config.http.max_body.as_u64()).unwrap_or(usize::MAX),
        };
        if roles.contains(&Role::Console) {
            console::PARTS.iter().for_each(|part| health.part(*part).ready());
        }
        tokio::spawn(console::serve(listener, shown, http_stop.clone()))
    });
    let context = RoleContext {
        name: instance_name(&config),
        config: Arc::clone(&config),
        health,
        stop: stop.clone(),
    };
    let mut running = JoinSet::new();
    for role in roles.iter().copied().filter(|role| *role != Role::Console) {
        running.spawn(supervised(role, context.clone()));
    }
    let mut failure = None;
    if running.is_empty() {
        stop.cancelled().await;
    }
    while let Some(ended) = running.join_next().await {
        let outcome = ended.context("a role panicked").and_then(|outcome| outcome);
        if let Err(error) = outcome
            && failure.is_none()
        {
            tracing::error!("{error:#}");
            failure = Some(error);
        }
        if failure.is_some() || !stop.is_cancelled() {
            stop.cancel();
        }
    }
    http_stop.cancel();
    if let Some(http) = http {
        let bound = tokio::time::timeout(config.shutdown.drain, http).await;
        if let Ok(Ok(Err(error))) = bound {
            bail!(error);
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(Exit::Ok),
    }
}

async fn supervised(role: Role, context: RoleContext) -> anyhow::Result<()> {
    let mut retry = Retry::new(context.retry());
    loop {
        let outcome: anyhow::Result<()> = match role {
            Role::Worker => Box::pin(worker::run(context.clone())).await.map_err(Into::into),
            Role::Sink => sink::run(context.clone()).await.map_err(Into::into),
            Role::Alerter => Box::pin(alerter::run(context.clone())).await.map_err(Into::into),
            Role::Console => Ok(()),
        };
        let Err(error) = outcome else { return Ok(()) };
        if !is_transient(&error) {
            return Err(error);
        }
        if context.stop.is_cancelled() {
            return Ok(());
        }
        let delay = retry.next_delay();
        tracing::warn!(?role, ?delay, "ended, will be started again: {error:#}");
        tokio::select! {
            () = tokio::time::sleep(delay) => (),
            () = context.stop.cancelled() => return Ok(()),
        }
    }
}

fn is_transient(error: &anyhow::Error) -> bool {
    error.downcast_ref::<worker::WorkerError>().is_some_and(worker::WorkerError::is_transient)
        || error.downcast_ref::<sink::SinkError>().is_some_and(sink::SinkError::is_transient)
        || error
            .downcast_ref::<alerter::AlerterError>()
            .is_some_and(alerter::AlerterError::is_transient)
}
