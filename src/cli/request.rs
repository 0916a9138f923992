//! A check's request from flags, a file or standard input: what `check` asks and `eval` tries.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};

/// Flags that make a request.
#[derive(Args, Debug, Default)]
pub(crate) struct RequestFlags {
    /// What the agent is about to do, for example llm_call
    #[arg(long, short)]
    action: Option<String>,
    /// What it is about to do it to: text, a JSON object, or key=value, which may be repeated
    #[arg(long, short, value_name = "RESOURCE")]
    resource: Vec<String>,
    /// Context, key=value: the value is JSON or text, and a.b=1 makes {"a": {"b": 1}}; may be
    /// repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// Package of a policy to add to those that apply
    #[arg(long, short)]
    package: Option<String>,
    /// Read the request from a file, - for standard input; flags are laid over it
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What the flags make.
pub(crate) enum Given {
    /// Bytes from a file alone.
    Text(Vec<u8>),
    /// Members from flags, over those of a file.
    Members(Map<String, Value>),
}

impl RequestFlags {
    /// The request's bytes: sent as they are when they come from a file alone, so that the worker
    /// judges them, not we.
    pub(crate) fn body(&self) -> anyhow::Result<Vec<u8>> {
        Ok(match self.given()? {
            Given::Text(text) => text,
            Given::Members(members) => serde_json::to_vec(&members)?,
        })
    }

    /// The request, from wherever it comes.
    pub(crate) fn given(&self) -> anyhow::Result<Given> {
        let from_flags = self.action.is_some() || !self.resource.is_empty();
        let text = match &self.file {
            Some(path) => Some(read(path, "--file")?),
            None if !from_flags && !std::io::stdin().is_terminal() => Some(standard_input()?),
            None => None,
        };
        let plain = !from_flags && self.context.is_empty() && self.package.is_none();
        let mut request: Map<String, Value> = match text {
            Some(text) if plain => return Ok(Given::Text(text)),
            Some(text) => serde_json::from_slice(&text)
                .context("the request must be a JSON object for flags to be laid over it")?,
            None if !from_flags => {
                bail!("what is to be checked? Give --action and --resource, or --file; see --help")
            }
            None => Map::new(),
        };
        if let Some(action) = &self.action {
            request.insert("action".into(), action.as_str().into());
        }
        if !self.resource.is_empty() {
            request.insert("resource".into(), resource(&self.resource)?);
        }
        if let Some(package) = &self.package {
            request.insert("package".into(), package.as_str().into());
        }
        if !self.context.is_empty() {
            let context = request
                .entry("context")
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
                .context("context must be an object")?;
            for pair in &self.context {
                set(context, pair).with_context(|| format!("--context {pair}"))?;
            }
        }
        Ok(Given::Members(request))
    }
}

/// A file that a flag names, `-` for standard input.
pub(crate) fn read(path: &Path, flag: &str) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        return standard_input();
    }
    std::fs::read(path).with_context(|| format!("{flag} {} can't be read", path.display()))
}

/// key=value pairs as an object.
pub(crate) fn pairs(given: &[String], flag: &str) -> anyhow::Result<Map<String, Value>> {
    let mut members = Map::new();
    for pair in given {
        set(&mut members, pair).with_context(|| format!("{flag} {pair}"))?;
    }
    Ok(members)
}

fn standard_input() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("standard input can't be read")?;
    Ok(text)
}

/// Several key=value make an object; one alone too, unless it is plainly a text or a JSON object.
fn resource(given: &[String]) -> anyhow::Result<Value> {
    if let [one] = given {
        if one.starts_with('{') {
            return serde_json::from_str(one)
                .with_context(|| format!("--resource {one} isn't JSON"));
        }
        let is_pair = one.split_once('=').is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        });
        if !is_pair {
            return Ok(Value::String(one.clone()));
        }
    }
    Ok(Value::Object(pairs(given, "--resource")?))
}

/// Sets `a.b=value` in an object.
pub(crate) fn set(members: &mut Map<String, Value>, pair: &str) -> anyhow::Result<()> {
    let (path, value) = pair.split_once('=').context("write it as key=value")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    set_value(members, path, value)
}

/// Sets `a.b` in an object.
pub(crate) fn set_value(
    members: &mut Map<String, Value>,
    path: &str,
    value: Value,
) -> anyhow::Result<()> {
    let mut keys = path.split('.').peekable();
    let mut at = members;
    while let Some(key) = keys.next() {
        if key.is_empty() {
            bail!("the key `{path}` has an empty part");
        }
        if keys.peek().is_none() {
            at.insert(key.to_owned(), value);
            return Ok(());
        }
        at = at
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .with_context(|| format!("`{key}` is no object in an earlier part"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_make_objects() {
        let mut members = Map::new();
        for pair in ["budget.remaining_usd=0.5", "agent=planner", "budget.ok=true", "q=a=b"] {
            set(&mut members, pair).unwrap();
        }
        assert_eq!(
            Value::Object(members.clone()),
            json!({"budget": {"remaining_usd": 0.5, "ok": true}, "agent": "planner", "q": "a=b"})
        );
        for bad in ["x", "=1", "a..b=1", "agent.x=1"] {
            assert!(set(&mut members, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_resource_is_text_an_object_or_pairs() {
        let of = |given: &[&str]| {
            resource(&given.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(of(&["/data/.env"]), json!("/data/.env"));
        assert_eq!(of(&["https://x.org/?a=b"]), json!("https://x.org/?a=b"));
        assert_eq!(of(&["model=gpt-4"]), json!({"model": "gpt-4"}));
        assert_eq!(of(&["{\"model\": \"gpt-4\"}"]), json!({"model": "gpt-4"}));
        assert_eq!(of(&["model=gpt-4", "n=3"]), json!({"model": "gpt-4", "n": 3}));
    }
}
