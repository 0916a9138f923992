//! The other rules of the package that a check names, for callers who ask for documents.

use serde_json::{Map, Value};

use super::Decider;
use crate::contract::PackageDocument;
use crate::domain::{CheckRequest, EnforcementMode, Identity};
use crate::engine::{Check, Evaluator};
use crate::roles::worker::live::InForce;

impl Decider {
    /// Their values for the same input, policies and usage as the decision's. None where there are
    /// none, and while nothing is evaluated. No part of the decision, and of no record.
    pub(super) fn document(
        &self,
        in_force: &InForce,
        request: &CheckRequest,
        identity: &Identity,
        input: &Map<String, Value>,
        second: u64,
        evaluator: &mut Evaluator,
    ) -> Option<PackageDocument> {
        let package = request.package.as_deref()?;
        if in_force.enforcement == EnforcementMode::Off {
            return None;
        }
        let count = self.counting(request, identity, second);
        let check = Check {
            request,
            identity,
            input,
            usage: Some(&count),
            fail_mode: self.fail_mode,
            shadow: false,
        };
        match evaluator.document(&in_force.set, package, &check) {
            Ok(rules) => rules.map(|rules| PackageDocument { rules, error: String::new() }),
            Err(error) => Some(PackageDocument { rules: Map::new(), error }),
        }
    }
}
