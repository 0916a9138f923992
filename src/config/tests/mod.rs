//! Tests of the configuration as a whole. None touches the process's environment or its folder.

mod loading;
mod properties;
mod refusing;
mod shipped;
mod validating;

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::Value;

use super::value::Kind;
use super::*;

/// A folder of its own with these files in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn main(text: &str) -> Self {
        Self::new(&[(MAIN_FILE, text)])
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn sources(&self) -> Sources {
        Sources { folder: self.path().to_owned(), ..Sources::default() }
    }
}

/// No files at all: the folder doesn't exist.
fn no_files() -> Sources {
    Sources { folder: "/nonexistent".into(), ..Sources::default() }
}

fn env(variables: &[(&str, &str)]) -> Sources {
    let env = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Sources { env, ..no_files() }
}

fn set(overrides: &[&str]) -> Sources {
    let overrides = overrides.iter().map(|text| text.parse().unwrap()).collect();
    Sources { overrides, ..no_files() }
}

/// The error's text; the sources must be refused.
fn refusal(sources: &Sources) -> String {
    load(sources).expect_err("a refusal").to_string()
}

#[test]
fn the_table_of_keys_is_the_model() {
    let mut section = String::new();
    let mut model = Vec::new();
    for line in toml::to_string(&Config::default()).unwrap().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((name, _)) = line.split_once(" = ") {
            model.push(format!("{section}.{name}"));
        }
    }
    let table: Vec<&str> = keys().iter().map(|key| key.path).collect();
    assert_eq!(table, model, "src/config/keys.rs must hold the model's keys in its order");
}

#[test]
fn each_kind_is_what_the_model_takes() {
    for key in keys() {
        let texts: &[&str] = match key.kind {
            Kind::Flag => &["true", "false"],
            Kind::Count => &["1"],
            Kind::Factor => &["1.5"],
            Kind::Span => &["90m"],
            Kind::Size => &["1023KiB"],
            Kind::Address => &["[::1]:1"],
            Kind::List => &["a.,b."],
            Kind::Choice(words) => words,
            Kind::Text | Kind::Secret | Kind::Path | Kind::Url => &["007", "true", ""],
        };
        for text in texts {
            let value = key.kind.read_text(text).unwrap();
            let nested = figment::util::nest(key.path, value.clone());
            let figment = figment::Figment::from(figment::providers::Serialized::defaults(nested));
            let config: Config = figment.extract().unwrap_or_else(|e| panic!("{}: {e}", key.path));
            // What the model makes of it is the value, whatever it takes besides.
            let back = Value::serialize(&config).unwrap().find(key.path).unwrap();
            if key.kind != Kind::Secret {
                assert_eq!(key.kind.show(&back), key.kind.show(&value), "{}", key.path);
            }
        }
        if let Kind::Choice(_) = key.kind {
            let nested = figment::util::nest(key.path, "else".into());
            let figment = figment::Figment::from(figment::providers::Serialized::defaults(nested));
            assert!(figment.extract::<Config>().is_err(), "{} is no choice", key.path);
        }
    }
}

#[test]
fn variables_of_keys_are_unique() {
    let variables: BTreeMap<String, &str> =
        keys().iter().map(|key| (key.variable(), key.path)).collect();
    assert_eq!(variables.len(), keys().len());
    assert_eq!(variables["SLUICEGATE_NATS_URL"], "nats.url");
}
