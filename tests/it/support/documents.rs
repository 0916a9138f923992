//! The project's documents, read by those who test what they say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document: its path from the project's folder, and its text.
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Every document of the project.
pub(crate) fn documents() -> Vec<Document> {
    let mut documents = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                documents.push(Document { path: path.strip_prefix(root()).unwrap().into(), text });
            }
        }
    }
    assert!(documents.len() > 10, "the documents are there");
    documents
}

/// A fenced block of a document.
pub(crate) struct Block {
    /// What stands behind the opening fence.
    pub(crate) language: String,
    /// The lines between the fences.
    pub(crate) body: String,
    /// The last line before the opening fence that isn't empty.
    pub(crate) before: String,
}

/// The text of a document, by its path from the project's folder.
pub(crate) fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a text, in order.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line;
            }
            continue;
        };
        let body: Vec<&str> =
            lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
        found.push(Block {
            language: language.to_owned(),
            body: body.join("\n"),
            before: std::mem::take(&mut before).to_owned(),
        });
    }
    found
}

/// The bodies of a text's blocks in a language, in order.
pub(crate) fn fences(text: &str, language: &str) -> Vec<String> {
    let blocks = blocks(text).into_iter();
    blocks.filter(|block| block.language == language).map(|block| block.body).collect()
}

/// Texts in single backticks.
pub(crate) fn code_spans(prose: &str) -> impl Iterator<Item = &str> {
    prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The text without its fenced blocks.
pub(crate) fn prose(text: &str) -> String {
    let mut inside = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// Words of these characters that begin with a prefix.
pub(crate) fn words<'t>(text: &'t str, prefix: &str) -> BTreeSet<&'t str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(prefix))
        .collect()
}
