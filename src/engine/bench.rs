//! What evaluation is compared with: regorus' register VM as one would first use it.

use regorus::Value;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use serde_json::Map;

use super::compile::{ENTRY_RULES, bounded_engine, shown};
use super::error::EngineError;

/// Policies in warm VMs without limits, whose rules are evaluated one after the other: an entry point
/// of the program for each.
pub struct RuleByRule {
    policies: Vec<(RegoVM, Value)>,
}

impl RuleByRule {
    /// Compiles policies, pairs of Rego and parameters.
    ///
    /// # Errors
    /// What keeps one of them from being compiled.
    pub fn new(policies: &[(&str, &Map<String, serde_json::Value>)]) -> Result<Self, EngineError> {
        let compiled = policies.iter().map(|(rego, parameters)| {
            let mut engine = bounded_engine(rego.len());
            let path = engine
                .add_policy("bench.rego".to_owned(), (*rego).to_owned())
                .map_err(|error| EngineError::Parse(shown(&error)))?;
            let present = |rule: &&str| {
                engine.has_declared_rule_rooted_at("bench.rego", rule).unwrap_or(false)
            };
            let rules: Vec<String> = ENTRY_RULES
                .iter()
                .filter(|rule| present(rule))
                .map(|rule| format!("{path}.{rule}"))
                .collect();
            let Some(first) = rules.first() else {
                return Err(EngineError::NoEntry { package: path });
            };
            let refused = |error: &dyn std::fmt::Display| EngineError::Compile(shown(&error));
            let policy =
                engine.compile_with_entrypoint(&first.as_str().into()).map_err(|e| refused(&e))?;
            let entries: Vec<&str> = rules.iter().map(String::as_str).collect();
            let program =
                Compiler::compile_from_policy(&policy, &entries).map_err(|e| refused(&e))?;
            let mut vm = RegoVM::new();
            vm.load_program(program);
            Ok((vm, Value::from(serde_json::Value::Object((*parameters).clone()))))
        });
        Ok(Self { policies: compiled.collect::<Result<_, _>>()? })
    }

    /// Rules that there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.policies.iter().map(|(vm, _)| vm.get_entry_point_count()).sum()
    }

    /// Parses an input and evaluates every rule on it; gives back how many are defined.
    ///
    /// # Errors
    /// When the input is no JSON, or a rule can't be evaluated.
    pub fn evaluate(&mut self, input: &str) -> Result<usize, String> {
        let base = Value::from_json_str(input).map_err(|error| error.to_string())?;
        let mut defined = 0;
        for (vm, parameters) in &mut self.policies {
            let mut input = base.clone();
            if let Ok(members) = input.as_object_mut() {
                members.insert(Value::from("parameters"), parameters.clone());
            }
            vm.set_input(input);
            for rule in 0..vm.get_entry_point_count() {
                let said =
                    vm.execute_entry_point_by_index(rule).map_err(|error| error.to_string())?;
                defined += usize::from(said != Value::Undefined);
            }
        }
        Ok(defined)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_rule_is_evaluated() {
        let rego =
            "package p\n\nallow := input.n > input.parameters.most\n\nwarnings contains \"w\"\n";
        let parameters = json!({"most": 3}).as_object().cloned().unwrap_or_default();
        let mut rules = RuleByRule::new(&[(rego, &parameters)]).unwrap();
        assert_eq!((rules.rules(), rules.evaluate(r#"{"n": 4}"#)), (2, Ok(2)));
        assert!(rules.evaluate("{").is_err());
        assert!(RuleByRule::new(&[("package p\n\nx := 1\n", &parameters)]).is_err());
    }
}
