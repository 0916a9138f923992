//! A program that tells what it does: the program of a policy with calls put into it that note
//! which lines are run and which definitions hold.
//!
//! regorus' own step mode is another interpreter with other ideas of a failing builtin inside a
//! loop. This is the one that decides, run as it always is, with more instructions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regorus::Value;
use regorus::rvm::instructions::{BuiltinCallParams, Instruction};
use regorus::rvm::program::{BuiltinInfo, Program, RuleType};
use regorus::unstable::BuiltinFcn;

use super::compile::ENTRY_POINT;
use super::{bounded, input_reads};

/// Values that are kept of definitions that held.
const MOST_VALUES: usize = 256;
/// Jump targets are 16 bits wide.
const MOST_INSTRUCTIONS: usize = 65_535;

/// A definition's body: rule, definition and body by number, as the program counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Body {
    pub(super) rule: usize,
    pub(super) definition: usize,
    pub(super) body: usize,
}

/// What a probe stands for.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Line(usize),
    Held(Body),
    /// A place of the input is read next.
    Read(u32),
}

/// What is put before an instruction.
struct Probe {
    mark: Mark,
    /// Registers whose values are noted; the probe is silent where one is undefined.
    registers: Vec<u8>,
}

/// What a run has noted.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) lines: BTreeSet<usize>,
    /// With the value, or the key and the value of an object's member.
    pub(super) held: Vec<(Body, Vec<serde_json::Value>)>,
}

thread_local! {
    static NOTED: RefCell<Vec<(usize, Vec<serde_json::Value>)>> = const { RefCell::new(Vec::new()) };
    static SEEN: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
}

/// A program with probes.
pub(super) struct Probed {
    pub(super) program: Arc<Program>,
    /// Lines that can be noted.
    pub(super) lines: BTreeSet<usize>,
    marks: Vec<Mark>,
}

impl Probed {
    /// Puts probes into a program. Where it would become too large, only those that tell which
    /// definitions hold.
    pub(super) fn new(program: &Program) -> Self {
        let bodies = bodies(program);
        let mut lines = BTreeSet::new();
        for (body, start, end) in &bodies {
            if !is_entry(program, *body) {
                lines.extend((*start..*end).filter_map(|pc| line_of(program, pc)));
            }
        }
        let held = held_probes(program, &bodies);
        let mut all = line_probes(program, &bodies);
        for (pc, probes) in held_probes(program, &bodies) {
            all.entry(pc).or_default().extend(probes);
        }
        let size = |probes: &BTreeMap<usize, Vec<Probe>>| {
            program.instructions.len() + 2 * probes.values().map(Vec::len).sum::<usize>()
        };
        let chosen = if size(&all) <= MOST_INSTRUCTIONS {
            all
        } else if size(&held) <= MOST_INSTRUCTIONS {
            held
        } else {
            BTreeMap::new()
        };
        let (program, marks) = insert(program, &bodies, chosen);
        Self { program: Arc::new(program), lines, marks }
    }

    /// Runs something with this program on this thread and says what was noted.
    pub(super) fn record<T>(&self, run: impl FnOnce() -> T) -> (T, Noted) {
        NOTED.with_borrow_mut(Vec::clear);
        SEEN.with_borrow_mut(BTreeSet::clear);
        let result = run();
        let mut noted = Noted::default();
        for (probe, values) in NOTED.with_borrow_mut(std::mem::take) {
            if let Some(Mark::Held(body)) = self.marks.get(probe) {
                noted.held.push((*body, values));
            }
        }
        for probe in SEEN.with_borrow_mut(std::mem::take) {
            if let Some(Mark::Line(line)) = self.marks.get(probe) {
                noted.lines.insert(*line);
            }
        }
        (result, noted)
    }
}

fn note(args: &[Value]) {
    let Some((probe, values)) = args.split_first() else { return };
    let Some(probe) = probe.as_u64().ok().and_then(|probe| usize::try_from(probe).ok()) else {
        return;
    };
    if values.is_empty() {
        SEEN.with_borrow_mut(|seen| {
            seen.insert(probe);
        });
        return;
    }
    NOTED.with_borrow_mut(|noted| {
        if noted.len() < MOST_VALUES {
            // Compared as bounded JSON: the values themselves may be too large to compare.
            let values: Vec<serde_json::Value> = values.iter().map(bounded::json).collect();
            if !noted.iter().any(|(p, v)| *p == probe && *v == values) {
                noted.push((probe, values));
            }
        }
    });
}

