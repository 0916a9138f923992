//! The container files say what the product understands, and keep to what we hold for safe.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value};
use sluicegate::config::Config;

use crate::support::servers::nats_server;

/// The roles, each of which is a subcommand and a service.
const ROLES: [&str; 4] = ["worker", "sink", "alerter", "console"];

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn services() -> Map<String, Value> {
    let compose: Value = serde_saphyr::from_str(&read("docker-compose.yml")).unwrap();
    compose["services"].as_object().unwrap().clone()
}

fn is_ours(service: &Value) -> bool {
    !service["build"].is_null()
}

/// The names of all settings, as environment variables.
fn variables() -> BTreeSet<String> {
    fn collect(prefix: &str, value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(section) => {
                for (key, value) in section {
                    collect(&format!("{prefix}_{}", key.to_uppercase()), value, names);
                }
            }
            _ => assert!(names.insert(prefix.to_owned()), "{prefix} stands for two settings"),
        }
    }
    let mut names = BTreeSet::new();
    let config = serde_json::to_value(Config::default()).unwrap();
    collect("SLUICEGATE", &config, &mut names);
    names
}

/// A tag that can't move: a full version, or a dated snapshot.
fn is_pinned(image: &str) -> bool {
    let Some((_, tag)) = image.rsplit_once(':') else { return false };
    let numbers = tag.split(['.', '-']).filter(|part| part.parse::<u64>().is_ok());
    let snapshot = tag.split('-').any(|part| part.len() == 8 && part.parse::<u64>().is_ok());
    numbers.count() >= 3 || snapshot
}

#[test]
fn pinned_tags() {
    for image in ["nats:2.15.0-alpine", "a/b:26.3.33.24", "debian:bookworm-20260824-slim"] {
        assert!(is_pinned(image), "{image}");
    }
    for image in ["nats", "nats:latest", "nats:2-alpine", "nats:2.15", "debian:bookworm-slim"] {
        assert!(!is_pinned(image), "{image}");
    }
}

#[test]
fn every_variable_is_a_setting() {
    let known = variables();
    assert!(known.contains("SLUICEGATE_NATS_URL"), "{known:?}");
    for (name, service) in services() {
        let Some(environment) = service["environment"].as_object() else { continue };
        for variable in environment.keys().filter(|key| key.starts_with("SLUICEGATE_")) {
            assert!(known.contains(variable), "{name} sets {variable}, which is no setting");
        }
    }
}

#[test]
fn the_example_of_the_environment_names_what_must_be_set() {
    let example = read(".env.example");
    let compose = read("docker-compose.yml");
    let required: BTreeSet<&str> = compose
        .split("${")
        .skip(1)
        .map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap())
        .collect();
    assert!(!required.is_empty());
    for variable in required {
        assert!(example.contains(&format!("\n{variable}=\n")), "{variable} has a value or none");
    }
}

#[test]
fn images_are_pinned_and_ours_has_the_version_of_the_crate() {
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        assert!(is_pinned(image), "{name}: {image} may change under us");
        if is_ours(&service) {
            assert_eq!(image, concat!("sluicegate:", env!("CARGO_PKG_VERSION")), "{name}");
        }
    }
}

#[test]
fn every_service_is_watched_and_bounded() {
    for (name, service) in services() {
        assert_eq!(service["healthcheck"]["test"][0], "CMD", "{name} has no health check");
        let limits = &service["deploy"]["resources"]["limits"];
        for limit in ["cpus", "memory", "pids"] {
            assert!(!limits[limit].is_null(), "{name} has no limit of {limit}");
        }
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().unwrap();
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
    }
}

#[test]
fn the_roles_are_there_and_wait_for_their_servers() {
    let services = services();
    for role in ROLES {
        let service = &services[role];
        assert!(is_ours(service), "{role}");
        assert_eq!(service["command"][0], *role, "{role}");
        assert_eq!(service["healthcheck"]["test"][1], "sluicegate", "{role}");
        let needs = service["depends_on"].as_object().unwrap();
        assert!(needs.contains_key("nats"), "{role}");
        for (server, need) in needs {
            assert!(services.contains_key(server), "{role} needs {server}");
            assert_eq!(need["condition"], "service_healthy", "{role} needs {server}");
        }
    }
    assert_eq!(services["worker"]["deploy"]["replicas"], 2);
}

