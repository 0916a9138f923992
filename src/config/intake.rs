//! What the sources say, key by key: good values become layers for figment, the rest problems.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider, util};

use super::error::Problem;
use super::keys::Key;
use super::origin::Origin;
use super::value::Refused;

/// The values of one source, checked; figment merges it over the layers before it.
#[derive(Debug)]
pub(super) struct Layer {
    metadata: Metadata,
    values: Vec<(&'static Key, Value)>,
}

const FILE: &str = "file";
const VARIABLE: &str = "variable";
const FLAG: &str = "flag";

impl Layer {
    pub(super) fn new(origin: &Origin) -> Self {
        let metadata = match origin {
            Origin::Default => Metadata::named("default"),
            Origin::File { path, .. } => Metadata::from(FILE, path.as_path()),
            Origin::Variable(name) => Metadata::from(VARIABLE, name.as_str()),
            Origin::Flag(name) => Metadata::from(FLAG, name.as_str()),
        };
        Self { metadata, values: Vec::new() }
    }

    pub(super) fn push(&mut self, key: &'static Key, value: Value) {
        self.values.push((key, value));
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut sections = Dict::new();
        for (key, value) in &self.values {
            let Some(mut nested) = util::nest(key.path, value.clone()).into_dict() else {
                continue;
            };
            let section = sections.entry(key.section().to_owned()).or_insert_with(|| {
                // Every key has a section, and a section is a table.
                Dict::new().into()
            });
            if let (Value::Dict(_, to), Some(Value::Dict(_, from))) =
                (section, nested.remove(key.section()))
            {
                to.extend(from);
            }
        }
        Ok(Profile::Default.collect(sections))
    }
}

/// Everything read from the sources before it is merged.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// From the weakest source to the strongest.
    pub(super) layers: Vec<Layer>,
    pub(super) problems: Vec<Problem>,
    /// Keys of which some source had a bad value: what the merge holds for them was not meant.
    pub(super) refused: BTreeSet<&'static str>,
    /// Lines of the keys in the files.
    lines: BTreeMap<(PathBuf, &'static str), usize>,
    /// Files that were read.
    pub(super) files: Vec<PathBuf>,
}

impl Intake {
    pub(super) fn problem(
        &mut self,
        place: Origin,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        self.problems.push(Problem::new(place, what, way_out));
    }

    /// One value of a variable or a flag: a layer of its own, so that figment knows its origin.
    pub(super) fn text(&mut self, origin: Origin, key: &'static Key, text: &str) {
        match key.kind.read_text(text) {
            Ok(value) => {
                let mut layer = Layer::new(&origin);
                layer.push(key, value);
                self.layers.push(layer);
            }
            Err(refused) => self.refuse(origin, key, &refused),
        }
    }

    /// A value that its key can't take.
    pub(super) fn refuse(&mut self, origin: Origin, key: &'static Key, refused: &Refused) {
        self.refused.insert(key.path);
        self.problem(
            origin,
            format!("`{}` is {}", key.path, refused.found),
            refused.way_out.as_str(),
        );
    }

    pub(super) fn line(&mut self, path: PathBuf, key: &'static str, line: usize) {
        self.lines.insert((path, key), line);
    }

    /// Back from figment's metadata to the place of a key's value.
    pub(super) fn origin(&self, key: &'static str, metadata: Option<&Metadata>) -> Origin {
        let Some((metadata, source)) = metadata.and_then(|m| Some((m, m.source.as_ref()?))) else {
            return Origin::Default;
        };
        match (metadata.name.as_ref(), source.file_path(), source.custom()) {
            (FILE, Some(path), _) => {
                Origin::file(path, self.lines.get(&(path.to_owned(), key)).copied())
            }
            (VARIABLE, _, Some(name)) => Origin::Variable(name.to_owned()),
            (FLAG, _, Some(name)) => Origin::Flag(name.to_owned()),
            _ => Origin::Default,
        }
    }
}
