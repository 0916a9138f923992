//! `sluicegate audit anchor` and `keygen`: what to keep elsewhere, and the key.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::Config;
use crate::store::Store;
use crate::store::chain::{Chained, Link, Signed, Signer, Trusted};

/// Print the newest link of each chain, to be kept where nobody can change it
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate audit anchor
  sluicegate audit anchor --json > anchor-$(date +%F).json    and later: sluicegate audit verify --anchor FILE")]
pub(crate) struct Anchor {}

/// Make a key that signs the chains
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate audit keygen chain.pem      then set chain.signing_key_file for the sinks, and
                                         chain.public_keys for whoever verifies without it")]
pub(crate) struct Keygen {
    /// File of the private key; must not exist yet
    file: PathBuf,
}

/// Links to keep elsewhere.
#[derive(Serialize, Deserialize)]
pub(super) struct Anchors {
    pub(super) anchors: Vec<Link>,
}

pub(super) async fn anchor(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let store = Store::connect(&config.clickhouse);
    let mut anchors = Vec::new();
    let trusted = Trusted::of(&config.chain)?;
    for chained in Chained::ALL {
        let Some(link) = store.newest_link(chained).await? else { continue };
        // What isn't ours must not become the measure of what is.
        let believed = matches!(
            trusted.check(&link.calculated(), &link.signature),
            Signed::Yes | Signed::Unsigned | Signed::Unknown
        );
        if !link.is_whole() || !believed {
            bail!(
                "link {} of {} in ClickHouse is not what a sink wrote (its digest or its signature is \
                 wrong): run `sluicegate audit verify`",
                link.number,
                link.chain
            );
        }
        anchors.push(link);
    }
    if json {
        print::json(&Anchors { anchors })?;
    } else if anchors.is_empty() {
        print::line("nothing is sealed yet");
    } else {
        for link in &anchors {
            print::line(super::verify::describe(link));
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn keygen(command: &Keygen, json: bool) -> anyhow::Result<Exit> {
    let path = &command.file;
    let signer = Signer::generate()?;
    let pem = signer.to_pem()?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("the key file {}", path.display()))?;
    file.write_all(pem.as_ref().as_bytes())?;
    file.sync_all()?;
    let public_key = signer.public_key();
    if json {
        print::json(&serde_json::json!({"file": path, "public_key": public_key}))?;
    } else {
        print::line(format!("private key: {} (readable by you alone)", path.display()));
        print::line(format!("public key:  {public_key}"));
    }
    Ok(Exit::Ok)
}
