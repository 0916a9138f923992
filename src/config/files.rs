//! The main file and the profile's beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Profile, Provider};
use toml::de::{DeTable, DeValue};

use super::intake::{Intake, Layer};
use super::keys;
use super::load::Sources;
use super::origin::Origin;

/// Where the main file is looked for when none is named.
pub const MAIN_FILE: &str = "config/sluicegate.toml";

/// A setting that says what to read, and who said it.
pub(super) struct Named {
    pub(super) value: String,
    pub(super) by: Origin,
}

/// Reads the main file and, over it, the profile's.
pub(super) fn read(sources: &Sources, intake: &mut Intake) {
    let named = sources.named_file();
    let main = named.as_ref().map_or_else(|| PathBuf::from(MAIN_FILE), |n| PathBuf::from(&n.value));
    match std::fs::read_to_string(sources.folder.join(&main)) {
        Ok(text) => read_text(&main, &text, intake),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => (),
        Err(error) => {
            let by = named.map_or_else(|| Origin::file(&main, None), |named| named.by);
            unreadable(by, &main, &error, intake);
        }
    }
    if let Some(profile) = sources.named_profile() {
        read_profile(&sources.folder, &main, &profile, intake);
    }
}

fn read_profile(folder: &Path, main: &Path, profile: &Named, intake: &mut Intake) {
    let existing = || match profiles(folder, main).as_slice() {
        [] => {
            format!("no profile exists; one is a file {}", profile_file(main, "<name>").display())
        }
        names => format!("profiles that exist: {}", names.join(", ")),
    };
    let name = &profile.value;
    if !is_profile_name(name) {
        let what = format!("{name:?} can't be the name of a profile");
        intake.problem(profile.by.clone(), what, existing());
        return;
    }
    let path = profile_file(main, name);
    match std::fs::read_to_string(folder.join(&path)) {
        Ok(text) => read_text(&path, &text, intake),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no profile `{name}`: no file {}", path.display());
            intake.problem(profile.by.clone(), what, existing());
        }
        Err(error) => unreadable(profile.by.clone(), &path, &error, intake),
    }
}

fn unreadable(by: Origin, path: &Path, error: &io::Error, intake: &mut Intake) {
    intake.problem(
        by,
        format!("can't read {}: {error}", path.display()),
        "name a TOML file that exists and may be read",
    );
}

/// `config/sluicegate.toml` and `cluster` give `config/sluicegate.cluster.toml`.
fn profile_file(main: &Path, profile: &str) -> PathBuf {
    main.with_file_name(format!("{}.{profile}.toml", stem(main)))
}

fn stem(main: &Path) -> String {
    main.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_profile_name(name: &str) -> bool {
    // No dots and slashes: a name can't lead to another folder.
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// The profiles beside the main file, sorted.
fn profiles(folder: &Path, main: &Path) -> Vec<String> {
    let beside = folder.join(main);
    let beside = beside.parent().filter(|parent| !parent.as_os_str().is_empty());
    let prefix = format!("{}.", stem(main));
    let mut names: Vec<String> = std::fs::read_dir(beside.unwrap_or_else(|| Path::new(".")))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name();
            let name = file.to_str()?.strip_prefix(&prefix)?.strip_suffix(".toml")?;
            is_profile_name(name).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// Reads one file's text as a layer.
fn read_text(path: &Path, text: &str, intake: &mut Intake) {
    intake.files.push(path.to_owned());
    let spans = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            // Not the error's own text: that quotes the line, which may hold a secret.
            let line = error.span().map(|span| line_of(text, span.start));
            let what = format!("is not TOML: {}", error.message().replace('\n', ", "));
            intake.problem(Origin::file(path, line), what, "correct this line");
            return;
        }
    };
    let mut lines = BTreeMap::new();
    collect_lines(text, spans.get_ref(), "", &mut lines);
    let data = Toml::string(text).data();
    let Ok(dict) = data.map(|mut data| data.remove(&Profile::Default).unwrap_or_default()) else {
        intake.problem(
            Origin::file(path, None),
            "uses what came with TOML 1.1",
            "write it in TOML 1.0: inline tables on one line, no escapes \\e or \\x",
        );
        return;
    };
    let mut walk =
        Walk { path, lines: &lines, layer: Layer::new(&Origin::file(path, None)), intake };
    let first = walk.intake.problems.len();
    walk.table("", &dict);
    let Walk { layer, .. } = walk;
    intake.layers.push(layer);
    // By line, as a person goes through the file.
    if let Some(own) = intake.problems.get_mut(first..) {
        own.sort_by(|a, b| a.places.cmp(&b.places));
    }
}

struct Walk<'a> {
    path: &'a Path,
    lines: &'a BTreeMap<String, usize>,
    layer: Layer,
    intake: &'a mut Intake,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, table: &Dict) {
        for (name, value) in table {
            let path = join(section, name);
            let line = self.lines.get(&path).copied();
            let place = Origin::file(self.path, line);
            if let Some(key) = keys::find(&path) {
                if let Some(line) = line {
                    self.intake.line(self.path.to_owned(), key.path, line);
                }
                match key.kind.read_toml(value) {
                    Ok(value) => self.layer.push(key, value),
                    Err(refused) => self.intake.refuse(place, key, &refused),
                }
                continue;
            }
            match value {
                Value::Dict(_, inner) if !inner.is_empty() => self.table(&path, inner),
                Value::Dict(..) if keys::is_section(&path) => (),
                _ if keys::is_section(&path) => self.intake.problem(
                    place,
                    format!("`{path}` is a section, not a key"),
                    format!("write [{path}] and its keys below it"),
                ),
                _ => self.unknown(place, &path),
            }
        }
    }

    fn unknown(&mut self, place: Origin, path: &str) {
        let way_out = keys::nearest(path).way_out(|key| format!("`{}`", key.path));
        self.intake.problem(place, format!("there is no key `{path}`"), way_out);
    }
}

/// The path of a key as TOML writes it: in quotes where it isn't plain, so that `"nats.url"` is
/// not taken for `nats.url`.
fn join(section: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if section.is_empty() { name } else { format!("{section}.{name}") }
}

fn collect_lines(text: &str, table: &DeTable<'_>, section: &str, to: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let path = join(section, name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            collect_lines(text, inner, &path, to);
        }
        to.insert(path, line_of(text, name.span().start));
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
}