/// Every body with its first instruction and the one that ends it.
pub(super) fn bodies(program: &Program) -> Vec<(Body, usize, usize)> {
    let mut found = Vec::new();
    for (rule, info) in program.rule_infos.iter().enumerate() {
        for (definition, starts) in info.definitions.iter().enumerate() {
            for (body, start) in starts.iter().enumerate() {
                let start = usize::try_from(*start).unwrap_or(usize::MAX);
                let end = (start..program.instructions.len()).find(|pc| {
                    matches!(program.instructions.get(*pc), Some(Instruction::RuleReturn {}))
                });
                if let Some(end) = end {
                    found.push((Body { rule, definition, body }, start, end));
                }
            }
        }
    }
    found
}

fn is_entry(program: &Program, body: Body) -> bool {
    program.rule_infos.get(body.rule).is_none_or(|info| info.name == ENTRY_POINT)
}

/// The line of an instruction that stands for something in the text.
fn line_of(program: &Program, pc: usize) -> Option<usize> {
    match program.instructions.get(pc)? {
        // Their span is the whole body's, and they run also where nothing holds.
        Instruction::RuleInit { .. }
        | Instruction::RuleReturn {}
        | Instruction::LoopNext { .. }
        | Instruction::ComprehensionEnd {} => None,
        _ => program.instruction_spans.get(pc)?.as_ref().map(|span| span.line),
    }
}

/// A probe at each place where another line begins, or where a jump may arrive.
fn line_probes(program: &Program, bodies: &[(Body, usize, usize)]) -> BTreeMap<usize, Vec<Probe>> {
    let targets: BTreeSet<usize> = targets(program);
    let mut probes: BTreeMap<usize, Vec<Probe>> = BTreeMap::new();
    for (body, start, end) in bodies {
        if is_entry(program, *body) {
            continue;
        }
        let mut current = None;
        for pc in *start..*end {
            if targets.contains(&pc) {
                current = None;
            }
            if let Some(line) = line_of(program, pc).filter(|line| current != Some(*line)) {
                current = Some(line);
                let probe = Probe { mark: Mark::Line(line), registers: Vec::new() };
                probes.entry(pc).or_default().push(probe);
            }
        }
    }
    probes
}

/// A probe at each place where a body gives its value.
fn held_probes(program: &Program, bodies: &[(Body, usize, usize)]) -> BTreeMap<usize, Vec<Probe>> {
    let mut probes: BTreeMap<usize, Vec<Probe>> = BTreeMap::new();
    for (body, start, end) in bodies {
        let Some(info) = program.rule_infos.get(body.rule) else { continue };
        if is_entry(program, *body) || info.function_info.is_some() {
            continue;
        }
        let mut add = |pc: usize, registers: Vec<u8>| {
            let probe = Probe { mark: Mark::Held(*body), registers };
            probes.entry(pc).or_default().push(probe);
        };
        if info.rule_type == RuleType::Complete {
            add(*end, vec![info.result_reg]);
            continue;
        }
        for pc in *start..*end {
            match program.instructions.get(pc) {
                Some(Instruction::SetAdd { set, value }) if *set == info.result_reg => {
                    add(pc, vec![*value]);
                }
                Some(Instruction::ObjectSet { obj, key, value }) if *obj == info.result_reg => {
                    add(pc, vec![*key, *value]);
                }
                _ => (),
            }
        }
    }
    probes
}

/// A program that notes the places of its input before it reads them: their numbers by instruction.
/// None where there is no room for all.
pub(super) fn with_reads(
    program: &Program,
    bodies: &[(Body, usize, usize)],
    reads: &BTreeMap<usize, u32>,
) -> Option<Program> {
    if program.instructions.len() + 2 * reads.len() > MOST_INSTRUCTIONS {
        return None;
    }
    let probe = |place: &u32| vec![Probe { mark: Mark::Read(*place), registers: Vec::new() }];
    let probes = reads.iter().map(|(pc, place)| (*pc, probe(place))).collect();
    let (program, marks) = insert(program, bodies, probes);
    (marks.len() == reads.len()).then_some(program)
}

/// Instructions at which jumps arrive.
fn targets(program: &Program) -> BTreeSet<usize> {
    let data = &program.instruction_data;
    let loops = data.loop_params.iter().flat_map(|p| [p.body_start, p.loop_end]);
    let comprehensions =
        data.comprehension_begin_params.iter().flat_map(|p| [p.body_start, p.comprehension_end]);
    loops.chain(comprehensions).map(usize::from).collect()
}

