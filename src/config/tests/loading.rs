//! What good sources give.

use std::time::Duration;

use bytesize::ByteSize;

use super::*;

#[test]
fn nothing_gives_the_defaults() {
    let loaded = load(&no_files()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.files, Vec::<std::path::PathBuf>::new());
    assert!(loaded.rows().iter().all(|row| row.origin == Origin::Default));
    assert_eq!(loaded.rows().len(), keys().len());
    loaded.config.validate().unwrap();
}

#[test]
fn later_sources_win_and_are_named() {
    let folder = Folder::new(&[
        (
            "config/sluicegate.toml",
            "[sink]\nbatch_rows = 1\nbatch_age = \"1s\"\n\n[worker]\nqueue = 1\nmax_batch = 1\n",
        ),
        (
            "config/sluicegate.cluster.toml",
            "worker.queue = 2\nworker.max_batch = 2\nsink.batch_rows = 2",
        ),
    ]);
    let mut sources = folder.sources();
    sources.env = env(&[
        ("SLUICEGATE_PROFILE", "cluster"),
        ("SLUICEGATE_WORKER_QUEUE", "3"),
        ("SLUICEGATE_WORKER_MAX_BATCH", "3"),
    ])
    .env;
    sources.overrides = vec![
        "worker.max_batch=4".parse().unwrap(),
        Override::new("--max-batch", "worker.max_batch", "5"),
    ];
    let loaded = load(&sources).unwrap();
    let config = &loaded.config;
    assert_eq!(config.sink.batch_age, Duration::from_secs(1));
    assert_eq!((config.sink.batch_rows, config.worker.queue, config.worker.max_batch), (2, 3, 5));
    let origin = |key| loaded.origin(key).unwrap().to_string();
    assert_eq!(origin("sink.ack_wait"), "default");
    assert_eq!(origin("sink.batch_age"), "config/sluicegate.toml:3");
    assert_eq!(origin("sink.batch_rows"), "config/sluicegate.cluster.toml:3");
    assert_eq!(origin("worker.queue"), "SLUICEGATE_WORKER_QUEUE");
    assert_eq!(origin("worker.max_batch"), "--max-batch");
    assert_eq!(loaded.profile.as_deref(), Some("cluster"));
    assert_eq!(loaded.files.len(), 2);
}