/// What every service of ours runs with would be accepted, and what it runs exists.
#[test]
fn commands_and_settings_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, service) in services().iter().filter(|(_, service)| is_ours(service)) {
        let environment = service["environment"].as_object().unwrap();
        let run = |arguments: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
                .args(arguments)
                .env_clear()
                .envs(
                    environment
                        .iter()
                        .map(|(key, value)| (key, unless_unset(value.as_str().unwrap()))),
                )
                .current_dir(folder.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {arguments:?}: {said}");
        };
        run(&[service["command"][0].as_str().unwrap(), "--help"]);
        run(&[service["healthcheck"]["test"][2].as_str().unwrap(), "--help"]);
        run(&["config"]);
    }
}

/// What compose puts in the place of a variable that may be left out.
fn unless_unset(value: &str) -> &str {
    if value.starts_with("${") && value.ends_with(":-}") { "" } else { value }
}

#[test]
fn a_role_is_not_killed_while_it_drains() {
    for (name, service) in services() {
        let grace = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s');
        let grace = Duration::from_secs(grace.parse().unwrap());
        assert!(grace > Config::default().shutdown.drain, "{name}: {grace:?}");
    }
}

#[test]
fn mounted_files_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, service) in services() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (source, rest) = volume.as_str().unwrap().split_once(':').unwrap();
            if let Some(file) = source.strip_prefix("./deploy/") {
                assert!(root.join("deploy").join(file).is_file(), "{name} mounts {source}");
                assert!(rest.ends_with(":ro"), "{name} may write {source}");
            }
        }
    }
}

#[test]
fn the_nats_configuration_has_room_for_the_streams() {
    for file in ["deploy/nats/nats-server.conf", "deploy/nats/cluster.conf"] {
        has_room(&read(file));
    }
}

#[test]
fn the_cluster_keeps_three_copies_on_disk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let accepted = Command::new(nats_server())
        .args(["-t", "--config"])
        .arg(root.join("deploy/nats/cluster.conf"))
        .env("NODE", "nats-1")
        .output()
        .unwrap();
    assert!(accepted.status.success(), "{accepted:?}");
    let configuration = read("deploy/nats/cluster.conf");
    assert!(configuration.contains("\n  sync_interval: always\n"));
    // What `cluster::a_leader_that_is_paused…` needs: a server that hangs is given up soon.
    assert!(configuration.contains("\n  ping_interval: \"2s\"\n  ping_max: 2\n"));
    let shown = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["config", "--profile", "cluster", "--json"])
        .env_clear()
        .current_dir(root)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("nats-3:4222") && shown.contains("replicas"), "{shown}");
}

fn has_room(text: &str) {
    let number = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        line.trim_start_matches(':').trim().parse().unwrap()
    };
    let stream = Config::default().stream;
    let streams = stream.max_bytes.as_u64() + stream.dead_letter_max_bytes.as_u64();
    assert!(number("max_file_store") > streams);
    assert!(number("max_payload") >= stream.max_message_size.as_u64());
}

#[test]
fn the_image_runs_as_nobody_and_knows_how_it_is() {
    let dockerfile = read("Dockerfile");
    let mut stages = Vec::new();
    for line in dockerfile.lines().filter(|line| line.starts_with("FROM ")) {
        let image = line.split_whitespace().nth(1).unwrap();
        assert!(is_pinned(image), "{line}");
        stages.push(image);
    }
    assert!(stages.iter().any(|image| image.starts_with("rust:")), "{stages:?}");
    assert!(stages.len() >= 2, "{stages:?}");
    let last = &dockerfile[dockerfile.rfind("\nFROM ").unwrap()..];
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).expect("a USER");
    let id: u32 = user.split(':').next().unwrap().parse().expect("a number");
    assert_ne!(id, 0);
    for instruction in ["HEALTHCHECK ", "ENTRYPOINT [", "LABEL org.opencontainers.image."] {
        assert!(last.contains(&format!("\n{instruction}")), "no {instruction}");
    }
    let version = format!("image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(last.contains(&version), "the label has another version than the crate");
    assert!(dockerfile.contains("cargo build --release --locked"));
}

/// A container's own files end with it, and its root can't be written.
#[test]
fn what_a_worker_keeps_is_on_a_volume_that_it_may_write() {
    let services = services();
    let worker = &services["worker"];
    let folder = worker["environment"]["SLUICEGATE_AUDIT_SPILL_FOLDER"].as_str().unwrap();
    let volumes = worker["volumes"].as_array().unwrap().iter().map(|v| v.as_str().unwrap());
    let named: Vec<_> = volumes.filter(|volume| !volume.starts_with(['.', '/'])).collect();
    assert_eq!(named, [format!("spill:{folder}")]);
    let dockerfile = read("Dockerfile");
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let (user, group) = user.split_once(':').unwrap();
    let made = format!("install --directory --owner={user} --group={group} --mode=0700 {folder}");
    assert!(dockerfile.contains(&made), "{made}");
}
