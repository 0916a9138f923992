//! The project's documents, read by those who test what they say.

use std::fs;
use std::path::Path;

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
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
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
