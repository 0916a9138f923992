//! What bad sources are told.

use super::*;

#[test]
fn every_problem_is_told_at_once_with_place_and_way_out() {
    let folder = Folder::main(
        r#"# comment
[nats]
ulr = "nats://127.0.0.1:4222"
request_timeout = 5

[sink]
batch_age = "soon"
max_bytes = "1GiB"
"#,
    );
    let mut sources = folder.sources();
    sources.env = env(&[
        ("SLUICEGATE_WORKER_QUEUE", "many"),
        ("SLUICEGATE_NATS_ULR", "x"),
        ("POLICY_ENFORCEMENT_ENABLED", "maybe"),
    ])
    .env;
    sources.overrides = vec![
        "limits.tme=1s".parse().unwrap(),
        Override::new("--fail-mode", "enforcement.fail_mode", "close"),
        "stream.replicas=2".parse().unwrap(),
    ];
    assert_eq!(
        refusal(&sources),
        r#"the configuration has 10 problems:
  config/sluicegate.toml:3: there is no key `nats.ulr`
    did you mean `nats.url`?
  config/sluicegate.toml:4: `nats.request_timeout` is 5
    expected a duration such as 500ms, 5s or 2h, in quotes; for seconds write "5s"
  config/sluicegate.toml:7: `sink.batch_age` is "soon"
    expected a duration such as 500ms, 5s or 2h
  config/sluicegate.toml:8: there is no key `sink.max_bytes`
    did you mean `stream.max_bytes` or `policies.max_bytes`?
  POLICY_ENFORCEMENT_ENABLED: `enforcement.enabled` is "maybe"
    expected true or false (also 1 or 0, yes or no, on or off)
  SLUICEGATE_NATS_ULR: there is no such variable
    did you mean SLUICEGATE_NATS_URL? (or unset it)
  SLUICEGATE_WORKER_QUEUE: `worker.queue` is "many"
    expected a whole number such as 1000
  --set: there is no key `limits.tme`
    did you mean `limits.time`?
  --fail-mode: `enforcement.fail_mode` is "close"
    expected one of open, closed; did you mean closed?
  --set: `stream.replicas` is 2
    a NATS cluster keeps 1, 3 or 5 copies"#
    );
}

