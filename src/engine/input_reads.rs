//! Where a program reads its input. A program whose every look at the input is known can be run so
//! that it tells, in order, what it has read; what it says is then a function of that alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regorus::Value;
use regorus::rvm::instructions::{Instruction, InstructionData, LiteralOrRegister};
use regorus::rvm::program::Program;

use super::probe::{self, Body};

/// Places that one program may read, and that one run may have read.
const MOST_READS: usize = 256;

thread_local! {
    static READ: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A program that tells which places of its input it reads.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) program: Arc<Program>,
    /// The places by number: members of members, without `input`.
    pub(super) places: Vec<Vec<String>>,
}

impl Telling {
    /// None where the program looks at its input in a way that can't be told, such as handing it to a
    /// function as a whole.
    pub(super) fn new(program: &Program) -> Option<Self> {
        let bodies = probe::bodies(program);
        let mut places: Vec<Vec<String>> = Vec::new();
        let mut probes: BTreeMap<usize, u32> = BTreeMap::new();
        for (pc, place) in reads(program, &bodies)? {
            let number = places.iter().position(|known| *known == place).unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            });
            probes.insert(pc, u32::try_from(number).ok()?);
        }
        if places.len() > MOST_READS {
            return None;
        }
        let program = probe::with_reads(program, &bodies, &probes)?;
        Some(Self { program: Arc::new(program), places })
    }

    /// Runs something with this program on this thread and says which places it read, in the order of
    /// their first reading; none where there are too many.
    pub(super) fn told<T>(run: impl FnOnce() -> T) -> (T, Option<Vec<u32>>) {
        READ.with_borrow_mut(Vec::clear);
        let result = run();
        let read = READ.with_borrow_mut(std::mem::take);
        (result, Some(read).filter(|read| read.len() <= MOST_READS))
    }
}

/// Called by the program before it reads a place.
pub(super) fn note(args: &[Value]) {
    let place = args.first().and_then(|place| place.as_u64().ok());
    let place = place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX);
    READ.with_borrow_mut(|read| {
        if read.len() <= MOST_READS && !read.contains(&place) {
            read.push(place);
        }
    });
}

/// Each instruction that reads the input, with the place. None where the input is used otherwise.
///
/// regorus gives every value of a definition a register of its own and loads the input once for each
/// definition, so whatever names a register that holds it uses the input.
fn reads(program: &Program, bodies: &[(Body, usize, usize)]) -> Option<Vec<(usize, Vec<String>)>> {
    let mut definitions: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
    for (body, start, end) in bodies {
        definitions.entry((body.rule, body.definition)).or_default().push((*start, *end));
    }
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for ranges in definitions.values() {
        let places: Vec<usize> = ranges.iter().flat_map(|(start, end)| *start..=*end).collect();
        let mut holding = BTreeSet::new();
        for pc in &places {
            if let Some(Instruction::LoadInput { dest }) = program.instructions.get(*pc) {
                holding.insert(*dest);
                known.insert(*pc);
            }
        }
        if holding.is_empty() {
            continue;
        }
        for pc in places {
            let instruction = program.instructions.get(pc)?;
            let used = uses(instruction, &program.instruction_data)?;
            if used.iter().any(|register| holding.contains(register))
                && !matches!(instruction, Instruction::LoadInput { .. })
            {
                found.push((pc, place(instruction, program, &holding)?));
            }
        }
    }
    let all_known = program.instructions.iter().enumerate().all(|(pc, instruction)| {
        !matches!(instruction, Instruction::LoadInput { .. }) || known.contains(&pc)
    });
    all_known.then_some(found)
}

