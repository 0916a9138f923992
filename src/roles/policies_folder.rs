//! A folder that says which policies there are: `*.rego` files, and `policies.toml` with a section
//! for each policy. A git repository can own such a folder; an empty bucket is seeded from one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::contract::admin::PolicyDraft;
use crate::domain::{PolicyRecord, nearest};

mod section;
mod write;

pub use write::{Written, write};

use section::Section;

/// The file with a section for each policy.
pub const SETTINGS_FILE: &str = "policies.toml";
/// Bytes of that file at most.
const MAX_SETTINGS: u64 = 64 << 20;

/// Why a folder of policies can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Not there, or not readable.
    #[error("policies: {path} can't be read: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not writable.
    #[error("policies: {path} can't be written: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file is wrong.
    #[error("policies: {path}{}: {reason}", .line.map_or_else(String::new, |line| format!(":{line}")))]
    Settings {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where there is one to name.
        line: Option<usize>,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// More policies than the limit.
    #[error("policies: {folder} holds more than {limit} policies (setting policies.max_policies)")]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// How many may be.
        limit: usize,
    },
    /// A folder that holds something may only be written when asked to.
    #[error("policies: {0} isn't empty; its policies are replaced only when you say so (--force)")]
    NotEmpty(PathBuf),
    /// A policy that a folder can't hold.
    #[error("policies: {policy} can't be written to a folder: {reason}")]
    Policy {
        /// The policy.
        policy: String,
        /// Why.
        reason: String,
    },
}

impl FolderError {
    /// Whether the same call may succeed later by itself: never, a person has to look.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}

/// How much is read of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderLimits {
    /// Policies in it.
    pub policies: usize,
    /// Bytes of one Rego file.
    pub policy_bytes: u64,
}

impl From<&Config> for FolderLimits {
    fn from(config: &Config) -> Self {
        Self {
            policies: config.policies.max_policies,
            policy_bytes: config.limits.policy_bytes.as_u64(),
        }
    }
}

/// Reads the policies that a folder says there are, by name. Looks at their form only: whether
/// their Rego compiles is for admission to say.
///
/// # Errors
/// What can't be read, with file, line and the nearest right name.
pub fn read(folder: &Path, limits: FolderLimits) -> Result<Vec<PolicyDraft>, FolderError> {
    let path = folder.join(SETTINGS_FILE);
    let (mut sections, text) = read_settings(&path)?;
    let files = rego_files(folder, &sections, limits.policies)?;
    let mut drafts = Vec::with_capacity(files.len());
    for (name, file) in &files {
        let unreadable = |source| FolderError::Read { path: file.clone(), source };
        let rego = read_bounded(file, limits.policy_bytes).map_err(unreadable)?;
        let section = sections.remove(name).unwrap_or_default();
        if let Some(template) = &section.template {
            return Err(FolderError::Settings {
                line: section::line_of_key(&text, name, "template"),
                reason: format!(
                    "[{name}] uses the Rego of `{template}`, and there is {name}.rego too; \
                     remove the file, or the key `template`"
                ),
                path,
            });
        }
        drafts.push(section.draft(name.clone(), rego));
    }
    for (name, section) in sections {
        if section.template.is_none() {
            let names = files.iter().map(|(name, _)| name.as_str());
            let nearest = nearest(&name, names)
                .map_or_else(String::new, |name| format!("; did you mean [{name}]?"));
            return Err(FolderError::Settings {
                line: section::line_of(&text, &name),
                reason: format!(
                    "[{name}] has no file {name}.rego and no `template` with the name of the \
                     policy whose Rego it uses{nearest}"
                ),
                path,
            });
        }
        if drafts.len() == limits.policies {
            return Err(FolderError::TooMany { folder: folder.to_owned(), limit: limits.policies });
        }
        drafts.push(section.draft(name, String::new()));
    }
    drafts.sort_by(|a, b| a.name.cmp(&b.name));
    drafts.iter().try_for_each(|draft| well_formed(draft, &path, &text))?;
    Ok(drafts)
}

/// What can be said of a draft without its Rego: its name, its scope.
fn well_formed(draft: &PolicyDraft, path: &Path, text: &str) -> Result<(), FolderError> {
    // An empty file is for admission to refuse, like every other text that is no policy.
    let rego = if draft.template.is_none() { "package" } else { "" };
    as_record(draft, rego).check().map_err(|fault| FolderError::Settings {
        path: path.to_owned(),
        line: section::line_of_key(text, &draft.name, fault.field)
            .or_else(|| section::line_of(text, &draft.name)),
        reason: format!("[{}] {} {}", draft.name, fault.field, fault.message),
    })
}

fn as_record(draft: &PolicyDraft, rego: &str) -> PolicyRecord {
    PolicyRecord {
        id: uuid::Uuid::nil(),
        name: draft.name.clone(),
        description: draft.description.clone(),
        package: String::new(),
        rego: rego.to_owned(),
        template: draft.template.clone(),
        status: draft.status,
        mode: draft.mode,
        severity: draft.severity,
        fail_mode: draft.fail_mode,
        scope: draft.scope,
        scope_id: draft.scope_id.clone(),
        parameters: draft.parameters.clone(),
        version: 1,
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
        created_by: String::new(),
        updated_by: String::new(),
        comment: String::new(),
        deleted: false,
    }
}

/// Name and path of every Rego file that is a policy, by name.
fn rego_files(
    folder: &Path,
    sections: &BTreeMap<String, Section>,
    limit: usize,
) -> Result<Vec<(String, PathBuf)>, FolderError> {
    let unreadable = |source| FolderError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = item.map_err(unreadable)?.path();
        let Some(name) = policy_of(&path, |name| sections.contains_key(name)) else { continue };
        files.push((name, path));
        if files.len() > limit {
            return Err(FolderError::TooMany { folder: folder.to_owned(), limit });
        }
    }
    files.sort();
    Ok(files)
}

/// The policy whose Rego a file holds, if it does. Editors keep hidden copies beside the file;
/// `x_test.rego` holds tests of `x.rego` unless a section says that it is a policy.
fn policy_of(path: &Path, has_section: impl Fn(&str) -> bool) -> Option<String> {
    let name = path.file_stem().and_then(|stem| stem.to_str())?;
    let is_rego = path.extension().is_some_and(|extension| extension == "rego");
    let is_test = name.ends_with("_test") && !has_section(name);
    (is_rego && !is_test && !name.starts_with('.') && path.is_file()).then(|| name.to_owned())
}

fn read_settings(path: &Path) -> Result<(BTreeMap<String, Section>, String), FolderError> {
    let text = match read_bounded(path, MAX_SETTINGS) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(FolderError::Read { path: path.to_owned(), source }),
    };
    match section::parse(&text) {
        Ok(sections) => Ok((sections, text)),
        Err((line, reason)) => Err(FolderError::Settings { path: path.to_owned(), line, reason }),
    }
}

fn read_bounded(path: &Path, limit: u64) -> std::io::Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
        return Err(std::io::Error::other(format!(
            "more than {limit} bytes (setting limits.policy_bytes)"
        )));
    }
    Ok(text)
}

#[cfg(test)]
#[path = "policies_folder/folder_tests.rs"]
mod tests;
