//! Whether a port is free, and who has it if not.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use super::error::{EmbeddedError, Setting};

/// How long a port may stay taken by nobody: a process that was killed gives its ports back only
/// after its last thread has ended.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// Refuses an address on which somebody listens already, before a server is started that would
/// fail on it.
pub(super) async fn require_free(
    server: &'static str,
    address: SocketAddr,
    setting: Setting,
) -> Result<(), EmbeddedError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match look(server, address, setting) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let nobody = matches!(error, EmbeddedError::PortTaken { holder: None, .. });
        if !nobody || Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn look(server: &'static str, address: SocketAddr, setting: Setting) -> Result<(), EmbeddedError> {
    // Binding alone does not see a listener on all addresses everywhere; connecting does.
    let answers = TcpStream::connect_timeout(&address, Duration::from_millis(250)).is_ok();
    match TcpListener::bind(address) {
        Ok(_) if !answers => Ok(()),
        Ok(_) => Err(taken(server, address, setting)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(taken(server, address, setting)),
        Err(error) => Err(EmbeddedError::Address {
            setting,
            value: address.to_string(),
            why: format!("can't listen there: {error}"),
            example: "one on 127.0.0.1 with a free port above 1024",
        }),
    }
}

/// The error about a taken port, with its holder where the system tells.
pub(super) fn taken(server: &'static str, address: SocketAddr, setting: Setting) -> EmbeddedError {
    EmbeddedError::PortTaken { server, address, setting, holder: holder(address.port()) }
}

/// Name and id of the process that listens on a port; only where there is a `/proc`, and only for
/// processes that this user may look into.
fn holder(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd")).ok()?.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| target.to_str().is_some_and(|t| sockets.iter().any(|s| s == t)))
        });
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        holds.then(|| format!("{} (process {pid})", name.trim()))
    })
}

/// The socket numbers that listen on a port, from a table like `/proc/net/tcp`.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local_port = format!(":{port:04X}");
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            (local.ends_with(&local_port) && state == LISTEN).then(|| inode.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_refused_and_a_free_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = require_free("nats-server", address, Setting::NATS_URL).await.unwrap_err();
        let EmbeddedError::PortTaken { holder, .. } = &error else { panic!("{error}") };
        if cfg!(target_os = "linux") {
            let me = format!("(process {})", std::process::id());
            assert!(holder.as_ref().is_some_and(|name| name.ends_with(&me)), "{error}");
        }
        drop(listener);
        require_free("nats-server", address, Setting::NATS_URL).await.unwrap();
    }

    #[tokio::test]
    async fn a_listener_on_all_addresses_counts() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        assert!(require_free("nats-server", address, Setting::NATS_URL).await.is_err());
    }

    #[test]
    fn listeners_of_a_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \u{20}  0: 0100007F:107E 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0 100\n\
             \u{20}  1: 0100007F:107E 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 31338 1 0 100\n";
        assert_eq!(listeners(table, 4222), ["31337"]);
        assert!(listeners(table, 4223).is_empty());
    }
}
