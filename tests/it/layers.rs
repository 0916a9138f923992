//! The layers of ARCHITECTURE.md, checked over the source text.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file without comments and tests.
struct Source {
    /// Path below `src/`.
    path: String,
    /// Its code, line by line; what is a comment or a test is an empty line.
    lines: Vec<String>,
    /// All its lines.
    length: usize,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let mut inside_tests = false;
        let lines = text.lines().map(|line| {
            // By our own style the tests of a file are its last module.
            inside_tests |= line == "#[cfg(test)]";
            let code = if inside_tests { "" } else { line.split("//").next().unwrap_or_default() };
            code.to_owned()
        });
        Self { path, lines: lines.collect(), length: text.lines().count() }
    }

    /// The layer: the first folder, or the file's name.
    fn layer(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Where a text stands as a whole word.
    fn places(&self, word: &str) -> Vec<String> {
        let found = self.lines.iter().enumerate().filter(|(_, line)| has_word(line, word));
        found
            .map(|(number, line)| format!("{}:{}: {}", self.path, number + 1, line.trim()))
            .collect()
    }

    /// The layers of ours that it names after `crate::`, also in braces.
    fn imports(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let code = self.lines.join("\n");
        for (at, _) in code.match_indices("crate::") {
            let number = code[..at].matches('\n').count() + 1;
            let rest = &code[at + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => group.split('}').next().unwrap().split(',').collect(),
                None => vec![rest],
            };
            for name in names {
                let name = name.trim_start();
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                let name = &name[..end.unwrap_or(name.len())];
                if !name.is_empty() {
                    found.push((name.to_owned(), number));
                }
            }
        }
        found
    }
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let in_text = line[..at].matches('"').count() % 2 == 1;
        !in_text && !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part)
    })
}

