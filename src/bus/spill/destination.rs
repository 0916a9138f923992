//! Where kept events are to be sent: files of one system must not be sent to another one, though both
//! have the same folder.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the file that says where the events of a folder belong.
const NAME: &str = "destination.json";

/// The audit stream of one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// NATS servers, as host and port.
    servers: Vec<String>,
    /// What the NATS subjects begin with.
    subject_prefix: String,
    /// The stream.
    stream: String,
}

/// What is in the folder of a destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// Events for the same system.
    Here,
    /// Events for another one.
    Elsewhere(Destination),
    /// It isn't a folder of ours.
    Nowhere,
    /// Nobody can say; this is why.
    Unreadable(String),
}

impl Destination {
    /// `urls` as in the configuration: separated by commas.
    #[must_use]
    pub fn new(urls: &str, subject_prefix: &str, stream: &str) -> Self {
        let mut servers: Vec<String> = urls.split(',').map(host).collect();
        servers.sort();
        servers.dedup();
        Self { servers, subject_prefix: subject_prefix.to_owned(), stream: stream.to_owned() }
    }

    /// The folder of this destination.
    pub(super) fn folder(&self, base: &Path) -> PathBuf {
        let mut digest = Sha256::new();
        for text in self.servers.iter().chain([&self.subject_prefix, &self.stream]) {
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
        let digest = hex::encode(digest.finalize());
        base.join(digest.get(..16).unwrap_or(&digest))
    }

    /// Says in the folder where its events belong, for programs and for people.
    pub(super) fn note(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(NAME);
        if path.try_exists()? {
            return Ok(());
        }
        // Whoever reads it meanwhile finds all of it or nothing.
        let new = folder.join(format!("{NAME}.{}", std::process::id()));
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&new, &path)
    }

    /// Whether the events of a folder are for us: the same stream on at least one of the same servers.
    pub(super) fn look(&self, folder: &Path) -> Belongs {
        let path = folder.join(NAME);
        let found = match fs::read(&path) {
            Ok(found) => found,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Belongs::Nowhere,
                _ => return Belongs::Unreadable(format!("{}: {error}", path.display())),
            },
        };
        let found = match serde_json::from_slice::<Self>(&found) {
            Ok(found) => found,
            Err(error) => return Belongs::Unreadable(format!("{}: {error}", path.display())),
        };
        let same = found.subject_prefix == self.subject_prefix
            && found.stream == self.stream
            && found.servers.iter().any(|server| self.servers.contains(server));
        if same { Belongs::Here } else { Belongs::Elsewhere(found) }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream {} at {}", self.stream, self.servers.join(", "))?;
        if self.subject_prefix != "policy" {
            write!(f, ", subjects {}.>", self.subject_prefix)?;
        }
        Ok(())
    }
}

/// Host and port of a URL; nothing of it that may be a secret.
fn host(url: &str) -> String {
    let url = url.trim();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest).to_lowercase();
    let port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if port { host } else { format!("{host}:4222") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_grew_is_the_same_destination_and_another_system_is_not() {
        let base = tempfile::tempdir().unwrap();
        let one = Destination::new("nats://a", "policy", "SLUICEGATE_AUDIT");
        let folder = one.folder(base.path());
        fs::create_dir(&folder).unwrap();
        assert_eq!(one.look(&folder), Belongs::Nowhere);
        one.note(&folder).unwrap();
        one.note(&folder).unwrap();
        assert_eq!(one.look(&folder), Belongs::Here);
        let grown =
            Destination::new("tls://u:p@B:4223, nats://A:4222", "policy", "SLUICEGATE_AUDIT");
        assert_ne!(grown.folder(base.path()), folder);
        assert_eq!(grown.look(&folder), Belongs::Here);
        for other in [
            Destination::new("nats://a:4223", "policy", "SLUICEGATE_AUDIT"),
            Destination::new("nats://a", "other", "SLUICEGATE_AUDIT"),
            Destination::new("nats://a", "policy", "OTHER"),
        ] {
            assert_eq!(other.look(&folder), Belongs::Elsewhere(one.clone()));
        }
        assert_eq!(grown.to_string(), "stream SLUICEGATE_AUDIT at a:4222, b:4223");
    }
}
