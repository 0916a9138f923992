//! Rules and functions that call themselves, refused at compilation as in OPA: the VM's stack
//! grows with the depth of calls, and no limit of the VM stops it before the thread's stack ends.

use std::collections::BTreeSet;

use regorus::rvm::instructions::Instruction;
use regorus::rvm::program::Program;

use super::error::EngineError;

/// Refuses a program in which a rule or function calls itself, directly or through others.
pub(super) fn check(program: &Program) -> Result<(), EngineError> {
    let calls: Vec<Vec<usize>> =
        (0..program.rule_infos.len()).map(|rule| called_by(program, rule)).collect();
    // Depth first without recursion of our own: 0 unseen, 1 on the path, 2 done.
    let mut state = vec![0_u8; calls.len()];
    for start in 0..calls.len() {
        let mut path = vec![(start, 0_usize)];
        while let Some((rule, next)) = path.last_mut() {
            let (rule, callee) = {
                let callee = calls.get(*rule).and_then(|called| called.get(*next)).copied();
                *next += 1;
                (*rule, callee)
            };
            let mark = |state: &mut Vec<u8>, value: u8| {
                if let Some(slot) = state.get_mut(rule) {
                    *slot = value;
                }
            };
            match callee {
                None => {
                    mark(&mut state, 2);
                    path.pop();
                }
                Some(callee) => {
                    mark(&mut state, 1);
                    match state.get(callee) {
                        Some(0) => path.push((callee, 0)),
                        Some(1) => return Err(recursive(program, callee)),
                        _ => (),
                    }
                }
            }
            if path.len() > calls.len() + 1 {
                return Err(recursive(program, rule));
            }
        }
    }
    Ok(())
}

fn recursive(program: &Program, rule: usize) -> EngineError {
    let name = program.rule_infos.get(rule).map_or("a rule", |info| info.name.as_str());
    EngineError::Compile(format!(
        "`{name}` calls itself, directly or through others; Rego has no recursion, use `every` \
         or a comprehension instead"
    ))
}

/// The rules that a rule's bodies call.
fn called_by(program: &Program, rule: usize) -> Vec<usize> {
    let Some(info) = program.rule_infos.get(rule) else { return Vec::new() };
    let starts = info
        .definitions
        .iter()
        .flatten()
        .copied()
        .chain(info.destructuring_blocks.iter().flatten().copied());
    let mut called = BTreeSet::new();
    for start in starts {
        let body = program.instructions.iter().skip(usize::try_from(start).unwrap_or(usize::MAX));
        for instruction in body {
            match instruction {
                Instruction::CallRule { rule_index, .. } => {
                    called.insert(usize::from(*rule_index));
                }
                Instruction::FunctionCall { params_index } => {
                    let params = program
                        .instruction_data
                        .function_call_params
                        .get(usize::from(*params_index));
                    called.extend(params.map(|params| usize::from(params.func_rule_index)));
                }
                Instruction::RuleReturn {} => break,
                _ => (),
            }
        }
    }
    called.into_iter().collect()
}