#[test]
fn a_broken_file_is_told_by_line_and_never_quoted() {
    for (text, place) in [
        ("[nats]\npassword = \"s3cret\n", "config/sluicegate.toml:2: is not TOML"),
        ("nats.password = s3cret", "config/sluicegate.toml:1: is not TOML"),
        ("a = 1\n\nnats.token = \"s3cret\" \"s3cret\"", "config/sluicegate.toml:3: is not TOML"),
        ("nats.token = \"a\"\nnats.token = \"s3cret\"", "config/sluicegate.toml:2: is not TOML"),
        ("nats = {\n token = \"s3cret\" }", "TOML 1.1"),
    ] {
        let told = refusal(&Folder::main(text).sources());
        assert!(told.contains(place), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn refused_values_of_secrets_and_urls_are_not_shown() {
    let folder = Folder::main(
        "nats.password = 31337\nnats.token = [\"s3cret\"]\nclickhouse.password = { a = \"s3cret\" }\nclickhouse.url = [\"s3cret\"]",
    );
    let told = refusal(&folder.sources());
    assert!(told.contains("`nats.password` is a number"), "{told}");
    assert!(!told.contains("31337") && !told.contains("s3cret"), "{told}");

    for url in
        ["nats://u:s3cret@h", "u:s3cret@h", "nats://a:1,nats://u:s3,s3cret@h:1", "ws://s3cret@h"]
    {
        let told = refusal(&env(&[("SLUICEGATE_NATS_URL", url)]));
        assert!(told.contains("put credentials into nats.user"), "{told}");
        assert!(!told.contains("s3"), "{told}");
    }
    let told = refusal(&env(&[("SLUICEGATE_CLICKHOUSE_URL", "http://h:1/?password=s3cret")]));
    assert!(told.contains("[hidden]") && !told.contains("s3cret"), "{told}");
}

#[test]
fn sections_and_odd_names() {
    for (text, told) in [
        ("nats = 5", "`nats` is a section, not a key"),
        ("[[nats]]\nurl = \"x\"", "`nats` is a section, not a key\n    write [nats] and its keys"),
        ("[natz]", "there is no key `natz`"),
        ("[clickhous]\nurl = \"x\"\npasword = \"x\"", "did you mean `clickhouse.password`?"),
        ("url = \"x\"", "did you mean `nats.url` or `clickhouse.url`?"),
        ("[sink.batch]\nrows = 5", "did you mean `sink.batch_rows`?"),
        ("nats.request-timeout = \"5s\"", "did you mean `nats.request_timeout`?"),
        ("\"nats.url\" = \"x\"", "there is no key `\"nats.url\"`"),
        ("[nats.url]\nx = 1", "`nats.url` is a table"),
        ("xyzzy.foo_bar_baz = 1", "the nearest one is `"),
        ("nats.require_tls = \"true\"", "expected true or false, without quotes"),
        ("worker.queue = -1", "`worker.queue` is -1"),
        ("worker.queue = 1.5", "`worker.queue` is 1.5"),
        ("stream.max_bytes = -1", "expected a size"),
        ("nats.reply_prefixes = \"_INBOX.\"", "expected a list of texts"),
    ] {
        let all = refusal(&Folder::main(text).sources());
        assert!(all.contains(told), "{text}: {all}");
    }
    load(&Folder::main("[nats]\n[stream]").sources()).expect("empty sections are fine");
}

#[test]
fn files_that_cannot_be_read() {
    let told = refusal(&Sources { file: Some("none.toml".into()), ..no_files() });
    assert!(told.contains("--config: can't read none.toml: "), "{told}");
    let told = refusal(&env(&[("SLUICEGATE_CONFIG", "none.toml")]));
    assert!(told.contains("SLUICEGATE_CONFIG: can't read none.toml"), "{told}");
    let folder = Folder::new(&[("config/sluicegate.toml/x", "")]);
    let told = refusal(&folder.sources());
    assert!(told.contains("config/sluicegate.toml: can't read config/sluicegate.toml"), "{told}");
}

#[test]
fn an_unknown_profile_lists_those_that_exist() {
    let folder = Folder::new(&[
        ("config/sluicegate.toml", ""),
        ("config/sluicegate.cluster.toml", ""),
        ("config/sluicegate.alpha.toml", ""),
        ("config/other.beta.toml", ""),
    ]);
    let mut sources = folder.sources();
    sources.profile = Some("clutser".into());
    assert_eq!(
        refusal(&sources),
        "the configuration has a problem:\n  --profile: there is no profile `clutser`: no file \
         config/sluicegate.clutser.toml\n    profiles that exist: alpha, cluster"
    );
    sources.profile = Some("../../etc/passwd".into());
    assert!(refusal(&sources).contains("can't be the name of a profile"));
    let told = refusal(&Sources { profile: Some("x".into()), ..no_files() });
    assert!(
        told.contains("no profile exists; one is a file config/sluicegate.<name>.toml"),
        "{told}"
    );
}

#[test]
fn an_override_without_a_value() {
    let error = "nats.url".parse::<Override>().unwrap_err();
    assert!(error.to_string().contains("write --set key=value"), "{error}");
    assert!(!error.is_transient());
    let told = refusal(&env(&[("SLUICEGATE_WORKER_QUEUE", "")]));
    assert!(told.contains("or unset it"), "{told}");
    let told = refusal(&env(&[("SLUICEGATE_SINK_BATCH_AGE", "5")]));
    assert!(told.contains("a number needs its unit: 5s"), "{told}");
}
