//! Writing policies to a folder, so that reading it gives the same policies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::section::Section;
use super::{FolderError, SETTINGS_FILE, policy_of};
use crate::contract::admin::PolicyDraft;
use crate::domain::PolicyRecord;

/// What the file of settings begins with.
const HEAD: &str = "\
# Which policies there are and how they take part: a section for each, beside its .rego file; one with
# `template` uses another's Rego. Keys that are left out have their defaults. `sluicegate policy
# apply -f` of this folder makes the stored policies like it.
";

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that were written, by name.
    pub files: Vec<String>,
    /// Rego files of policies that don't exist any more, by name; they are gone.
    pub removed: Vec<String>,
}

/// Writes policies to a folder, which is made where it isn't there. Deleted ones are left out. In a
/// folder that holds something, `replace` says that its policies shall go; whatever is no policy
/// stays.
///
/// # Errors
/// When the folder holds something and `replace` isn't said, or something can't be written. Each
/// file is replaced whole, so that none is ever half written.
pub fn write(
    folder: &Path,
    policies: &[PolicyRecord],
    replace: bool,
) -> Result<Written, FolderError> {
    let old = present(folder)?;
    if !replace && !old.empty {
        return Err(FolderError::NotEmpty(folder.to_owned()));
    }
    let drafts: Vec<PolicyDraft> =
        policies.iter().filter(|policy| !policy.deleted).map(PolicyDraft::from).collect();
    let settings = settings(&drafts)?;
    std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let mut written = Written::default();
    for draft in drafts.iter().filter(|draft| draft.template.is_none()) {
        let file = format!("{}.rego", draft.name);
        replace_file(&folder.join(&file), &draft.rego)?;
        written.files.push(file);
    }
    replace_file(&folder.join(SETTINGS_FILE), &settings)?;
    written.files.push(SETTINGS_FILE.to_owned());
    let kept: BTreeSet<PathBuf> = written.files.iter().map(|file| folder.join(file)).collect();
    for path in old.rego.into_iter().filter(|path| !kept.contains(path)) {
        std::fs::remove_file(&path).map_err(|source| failed(&path, source))?;
        let file = path.file_name().unwrap_or_default();
        written.removed.push(file.to_string_lossy().into_owned());
    }
    written.files.sort();
    written.removed.sort();
    Ok(written)
}

fn settings(drafts: &[PolicyDraft]) -> Result<String, FolderError> {
    let mut sections: BTreeMap<&str, Section> = BTreeMap::new();
    for draft in drafts {
        let refused = |reason: &str| FolderError::Policy {
            policy: draft.name.clone(),
            reason: reason.to_owned(),
        };
        // Names become file names: nothing but a name may reach the path.
        super::as_record(draft, if draft.template.is_none() { "package" } else { "" })
            .check()
            .map_err(|fault| refused(&format!("{} {}", fault.field, fault.message)))?;
        if sections.insert(&draft.name, Section::of(draft)).is_some() {
            return Err(refused("there are two of this name"));
        }
    }
    let text = toml::to_string_pretty(&sections).map_err(|error| FolderError::Policy {
        policy: SETTINGS_FILE.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(format!("{HEAD}\n{text}"))
}

/// What a folder holds before it is written.
struct Present {
    empty: bool,
    rego: Vec<PathBuf>,
}

fn present(folder: &Path) -> Result<Present, FolderError> {
    let unreadable = |source| FolderError::Read { path: folder.to_owned(), source };
    let items = match std::fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Present { empty: true, rego: Vec::new() });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let sections = super::read_settings(&folder.join(SETTINGS_FILE)).map(|(sections, _)| sections);
    let sections = sections.unwrap_or_default();
    let mut found = Present { empty: true, rego: Vec::new() };
    for item in items {
        let path = item.map_err(unreadable)?.path();
        found.empty = false;
        if policy_of(&path, |name| sections.contains_key(name)).is_some() {
            found.rego.push(path);
        }
    }
    Ok(found)
}

/// A file that is written beside and then put in place.
fn replace_file(path: &Path, text: &str) -> Result<(), FolderError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> FolderError {
    FolderError::Write { path: path.to_owned(), source }
}
