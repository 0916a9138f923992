//! `sluicegate audit verify`, `anchor` and `keygen` as programs.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::verifying::honest;
use crate::sink::Rig;

fn run(rig: &Rig, args: &[&str]) -> Output {
    let config = rig.config();
    Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .arg("audit")
        .args(args)
        .env("SLUICEGATE_NATS_URL", &config.nats.url)
        .env("SLUICEGATE_CLICKHOUSE_URL", &config.clickhouse.url)
        .env("SLUICEGATE_CLICKHOUSE_DATABASE", &config.clickhouse.database)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_certificate_and_its_exit_codes() {
    let (rig, _) = honest(|_| ()).await;
    let output = run(&rig, &["verify", "--contents"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["VERIFIED", "Chain of decisions", "50 rows sealed: 50 intact", "1 runs"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let anchor = run(&rig, &["anchor", "--json"]);
    let anchors: Value = serde_json::from_slice(&anchor.stdout).unwrap();
    assert_eq!(anchors["anchors"].as_array().unwrap().len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("anchor.json");
    std::fs::write(&file, &anchor.stdout).unwrap();
    let anchored = ["verify", "--anchor", file.to_str().unwrap()];
    assert_eq!(run(&rig, &anchored).status.code(), Some(0));
    let forged = said(&anchor).replacen("\"digest\":\"", "\"digest\":\"0", 1);
    std::fs::write(&file, forged).unwrap();
    let output = run(&rig, &anchored);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("NOT VERIFIED: 1 anchor"), "{}", said(&output));

    rig.execute(
        "ALTER TABLE policy_decisions DELETE WHERE stream_sequence = 3 SETTINGS mutations_sync = 2",
    )
    .await;
    let output = run(&rig, &["verify", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["verified"], &report["findings"]["counted"]["deleted"]),
        (&false.into(), &1.into())
    );

    let nobody = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["audit", "verify", "--clickhouse-url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(4));
}

#[test]
fn a_key_is_made_once_and_is_secret() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.pem");
    let make = |file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .args(["audit", "keygen", "--json"])
            .arg(file)
            .output()
            .unwrap()
    };
    let output = make(&file);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["public_key"].as_str().unwrap().len(), 64);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    assert_eq!(make(&file).status.code(), Some(1), "a key is never overwritten");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}
