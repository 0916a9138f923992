//! Builtin functions whose result can be far larger than their arguments, made to look before they
//! leap. The VM looks at its memory after a call; three calls of `replace` on a line of text are
//! terabytes, and the process would be gone by then.

use std::collections::BTreeMap;

use regorus::rvm::program::Program;
use regorus::unstable::{BUILTINS, BuiltinFcn};
use regorus::{LimitError, Value};

/// Bytes of one call's result, about.
const MOST_BYTES: usize = 16 << 20;
/// Bytes of a value beside its text.
const NODE: usize = 16;
/// Levels of a value that are looked at; a deeper one is refused.
const MOST_DEPTH: usize = 200;
/// Digits of a width in a format.
const WIDTH_DIGITS: usize = 4;

/// A builtin and how large its result may become.
trait Bounded {
    const NAME: &'static str;
    /// About how many bytes the result has at most.
    fn size(args: &[Value]) -> usize;
}

/// Puts the bounded functions into a program.
pub(super) fn bound(program: &mut Program) {
    let mut bounded: BTreeMap<&str, fn(&mut BuiltinFcn)> = BTreeMap::new();
    bounded.insert(Concat::NAME, guard::<Concat>);
    bounded.insert(Replace::NAME, guard::<Replace>);
    bounded.insert(ReplaceMany::NAME, guard::<ReplaceMany>);
    bounded.insert(ReplaceRegex::NAME, guard::<ReplaceRegex>);
    bounded.insert(Format::NAME, guard::<Format>);
    bounded.insert(Split::NAME, guard::<Split>);
    bounded.insert(Json::NAME, guard::<Json>);
    bounded.insert(JsonWith::NAME, guard::<JsonWith>);
    for (info, function) in program.builtin_info_table.iter().zip(&mut program.resolved_builtins) {
        if let Some(guard) = bounded.get(info.name.as_str()) {
            guard(function);
        }
    }
}

fn guard<B: Bounded>(function: &mut BuiltinFcn) {
    function.0 = |span, expressions, args, strict| {
        let size = B::size(args);
        let limit = MOST_BYTES;
        if size > limit {
            let number = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
            Err(LimitError::MemoryLimitExceeded { usage: number(size), limit: number(limit) })?;
        }
        match BUILTINS.get(B::NAME) {
            Some(original) => (original.0)(span, expressions, args, strict),
            None => Ok(Value::Undefined),
        }
    };
}

fn text(args: &[Value], index: usize) -> &str {
    match args.get(index) {
        Some(Value::String(text)) => text.as_ref(),
        _ => "",
    }
}

/// About the bytes of a value as text. Stops counting above the limit.
fn json_size(value: &Value) -> usize {
    let mut left = MOST_BYTES + 1;
    match subtract(value, &mut left, MOST_DEPTH) {
        Some(()) => MOST_BYTES + 1 - left,
        None => usize::MAX,
    }
}

fn subtract(value: &Value, left: &mut usize, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    *left = left.checked_sub(NODE)?;
    match value {
        Value::String(text) => *left = left.checked_sub(text.len())?,
        Value::Array(items) => items.iter().try_for_each(|item| subtract(item, left, depth))?,
        Value::Set(items) => items.iter().try_for_each(|item| subtract(item, left, depth))?,
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            subtract(key, left, depth)?;
            subtract(value, left, depth)
        })?,
        _ => (),
    }
    Some(())
}

fn replaced(length: usize, count: usize, old: usize, new: usize) -> usize {
    length.saturating_sub(count.saturating_mul(old)).saturating_add(count.saturating_mul(new))
}

struct Concat;
impl Bounded for Concat {
    const NAME: &'static str = "concat";
    fn size(args: &[Value]) -> usize {
        let delimiter = text(args, 0).len();
        let one = |size: usize, item: &Value| match item {
            Value::String(text) => size.saturating_add(text.len()).saturating_add(delimiter),
            _ => size,
        };
        match args.get(1) {
            Some(Value::Array(items)) => items.iter().fold(0, one),
            Some(Value::Set(items)) => items.iter().fold(0, one),
            _ => 0,
        }
    }
}

struct Replace;
impl Bounded for Replace {
    const NAME: &'static str = "replace";
    fn size(args: &[Value]) -> usize {
        let (text, old, new) = (text(args, 0), text(args, 1), text(args, 2));
        replaced(text.len(), text.matches(old).count(), old.len(), new.len())
    }
}

struct ReplaceMany;
impl Bounded for ReplaceMany {
    const NAME: &'static str = "strings.replace_n";
    fn size(args: &[Value]) -> usize {
        let Some(Value::Object(patterns)) = args.first() else { return 0 };
        patterns.iter().fold(text(args, 1).len(), |size, (old, new)| match (old, new) {
            (Value::String(old), Value::String(new)) if new.len() > old.len() => {
                // Each replacement may be in what another one has put there.
                let count = if old.is_empty() { size.saturating_add(1) } else { size / old.len() };
                replaced(size, count, old.len(), new.len())
            }
            _ => size,
        })
    }
}

