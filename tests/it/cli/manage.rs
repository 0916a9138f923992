//! What the tests of management share.

use serde_json::Value;

use crate::worker::support::program::Said;
use crate::worker::support::{Fleet, Program};

/// The command with these arguments on the fleet's server.
pub(crate) fn command(fleet: &Fleet, arguments: &[&str]) -> Program {
    let url = fleet.nats.url();
    Program::new(&[arguments, &["--nats-url", &url]].concat()).env("USER", "ada")
}

/// Runs it beside the workers, which live on this thread's runtime.
pub(crate) async fn run(program: Program) -> Said {
    tokio::task::spawn_blocking(|| program.run()).await.unwrap()
}

/// Runs a command to its end.
pub(crate) async fn says(fleet: &Fleet, arguments: &[&str]) -> Said {
    run(command(fleet, arguments)).await
}

/// What a command that succeeds says as JSON.
pub(crate) async fn json(fleet: &Fleet, arguments: &[&str]) -> Value {
    says(fleet, &[arguments, &["--json"]].concat()).await.ended_with(0).json()
}

/// A Rego text of this package with these rules.
pub(crate) fn rego(package: &str, rules: &str) -> String {
    format!("package {package}\n\nimport rego.v1\n\n{rules}\n")
}

/// Rego with settings: it denies above a limit.
pub(crate) const LIMITED: &str = r#"# METADATA
# title: A limit
# description: Denies what is larger than the limit.
# scope: package
# custom:
#   severity: critical
#   reasons:
#     too_large: Make it smaller.
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       limit:
#         type: number
#         description: The largest size.
#         default: 10
package limited

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

deny_reasons contains "too_large" if input.resource.size > input.parameters.limit
"#;