/// Every file of the product; what only tests use is not of it.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    gather(&root, &mut files);
    let sources: Vec<Source> = files.iter().map(|path| Source::read(&root, path)).collect();
    assert!(sources.len() > 50, "the sources are there");
    sources
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            gather(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// A crate is imported only where it may be.
fn assert_only(krate: &str, may: impl Fn(&Source) -> bool) {
    let sources = sources();
    let outside = sources.iter().filter(|source| !may(source));
    let found: Vec<String> = outside.flat_map(|source| source.places(krate)).collect();
    assert_none(&format!("`{krate}` where it may not be"), found);
    let inside = sources.iter().filter(|source| may(source));
    assert!(inside.flat_map(|s| s.places(krate)).count() > 0, "`{krate}` is used at all");
}

#[test]
fn the_domain_is_pure() {
    for krate in
        ["tokio", "tokio_util", "regorus", "async_nats", "clickhouse", "axum", "reqwest", "notify"]
    {
        let sources = sources();
        for layer in ["domain", "contract"] {
            let of_layer = sources.iter().filter(|source| source.layer() == layer);
            assert_none(layer, of_layer.flat_map(|source| source.places(krate)).collect());
        }
    }
}

#[test]
fn each_outer_crate_has_one_home() {
    assert_only("regorus", |source| source.layer() == "engine");
    // Who uses the client builds no bus: it is the one exception.
    assert_only("async_nats", |source| ["bus", "client"].contains(&source.layer()));
    assert_only("backoff", |source| {
        // The word also names a section of the configuration.
        source.path == "runtime/retry.rs" || !source.lines.iter().any(|l| l.contains("backoff::"))
    });
    assert_only("anyhow", |source| source.layer() == "cli");
    assert_only("clap", |source| source.layer() == "cli");
    assert_only("figment", |source| source.layer() == "config");
}

/// `clickhouse` also names a section of the configuration and an embedded server: only paths count.
#[test]
fn only_the_store_speaks_to_clickhouse() {
    let sources = sources();
    let outside = sources.iter().filter(|source| source.layer() != "store");
    let found = outside.flat_map(|source| {
        source.lines.iter().enumerate().filter_map(move |(number, line)| {
            let path = line.trim_start().starts_with("use clickhouse")
                || line.contains(" clickhouse::")
                || line.contains("(clickhouse::")
                || line.contains("<clickhouse::");
            path.then(|| format!("{}:{}: {}", source.path, number + 1, line.trim()))
        })
    });
    // A module of ours may be called clickhouse; it is named from its own folder.
    let found: Vec<String> = found.filter(|place| !place.starts_with("embedded/")).collect();
    assert_none("`clickhouse` outside of the store", found);
}

#[test]
fn layers_import_only_what_is_below_them() {
    // Who may import which of ours, beside itself.
    let may: &[(&str, &[&str])] = &[
        ("domain", &[]),
        ("contract", &["domain"]),
        ("config", &[]),
        ("runtime", &[]),
        ("engine", &["domain"]),
        ("bus", &["domain", "contract", "config", "runtime"]),
        ("store", &["domain", "contract", "config", "runtime"]),
        ("client", &["domain", "contract"]),
        ("demo", &["client"]),
        ("embedded", &["config", "runtime"]),
        ("suites", &["domain", "contract", "engine"]),
        ("roles", &["domain", "contract", "config", "runtime", "engine", "bus", "store", "suites"]),
        (
            "chaos",
            &["domain", "contract", "config", "runtime", "bus", "store", "roles", "embedded"],
        ),
        (
            "cli",
            &[
                "domain", "contract", "config", "runtime", "engine", "bus", "store", "roles",
                "client", "embedded", "suites", "chaos", "demo",
            ],
        ),
        ("lib", &[]),
        ("main", &[]),
    ];
    let mut found = Vec::new();
    for source in sources() {
        let Some((layer, allowed)) = may.iter().find(|(layer, _)| *layer == source.layer()) else {
            found.push(format!("{}: a layer that ARCHITECTURE.md doesn't know", source.path));
            continue;
        };
        for (import, number) in source.imports() {
            let macro_or_self = import == *layer || import == "self";
            if !macro_or_self && !allowed.contains(&import.as_str()) {
                found.push(format!("{}:{number}: {layer} imports {import}", source.path));
            }
        }
    }
    assert_none("imports against the layers", found);
}

#[test]
fn subjects_are_built_in_one_place() {
    let sources = sources();
    let elsewhere = sources.iter().filter(|source| source.path != "contract/subjects.rs");
    let found: Vec<String> = elsewhere
        .flat_map(|source| {
            let lines = source.lines.iter().enumerate();
            lines.filter(|(_, line)| line.contains("\"policy.")).map(move |(number, line)| {
                format!("{}:{}: {}", source.path, number + 1, line.trim())
            })
        })
        .collect();
    assert_none("literals of NATS subjects", found);
}

#[test]
fn files_stay_small() {
    // The configuration's shape is read from top to bottom, like the file that it describes.
    let excepted = ["config/model.rs"];
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| source.length > 450 && !excepted.contains(&source.path.as_str()))
        .map(|source| format!("{}: {} lines", source.path, source.length))
        .collect();
    assert_none("files above 450 lines", found);
}

#[test]
fn the_reader_of_imports_reads_them() {
    let source = Source {
        path: "roles/x.rs".into(),
        lines: vec![
            "use crate::bus::{self, Subjects};".into(),
            "use crate::{domain::Policy, store};".into(),
            "let x = crate::engine::y();".into(),
        ],
        length: 3,
    };
    let imports: Vec<String> = source.imports().into_iter().map(|(name, _)| name).collect();
    assert_eq!(imports, ["bus", "domain", "store", "engine"]);
    assert!(has_word("use anyhow::bail;", "anyhow") && !has_word("anyhow_not", "anyhow"));
    assert!(!has_word("log(\"anyhow\")", "anyhow") && has_word("log(\"x\", anyhow::y)", "anyhow"));
}