struct ReplaceRegex;
impl Bounded for ReplaceRegex {
    const NAME: &'static str = "regex.replace";
    fn size(args: &[Value]) -> usize {
        let (text, new) = (text(args, 0), text(args, 2));
        let groups = new.matches('$').count();
        let literal = text.len().saturating_add(1).saturating_mul(new.len());
        text.len().saturating_mul(groups.saturating_add(1)).saturating_add(literal)
    }
}

struct Format;
impl Bounded for Format {
    const NAME: &'static str = "sprintf";
    fn size(args: &[Value]) -> usize {
        let format = text(args, 0);
        let digits = format.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
        if digits > WIDTH_DIGITS && format.contains('%') {
            let wide = |verb: &str| {
                let width = verb.trim_start_matches(['-', '+', '#', ' ', '.']);
                width.chars().take_while(char::is_ascii_digit).count() > WIDTH_DIGITS
            };
            if format.split('%').skip(1).any(wide) {
                return usize::MAX;
            }
        }
        format.len().saturating_add(args.get(1).map_or(0, json_size))
    }
}

struct Split;
impl Bounded for Split {
    const NAME: &'static str = "split";
    fn size(args: &[Value]) -> usize {
        let (text, delimiter) = (text(args, 0), text(args, 1));
        text.matches(delimiter).count().saturating_mul(NODE).saturating_add(text.len())
    }
}

struct Json;
impl Bounded for Json {
    const NAME: &'static str = "json.marshal";
    fn size(args: &[Value]) -> usize {
        args.first().map_or(0, json_size)
    }
}

struct JsonWith;
impl Bounded for JsonWith {
    const NAME: &'static str = "json.marshal_with_options";
    fn size(args: &[Value]) -> usize {
        args.first().map_or(0, json_size)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::compile::{CompileLimits, compile};
    use super::super::evaluate::{EvaluationLimits, say};
    use super::super::warm::limited;
    use super::*;

    fn warns(body: &str) -> Result<Vec<String>, String> {
        let limits = EvaluationLimits {
            instructions: 25_000,
            time: Duration::from_secs(10),
            memory: 32 << 20,
            reasons: 10,
            reason_bytes: 64,
        };
        let rego = format!("package p\n\n{body}\n");
        let compile_limits = CompileLimits { bytes: 65_536, nesting: 16 };
        let compiled = compile("p.rego", &rego, &compile_limits).unwrap();
        let mut vm = limited(compiled.program.clone(), &limits);
        say(&mut vm, Value::new_object(), &limits).map(|said| said.warnings)
    }

    /// Each would be more than any machine has.
    #[test]
    fn what_would_fill_the_memory_is_refused_before_it_does() {
        let x = "x".repeat(900);
        let shared: String = (1..60).map(|n| format!("a{n} := [a{0}, a{0}]\n", n - 1)).collect();
        let bombs = [
            format!(
                "a := \"{x}\"\nb := replace(a, \"x\", a)\nc := replace(b, \"x\", b)\nd := count(c)"
            ),
            format!(
                "a := \"{x}\"\nb := replace(a, \"\", a)\nc := replace(b, \"\", b)\nd := count(c)"
            ),
            format!(
                "a := \"{x}\"\nb := strings.replace_n({{\"x\": a}}, a)\nc := strings.replace_n({{\"x\": b}}, b)\nd := count(c)"
            ),
            format!(
                "a := \"{x}\"\nb := regex.replace(a, \"x\", a)\nc := regex.replace(b, \"x\", b)\nd := count(c)"
            ),
            "d := count(sprintf(\"%999999999d\", [1]))".to_owned(),
            format!("a0 := \"x\"\n{shared}d := count(sprintf(\"%v\", [a59]))"),
            format!("a0 := \"x\"\n{shared}d := count(json.marshal(a59))"),
            format!(
                "a := concat(\"\", [x | some x in split(\"{x}\", \"\")])\n\
                 b := concat(\"\", [a | some x in split(\"{x}\", \"\")])\n\
                 c := concat(\"\", [b | some x in split(\"{x}\", \"\")])\nd := count(c)"
            ),
        ];
        for bomb in bombs {
            let start = Instant::now();
            let said = warns(&format!("{bomb}\n\nwarnings contains \"w\" if d > 1"));
            let error = said.expect_err(&bomb);
            assert!(error.contains("xceeded"), "{bomb}: {error}");
            assert!(start.elapsed() < Duration::from_secs(10), "{bomb}");
        }
    }

    #[test]
    fn ordinary_calls_are_as_they_were() {
        for call in [
            "replace(\"a-b\", \"-\", \"+\") == \"a+b\"",
            "strings.replace_n({\"a\": \"bb\"}, \"xax\") == \"xbbx\"",
            "regex.replace(\"a1\", \"[0-9]\", \"<$0>\") == \"a<1>\"",
            "sprintf(\"%03d %v 12345678\", [7, [\"x\"]]) == \"007 [\\\"x\\\"] 12345678\"",
            "concat(\",\", [\"a\", \"b\"]) == \"a,b\"",
            "split(\"a,b\", \",\") == [\"a\", \"b\"]",
            "json.marshal({\"a\": [1]}) == `{\"a\":[1]}`",
        ] {
            assert_eq!(
                warns(&format!("warnings contains \"w\" if {call}")),
                Ok(vec!["w".into()]),
                "{call}"
            );
        }
    }
}