#[test]
fn values_are_read_by_the_kind_of_their_key() {
    let loaded = load(&env(&[
        ("SLUICEGATE_INSTANCE_NAME", "007"),
        ("SLUICEGATE_CLICKHOUSE_DATABASE", "true"),
        ("SLUICEGATE_NATS_REPLY_PREFIXES", " _INBOX. , _R_.,"),
        ("SLUICEGATE_NATS_REQUIRE_TLS", "YES"),
        ("SLUICEGATE_STREAM_MAX_BYTES", "1.5 GiB"),
        ("SLUICEGATE_WORKER_QUEUE", "1_000"),
        ("SLUICEGATE_RETENTION_DECISIONS", "30d"),
        ("SLUICEGATE_BACKOFF_MULTIPLIER", "3"),
        ("SLUICEGATE_TELEMETRY_FORMAT", "json"),
        ("SLUICEGATE_HTTP_LISTEN", "[::1]:80"),
    ]))
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.instance.name, "007");
    assert_eq!(config.clickhouse.database, "true");
    assert_eq!(config.nats.reply_prefixes, ["_INBOX.", "_R_."]);
    assert!(config.nats.require_tls);
    assert_eq!(config.stream.max_bytes, ByteSize::mib(1536));
    assert_eq!(config.worker.queue, 1_000);
    assert_eq!(config.retention.decisions, Duration::from_secs(30 * 86_400));
    assert_eq!(config.backoff.multiplier, 3.0);
    assert_eq!(config.telemetry.format, LogFormat::Json);
    assert_eq!(config.http.listen.port(), 80);
    let shown = |key| loaded.rows().iter().find(|row| row.key == key).unwrap().shown();
    assert_eq!(shown("stream.max_bytes"), r#""1536MiB""#);
    assert_eq!(shown("stream.max_age"), r#""14days""#);
    assert_eq!(shown("nats.reply_prefixes"), r#"["_INBOX.", "_R_."]"#);
    assert_eq!(shown("backoff.multiplier"), "3.0");
    assert_eq!(shown("nats.require_tls"), "true");
}

#[test]
fn toml_takes_numbers_where_they_are_plain() {
    let folder = Folder::main("stream.max_message_size = 2097152\nbackoff.multiplier = 2");
    let config = load(&folder.sources()).unwrap().config;
    assert_eq!(config.stream.max_message_size, ByteSize::mib(2));
    assert_eq!(config.backoff.multiplier, 2.0);
}

#[test]
fn the_enforcement_variable_and_its_stronger_sister() {
    for (text, enabled) in [
        ("true", true),
        ("FALSE", false),
        ("1", true),
        ("0", false),
        ("Yes", true),
        ("no", false),
        ("on", true),
        ("Off", false),
    ] {
        let loaded = load(&env(&[("POLICY_ENFORCEMENT_ENABLED", text)])).unwrap();
        assert_eq!(loaded.config.enforcement.enabled, enabled, "{text}");
        let origin = loaded.origin("enforcement.enabled").unwrap();
        assert_eq!(origin.to_string(), "POLICY_ENFORCEMENT_ENABLED");
    }
    let both =
        env(&[("POLICY_ENFORCEMENT_ENABLED", "false"), ("SLUICEGATE_ENFORCEMENT_ENABLED", "true")]);
    let loaded = load(&both).unwrap();
    assert!(loaded.config.enforcement.enabled);
    let origin = loaded.origin("enforcement.enabled").unwrap();
    assert_eq!(origin.to_string(), "SLUICEGATE_ENFORCEMENT_ENABLED");
}

#[test]
fn other_variables_are_left_alone() {
    load(&env(&[
        ("SLUICEGATE_CHDB_USER", "u"),
        ("SLUICEGATE_CHDB_PASSWORD", "p"),
        ("SLUICEGATE_TEST_ANYTHING", "x"),
        ("SLUICEGATE_PROFILE", ""),
        ("SLUICEGATE_CONFIG", ""),
        ("SLUICEGATE_PORT", "tcp://10.0.0.1:8181"),
        ("SLUICED_BREAD", "x"),
        ("PATH", "/bin"),
    ]))
    .unwrap();
}

#[test]
fn a_named_file_and_the_profile_beside_it() {
    let folder = Folder::new(&[
        ("etc/main.toml", "worker.queue = 1"),
        ("etc/main.eu-1.toml", "worker.max_batch = 2"),
        ("other.toml", "worker.queue = 7"),
    ]);
    let mut sources = folder.sources();
    sources.file = Some("etc/main.toml".into());
    sources.profile = Some("eu-1".into());
    sources.env = env(&[("SLUICEGATE_CONFIG", "other.toml"), ("SLUICEGATE_PROFILE", "x")]).env;
    let config = load(&sources).unwrap().config;
    assert_eq!((config.worker.queue, config.worker.max_batch), (1, 2), "flags win over variables");
    sources.file = None;
    sources.profile = None;
    sources.env.remove("SLUICEGATE_PROFILE");
    assert_eq!(load(&sources).unwrap().config.worker.queue, 7);
}

#[test]
fn secrets_are_taken_and_never_shown() {
    let folder = Folder::main("nats.user = \"alice\"\nnats.password = \"s3cret-1\"");
    let mut sources = folder.sources();
    sources.env = env(&[("SLUICEGATE_CLICKHOUSE_PASSWORD", "s3cret-2")]).env;
    sources.overrides = vec!["clickhouse.password=s3cret-3".parse().unwrap()];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.nats.password.expose(), "s3cret-1");
    assert_eq!(loaded.config.clickhouse.password.expose(), "s3cret-3");
    let json = serde_json::to_string(loaded.rows()).unwrap();
    let everything = format!("{json} {loaded:?} {sources:?}");
    assert!(!everything.contains("s3cret"), "{everything}");
    let row = loaded.rows().iter().find(|row| row.key == "nats.password").unwrap();
    assert_eq!(
        serde_json::to_value(row).unwrap(),
        serde_json::json!({
            "key": "nats.password",
            "value": "[hidden]",
            "origin": "config/sluicegate.toml:2",
            "variable": "SLUICEGATE_NATS_PASSWORD",
        })
    );
    let row = loaded.rows().iter().find(|row| row.key == "nats.token").unwrap();
    assert_eq!(row.shown(), r#""""#, "an empty secret is shown as empty");
}

#[test]
fn of_the_process_only_our_variables_are_taken() {
    let sources = Sources::from_process().unwrap();
    assert!(sources.env.keys().all(|name| crate::config::env::concerns_us(name)), "{sources:?}");
    assert!(sources.overrides.is_empty() && sources.file.is_none());
}