/// The place that an instruction reads: as far as its members are known before the run, at least one.
fn place(
    instruction: &Instruction,
    program: &Program,
    holding: &BTreeSet<u8>,
) -> Option<Vec<String>> {
    let member = |index: u16| match program.literals.get(usize::from(index)) {
        Some(Value::String(name)) => Some(name.to_string()),
        _ => None,
    };
    let place: Vec<String> = match instruction {
        Instruction::IndexLiteral { dest, container, literal_idx } => {
            if !holding.contains(container) || holding.contains(dest) {
                return None;
            }
            member(*literal_idx).into_iter().collect()
        }
        Instruction::ChainedIndex { params_index } => {
            let all = &program.instruction_data.chained_index_params;
            let params = all.get(usize::from(*params_index))?;
            let used_otherwise = holding.contains(&params.dest)
                || params.path_components.iter().any(
                    |part| matches!(part, LiteralOrRegister::Register(r) if holding.contains(r)),
                );
            if !holding.contains(&params.root) || used_otherwise {
                return None;
            }
            let members = params.path_components.iter().map_while(|part| match part {
                LiteralOrRegister::Literal(index) => member(*index),
                LiteralOrRegister::Register(_) => None,
            });
            members.collect()
        }
        _ => return None,
    };
    (!place.is_empty()).then_some(place)
}

/// The registers that an instruction names, read or written. None for those that a policy's program
/// doesn't have.
fn uses(instruction: &Instruction, data: &InstructionData) -> Option<Vec<u8>> {
    use Instruction as I;

    let at = |index: &u16| usize::from(*index);
    Some(match instruction {
        I::Load { dest, .. }
        | I::LoadTrue { dest }
        | I::LoadFalse { dest }
        | I::LoadNull { dest }
        | I::LoadBool { dest, .. }
        | I::LoadData { dest }
        | I::LoadInput { dest }
        | I::CallRule { dest, .. } => vec![*dest],
        I::Move { dest, src } => vec![*dest, *src],
        I::Add { dest, left, right }
        | I::Sub { dest, left, right }
        | I::Mul { dest, left, right }
        | I::Div { dest, left, right }
        | I::Mod { dest, left, right }
        | I::Eq { dest, left, right }
        | I::Ne { dest, left, right }
        | I::Lt { dest, left, right }
        | I::Le { dest, left, right }
        | I::Gt { dest, left, right }
        | I::Ge { dest, left, right }
        | I::And { dest, left, right }
        | I::Or { dest, left, right } => vec![*dest, *left, *right],
        I::Not { dest, operand } => vec![*dest, *operand],
        I::BuiltinCall { params_index } => {
            let params = data.builtin_call_params.get(at(params_index))?;
            with(params.dest, params.arg_registers())
        }
        I::FunctionCall { params_index } => {
            let params = data.function_call_params.get(at(params_index))?;
            with(params.dest, params.arg_registers())
        }
        I::Return { value } => vec![*value],
        I::ObjectSet { obj, key, value } => vec![*obj, *key, *value],
        I::ObjectCreate { params_index } => {
            let params = data.object_create_params.get(at(params_index))?;
            let literal = params.literal_key_fields.iter().map(|(_, value)| *value);
            let others = params.fields.iter().flat_map(|(key, value)| [*key, *value]);
            std::iter::once(params.dest).chain(literal).chain(others).collect()
        }
        I::Index { dest, container, key } => vec![*dest, *container, *key],
        I::IndexLiteral { dest, container, .. } => vec![*dest, *container],
        I::ChainedIndex { params_index } => {
            let params = data.chained_index_params.get(at(params_index))?;
            let mut used = with(params.dest, &registers(&params.path_components));
            used.push(params.root);
            used
        }
        I::ArrayNew { dest } | I::SetNew { dest } => vec![*dest],
        I::ArrayPush { arr, value } => vec![*arr, *value],
        I::ArrayCreate { params_index } => {
            let params = data.array_create_params.get(at(params_index))?;
            with(params.dest, &params.elements)
        }
        I::SetAdd { set, value } => vec![*set, *value],
        I::SetCreate { params_index } => {
            let params = data.set_create_params.get(at(params_index))?;
            with(params.dest, &params.elements)
        }
        I::Contains { dest, collection, value } => vec![*dest, *collection, *value],
        I::Count { dest, collection } => vec![*dest, *collection],
        I::AssertEq { left, right } => vec![*left, *right],
        I::Guard { register, .. } => vec![*register],
        I::LoopStart { params_index } => {
            let p = data.loop_params.get(at(params_index))?;
            vec![p.collection, p.key_reg, p.value_reg, p.result_reg]
        }
        I::RuleInit { result_reg, .. } => vec![*result_reg],
        I::VirtualDataDocumentLookup { params_index } => {
            let params = data.virtual_data_document_lookup_params.get(at(params_index))?;
            with(params.dest, &registers(&params.path_components))
        }
        I::ComprehensionBegin { params_index } => {
            let p = data.comprehension_begin_params.get(at(params_index))?;
            vec![p.collection_reg, p.result_reg, p.key_reg, p.value_reg]
        }
        I::ComprehensionYield { value_reg, key_reg } => {
            std::iter::once(*value_reg).chain(*key_reg).collect()
        }
        I::LoopNext { .. }
        | I::DestructuringSuccess {}
        | I::RuleReturn {}
        | I::Halt {}
        | I::ComprehensionEnd {} => Vec::new(),
        _ => return None,
    })
}