/// Puts the probes in and moves every jump along.
fn insert(
    program: &Program,
    bodies: &[(Body, usize, usize)],
    probes: BTreeMap<usize, Vec<Probe>>,
) -> (Program, Vec<Mark>) {
    let mut new = program.clone();
    let mut marks = Vec::new();
    if probes.is_empty() {
        return (new, marks);
    }
    let noting = |args| -> BuiltinFcn {
        let function = |_: &_, _: &[_], args: &[Value], _| {
            note(args);
            Ok(Value::Bool(true))
        };
        (function, args)
    };
    let reading: BuiltinFcn = (
        |_, _, args, _| {
            input_reads::note(args);
            Ok(Value::Bool(true))
        },
        1,
    );
    let builtins: Vec<Option<u16>> =
        (1..=3).map(|args| add_builtin(&mut new, "note", noting(args))).collect();
    let reading = add_builtin(&mut new, "read", reading);
    let scratch = scratch_registers(&mut new, bodies);

    let mut moved: Vec<usize> = Vec::with_capacity(program.instructions.len() + 1);
    new.instructions.clear();
    new.instruction_spans.clear();
    for (pc, instruction) in program.instructions.iter().enumerate() {
        moved.push(new.instructions.len());
        let span = program.instruction_spans.get(pc).cloned().flatten();
        for probe in probes.get(&pc).map(Vec::as_slice).unwrap_or_default() {
            let (builtin, number) = match probe.mark {
                Mark::Read(place) => (reading, u64::from(place)),
                _ => (builtins.get(probe.registers.len()).copied().flatten(), marks.len() as u64),
            };
            let (Some(builtin_index), Some(scratch)) = (builtin, scratch.get(&owner(bodies, pc)))
            else {
                continue;
            };
            let Ok(literal_idx) = u16::try_from(new.literals.len()) else { continue };
            new.literals.push(Value::from(number));
            marks.push(probe.mark);
            let mut args = [0_u8; 8];
            let registers = std::iter::once(scratch).chain(&probe.registers);
            args.iter_mut().zip(registers).for_each(|(arg, register)| *arg = *register);
            let params_index = new.instruction_data.add_builtin_call_params(BuiltinCallParams {
                dest: *scratch,
                builtin_index,
                num_args: u8::try_from(probe.registers.len() + 1).unwrap_or(u8::MAX),
                args,
            });
            new.add_instruction(Instruction::Load { dest: *scratch, literal_idx }, span.clone());
            new.add_instruction(Instruction::BuiltinCall { params_index }, span.clone());
        }
        new.add_instruction(*instruction, span);
    }
    moved.push(new.instructions.len());
    move_jumps(&mut new, &moved);
    (new, marks)
}

/// The rule whose body an instruction is in.
fn owner(bodies: &[(Body, usize, usize)], pc: usize) -> Option<usize> {
    let at = bodies.iter().find(|(_, start, end)| (*start..=*end).contains(&pc));
    at.map(|(body, ..)| body.rule)
}

/// One more register for each rule that has room for it, to hold a probe's number.
fn scratch_registers(
    program: &mut Program,
    bodies: &[(Body, usize, usize)],
) -> BTreeMap<Option<usize>, u8> {
    let mut scratch = BTreeMap::new();
    for (body, ..) in bodies {
        if scratch.contains_key(&Some(body.rule)) {
            continue;
        }
        if let Some(info) = program.rule_infos.get_mut(body.rule)
            && info.num_registers < u8::MAX
        {
            scratch.insert(Some(body.rule), info.num_registers);
            info.num_registers += 1;
            program.max_rule_window_size = program.max_rule_window_size.max(info.num_registers);
        }
    }
    scratch
}

fn add_builtin(program: &mut Program, name: &str, function: BuiltinFcn) -> Option<u16> {
    let index = u16::try_from(program.builtin_info_table.len()).ok()?;
    let num_args = function.1;
    program.builtin_info_table.push(BuiltinInfo {
        name: format!("sluicegate.{name}_{num_args}"),
        num_args: u16::from(num_args),
    });
    program.resolved_builtins.push(function);
    Some(index)
}

fn move_jumps(program: &mut Program, moved: &[usize]) {
    let wide = |old: usize| moved.get(old).copied().unwrap_or(old);
    let narrow = |old: &mut u16| *old = u16::try_from(wide(usize::from(*old))).unwrap_or(*old);
    let place = |old: &mut u32| {
        let new = wide(usize::try_from(*old).unwrap_or(usize::MAX));
        *old = u32::try_from(new).unwrap_or(*old);
    };
    for params in &mut program.instruction_data.loop_params {
        narrow(&mut params.body_start);
        narrow(&mut params.loop_end);
    }
    for params in &mut program.instruction_data.comprehension_begin_params {
        narrow(&mut params.body_start);
        narrow(&mut params.comprehension_end);
    }
    for instruction in &mut program.instructions {
        if let Instruction::LoopNext { body_start, loop_end } = instruction {
            narrow(body_start);
            narrow(loop_end);
        }
    }
    for info in &mut program.rule_infos {
        let mut definitions = info.definitions.as_ref().clone();
        definitions.iter_mut().flatten().for_each(place);
        info.definitions = Arc::new(definitions);
        info.destructuring_blocks.iter_mut().flatten().for_each(place);
    }
    for (_, entry) in &mut program.entry_points {
        *entry = wide(*entry);
    }
    place(&mut program.main_entry_point);
}
