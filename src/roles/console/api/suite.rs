//! `/api/policies/{policy}/suite`: what a policy is expected to say, and whether it does. Nothing is
//! enforced or recorded.

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use chrono::Utc;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::query::Body;
use crate::contract::RequestBounds;
use crate::contract::admin::{GetRequest, PolicyView, Verb};
use crate::domain::Finding;
use crate::engine::EvaluationLimits;
use crate::roles::bytes;
use crate::roles::console::doors::Doors;
use crate::roles::console::problem::Problem;
use crate::suites::{About, Report};

/// The shortest time of one evaluation. The clock bounds what a worker does; here instructions and
/// memory do, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/policies/{policy}/suite", post(suite))
}

/// What to run, on what.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Suites {
    /// The Rego; the stored one where left out.
    rego: Option<String>,
    /// A suite in YAML to run; where left out the Rego's own `test_` rules, and what `policies.suites`
    /// and `policies.folder` hold about the policy on the console's machine.
    suite: Option<String>,
}

/// How it went.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SuitesReport {
    #[serde(flatten)]
    report: Report,
    /// Why none could be run: what is wrong with the Rego.
    findings: Vec<Finding>,
    /// Folders on the console's machine in which suites were looked for: none where one was given.
    looked: Vec<PathBuf>,
}

async fn suite(
    State(doors): State<Doors>,
    Path(policy): Path<String>,
    Body(Suites { rego, suite }): Body<Suites>,
) -> Result<Json<SuitesReport>, Problem> {
    let request = GetRequest { policy, version: None };
    let view: PolicyView = doors.asker().manage(Verb::Get, &request).await?;
    let rego = rego.unwrap_or(view.content);
    let (limits, config) = (doors.limits(), doors.config());
    if rego.len() > limits.compile.bytes {
        return Err(Problem::invalid("rego: too large (setting limits.policy_bytes)"));
    }
    let folders = match suite {
        Some(_) => Vec::new(),
        None => vec![config.policies.suites.clone(), config.policies.folder.clone()],
    };
    let about = About {
        policy: view.record.name,
        template: view.record.template,
        rego,
        folders: folders.clone(),
        given: suite,
        bounds: RequestBounds {
            bytes: bytes(config.worker.max_request_bytes),
            nesting: config.worker.max_nesting,
            batch: config.worker.max_batch,
        },
        limits: limits.compile,
        evaluation: EvaluationLimits {
            time: limits.evaluate.time.max(PATIENCE),
            ..limits.evaluate
        },
        at: Utc::now(),
        // What was run by then is answered in time.
        patience: doors.patience().mul_f64(0.8),
    };
    // They are run here, not on a worker: they decide nothing.
    let (report, findings) = match doors.working(move || about.run()).await? {
        Ok(report) => (report, Vec::new()),
        Err(findings) => (Report::default(), findings),
    };
    Ok(Json(SuitesReport { report, findings, looked: folders }))
}
