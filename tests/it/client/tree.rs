//! The client alone brings nothing of the server.

use std::process::Command;

use crate::support::documents::root;

#[test]
fn the_client_alone_brings_nothing_of_the_server() {
    let tree = |features: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "-e",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
            ])
            .args(features)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let server = [
        "regorus",
        "clickhouse",
        "axum",
        "clap",
        "reqwest",
        "hyper",
        "figment",
        "notify",
        "anyhow",
        "jsonschema",
        "metrics",
        "indicatif",
        "backoff",
        "nix",
        "tracing-subscriber",
    ];
    let client = tree(&["--no-default-features", "--features", "client"]);
    assert!(client.iter().any(|name| name == "async-nats"), "{client:?}");
    let found: Vec<_> = server.iter().filter(|name| client.iter().any(|n| n == **name)).collect();
    assert!(found.is_empty(), "the feature `client` brings {found:?}");
    // The names are right: the server has them all.
    let all = tree(&[]);
    let missing: Vec<_> = server.iter().filter(|name| !all.iter().any(|n| n == **name)).collect();
    assert!(missing.is_empty(), "no part of the server: {missing:?}");
}