fn with(dest: u8, others: &[u8]) -> Vec<u8> {
    std::iter::once(dest).chain(others.iter().copied()).collect()
}

fn registers(parts: &[LiteralOrRegister]) -> Vec<u8> {
    let register = |part: &LiteralOrRegister| match part {
        LiteralOrRegister::Register(register) => Some(*register),
        LiteralOrRegister::Literal(_) => None,
    };
    parts.iter().filter_map(register).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compile::{CompileLimits, compile};
    use super::*;

    fn places(body: &str) -> Option<Vec<String>> {
        let limits = CompileLimits { bytes: 65_536, nesting: 16 };
        let compiled = compile("p.rego", &format!("package p\n\n{body}\n"), &limits).unwrap();
        let telling = Telling::new(&compiled.program)?;
        let mut places: Vec<String> = telling.places.iter().map(|place| place.join(".")).collect();
        places.sort();
        Some(places)
    }

    #[test]
    fn every_look_at_the_input_is_known_or_the_program_is_not_taken() {
        let known = [
            ("allow := true", ""),
            ("allow := input.action == \"x\"", "action"),
            ("allow := input.a.b.c > input.a.b.d", "a.b.c a.b.d"),
            ("allow if input[\"a b\"].c", "a b.c"),
            // A member that isn't known before the run: all of what holds it.
            ("allow if { some k in [\"x\"]; input.a[k].b }", "a"),
            ("allow if { some v in input.list; v > 1 }", "list"),
            ("allow if { some k, v in input.members; k == v }", "members"),
            ("allow if input.a[0] == 1", "a"),
            ("f(x) := x + 1\n\nallow if f(input.n) > 2", "n"),
            ("f(x) := x + input.m\n\nallow if f(1) > 2", "m"),
            ("allow if { every x in input.xs { x > input.least } }", "least xs"),
            ("allow if count({x | some x in input.xs; x != input.not}) > 1", "not xs"),
            ("warnings contains input.w\n\nallow if not input.z", "w z"),
            ("allow := false if { input.a } else := true if { input.b }", "a b"),
        ];
        for (body, expected) in known {
            let found = places(body).map(|places| places.join(" "));
            assert_eq!(found.as_deref(), Some(expected), "{body}");
        }
        let unknown = [
            "allow if input == {\"a\": 1}",
            "allow if { some k in [\"x\"]; input[k] }",
            "allow if { some k, v in input; k == v }",
            "f(x) := x.a\n\nallow if f(input)",
            "allow if count(input) > 1",
            "allow if { x := input; x.a }",
            "allow if count([input]) > 1",
            "allow if { {\"a\": input}.a.b }",
        ];
        for body in unknown {
            assert_eq!(places(body), None, "{body}");
        }
    }
}
