//! The embedded nats-server: one node with JetStream, whose configuration file is written at every
//! start from ours.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::config::Config;

use super::error::{EmbeddedError, Setting};
use super::find::Program;
use super::output::Dialect;
use super::probe::Probe;
use super::spec::Spec;

/// Smallest `max_payload`: the server's own default.
const MIN_PAYLOAD: u64 = 1024 * 1024;
/// Room beside the streams and the bucket of policies, for the roll of workers and for benchmarks.
const SPARE_STORE: u64 = 2 << 30;

/// Refuses settings that the embedded server does not serve.
pub(super) fn supported(config: &Config) -> Result<(), EmbeddedError> {
    let nats = &config.nats;
    for (asked, setting, why) in [
        (nats.require_tls, "nats.require_tls", "the embedded nats-server speaks no TLS"),
        (
            !nats.credentials_file.as_os_str().is_empty(),
            "nats.credentials_file",
            "the embedded nats-server knows users and tokens only",
        ),
        (
            !nats.token.is_empty() && !nats.user.is_empty(),
            "nats.token",
            "the embedded nats-server takes a token or a user, not both",
        ),
        (
            config.stream.replicas != 1,
            "stream.replicas",
            "the embedded nats-server is a single node",
        ),
    ] {
        if asked {
            return Err(EmbeddedError::Unsupported { setting: Setting(setting), why });
        }
    }
    Ok(())
}

/// Writes the configuration file below the data folder and says how to start the server.
pub(super) fn prepare(
    config: &Config,
    program: &Program,
    address: SocketAddr,
    data: &Path,
) -> Result<Spec, EmbeddedError> {
    let folder = data.join("nats");
    fs::create_dir_all(&folder).map_err(EmbeddedError::io("create", &folder))?;
    let file = folder.join("nats-server.conf");
    let name = server_name(data);
    write_private(&file, &configuration(config, address, &name, &folder))?;
    Ok(Spec {
        server: super::NATS_PART,
        program: program.path.clone(),
        arguments: vec!["--config".into(), file.clone().into()],
        environment: Vec::new(),
        folder,
        marker: file.to_string_lossy().into_owned(),
        dialect: Dialect::Nats,
        probe: Probe::Nats { address, name },
        address,
        setting: Setting::NATS_URL,
    })
}

/// A name of its own for every data folder, so that a look at the port tells our server from the
/// one of another `up`.
fn server_name(data: &Path) -> String {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    format!("sluicegate-{}", hex::encode(digest).get(..12).unwrap_or_default())
}

fn configuration(config: &Config, address: SocketAddr, name: &str, folder: &Path) -> String {
    let max_payload = MIN_PAYLOAD
        .max(config.stream.max_message_size.as_u64())
        .max(config.worker.max_request_bytes.as_u64());
    // Said outright, since by default the server offers a share of the free disk space and then
    // refuses streams that may grow beyond it.
    let max_store = config
        .stream
        .max_bytes
        .as_u64()
        .saturating_add(config.stream.dead_letter_max_bytes.as_u64())
        .saturating_add(config.policies.max_bytes.as_u64())
        .saturating_add(SPARE_STORE);
    format!(
        "# Written by `sluicegate up` at every start: changes here are lost.\n\
         server_name: {}\n\
         listen: {}\n\
         max_payload: {max_payload}\n\
         logtime: false\n\
         jetstream {{\n  store_dir: {}\n  max_file_store: {max_store}\n}}\n\
         {}",
        quoted(name),
        quoted(&address.to_string()),
        quoted(&folder.to_string_lossy()),
        authorization(config)
    )
}

fn authorization(config: &Config) -> String {
    let nats = &config.nats;
    if !nats.token.is_empty() {
        format!("authorization {{\n  token: {}\n}}\n", quoted(nats.token.expose()))
    } else if !nats.user.is_empty() {
        format!(
            "authorization {{\n  user: {}\n  password: {}\n}}\n",
            quoted(&nats.user),
            quoted(nats.password.expose())
        )
    } else {
        String::new()
    }
}

/// A string of the configuration language.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Writes a file that only this user may read: it may hold a password.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), EmbeddedError> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            // An older file keeps its mode when it is opened.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())
        })
        .map_err(EmbeddedError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use bytesize::ByteSize;

    fn text(config: &Config) -> String {
        let address = SocketAddr::from(([127, 0, 0, 1], 4222));
        configuration(config, address, "sluicegate-1", Path::new("/data/\"odd\" folder/nats"))
    }

    #[test]
    fn the_default_has_no_authorization_and_room_for_the_streams() {
        let text = text(&Config::default());
        assert!(text.contains("listen: \"127.0.0.1:4222\""), "{text}");
        assert!(text.contains("store_dir: \"/data/\\\"odd\\\" folder/nats\""), "{text}");
        assert!(text.contains("max_payload: 1048576\n"), "{text}");
        assert!(!text.contains("authorization"), "{text}");
        let store = (10 + 2) * 1024_u64.pow(3) + 2 * 512 * 1024_u64.pow(2);
        assert!(text.contains(&format!("max_file_store: {store}")), "{text}");
    }

    #[test]
    fn what_the_clients_use_is_what_the_server_asks_for() {
        let mut config = Config::default();
        config.nats.user = "worker".into();
        config.nats.password = Secret::from("1\"2\\3".to_owned());
        config.stream.max_message_size = ByteSize::mib(2);
        let text = text(&config);
        assert!(text.contains("user: \"worker\"\n  password: \"1\\\"2\\\\3\""), "{text}");
        assert!(text.contains("max_payload: 2097152"), "{text}");
    }

    #[test]
    fn what_the_embedded_server_does_not_do_is_refused() {
        let mut config = Config::default();
        supported(&config).unwrap();
        config.nats.require_tls = true;
        let error = supported(&config).unwrap_err().to_string();
        assert!(error.contains("SLUICEGATE_NATS_REQUIRE_TLS"), "{error}");
    }

    #[test]
    fn the_file_is_private_even_if_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf");
        fs::write(&path, "a longer text than the new one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "short").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn folders_have_names_of_their_own() {
        assert_ne!(server_name(Path::new("/a")), server_name(Path::new("/b")));
        assert_eq!(server_name(Path::new("/a")), server_name(Path::new("/a")));
    }
}
