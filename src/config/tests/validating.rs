//! Values that are of the right kind and still can't be used.

use super::*;
use crate::config::validate::findings;

/// The keys named by the only problem of this override of the defaults.
fn refused_keys(overrides: &[&str]) -> String {
    let error = load(&set(overrides)).expect_err(&format!("{overrides:?}"));
    assert_eq!(error.problems().len(), 1, "{overrides:?}: {error}");
    let problem = &error.problems()[0];
    assert!(!problem.places.is_empty() && !problem.way_out.is_empty(), "{problem}");
    problem.what.clone()
}

#[test]
fn every_number_is_bounded() {
    for key in keys() {
        let wrong: &[&str] = match key.kind {
            Kind::Count => &["0", "18446744073709551615"],
            Kind::Factor => &["0", "0.99", "inf", "nan", "1e9"],
            Kind::Span => &["0s", "1000years"],
            Kind::Size => &["0B", "15EiB"],
            _ => &[],
        };
        // None of these, which both keys take: one per core, and none at all.
        let zero = [
            "worker.evaluation_threads",
            "worker.remedies_per_second",
            "worker.remembered",
            "http.rate_limit",
        ];
        for value in wrong.iter().filter(|v| **v != "0" || !zero.contains(&key.path)) {
            let error = load(&set(&[&format!("{}={value}", key.path)])).expect_err(key.path);
            assert!(error.to_string().contains(&format!("`{}` is ", key.path)), "{value}: {error}");
        }
    }
}

#[test]
fn who_is_told_can_be_told_and_no_url_is_shown() {
    for (set, named) in [
        ("alerter.severities=warning,fatal", "alerter.severities"),
        ("alerter.slack=ftp://host/s3cret", "`alerter.slack` number 1"),
        ("alerter.slack=https://a/x,hooks.example.org/s3cret", "`alerter.slack` number 2"),
        ("alerter.cloudevents=http://me:s3cret@host/", "`alerter.cloudevents` number 1 has a user"),
        ("alerter.cloudevents=http:///s3cret", "`alerter.cloudevents` number 1"),
    ] {
        let said = refused_keys(&[set]);
        assert!(said.contains(named) && !said.contains("s3cret"), "{set}: {said}");
    }
    let urls = "alerter.slack=https://hooks.example.org/a?b=c, http://[::1]:8080/x";
    assert!(load(&super::set(&[urls])).is_ok());
    let error = load(&super::set(&["alerter.severities=", urls])).unwrap_err();
    assert!(error.to_string().contains("nobody would be told"), "{error}");
}

#[test]
fn tokens_are_looked_at_and_never_shown() {
    for (tokens, named) in [
        ("s3cret-s3cret-s3cret", "`http.tokens` number 1 has not three parts"),
        ("a:checker:0123456789abcdef,b:root:s3cret-s3cret-s3cret", "number 2 names no role"),
        ("a b:viewer:s3cret-s3cret-s3cret", "number 1 has no name"),
        ("a:viewer:s3cret", "number 1 is too short"),
        ("a:viewer:s3cret with a blank in it", "number 1 is too short, or has characters"),
        ("a:viewer:sha256:s3cret", "number 1 has no digest"),
    ] {
        let said = refused_keys(&[&format!("http.tokens={tokens}")]);
        assert!(said.contains(named) && !said.contains("s3cret"), "{tokens}: {said}");
    }
    let loaded = load(&set(&["http.tokens=a:admin:s3cret-s3cret-s3cret"])).unwrap();
    assert!(!format!("{:?}", loaded.config).contains("s3cret"));
    let token = loaded.config.http.all_tokens().unwrap().remove(0);
    let digest = hex::encode(token.digest);
    let hashed = format!("http.tokens=a:admin:sha256:{digest}, # a comment");
    let hashed = load(&set(&[&hashed])).unwrap().config.http.all_tokens().unwrap();
    assert_eq!(hashed, [token]);
    assert!(!format!("{hashed:?}").contains(&digest));
    for (set, named) in [
        ("http.hosts=http://a", "http.hosts"),
        ("http.hosts=a:80", "http.hosts"),
        ("http.public_url=ftp://a", "http.public_url"),
        ("http.public_url=https://me:s3cret@a", "http.public_url"),
    ] {
        let said = refused_keys(&[set]);
        assert!(said.contains(named) && !said.contains("s3cret"), "{set}: {said}");
    }
    load(&set(&["http.hosts=pdp.example.org,[::1],10.0.0.1"])).unwrap();
}

#[test]
fn names_that_others_must_accept() {
    for (set, named) in [
        ("nats.subject_prefix=", "nats.subject_prefix"),
        ("nats.subject_prefix=a..b", "nats.subject_prefix"),
        ("nats.subject_prefix=a.*", "nats.subject_prefix"),
        ("nats.subject_prefix=a b", "nats.subject_prefix"),
        ("nats.subject_prefix=$JS", "nats.subject_prefix"),
        ("nats.subject_prefix=.a", "nats.subject_prefix"),
        ("nats.queue_group=a.b", "nats.queue_group"),
        ("stream.name=A B", "stream.name"),
        ("stream.name=A.B", "stream.name"),
        ("stream.name=", "stream.name"),
        ("stream.dead_letter_name=a/b", "stream.dead_letter_name"),
        ("stream.dead_letter_name=POLICY_AUDIT", "both"),
        ("policies.bucket=a.b", "policies.bucket"),
        ("sink.consumer=a>", "sink.consumer"),
        ("nats.reply_prefixes=", "nats.reply_prefixes"),
        ("nats.reply_prefixes=_INBOX", "nats.reply_prefixes"),
        ("nats.reply_prefixes=$JS.", "nats.reply_prefixes"),
        ("nats.reply_prefixes=_INBOX.>.", "nats.reply_prefixes"),
        ("nats.reply_prefixes=policy.", "the product's own subjects"),
        ("nats.reply_prefixes=policy.decision.", "the product's own subjects"),
        ("nats.url=", "nats.url"),
        ("nats.url=nats://a,", "nats.url"),
        ("nats.url=nats://a,b:4222", "nats.url"),
        ("nats.url=http://a", "nats.url"),
        ("nats.url=ws://a", "nats.url"),
        ("clickhouse.url=nats://a", "clickhouse.url"),
        ("clickhouse.url=http://a/db", "clickhouse.url"),
        ("clickhouse.database=a-b", "clickhouse.database"),
        ("clickhouse.database=1a", "clickhouse.database"),
        ("clickhouse.user=", "clickhouse.user"),
        ("telemetry.log=", "telemetry.log"),
        ("telemetry.listen=9464", "telemetry.listen"),
        ("telemetry.log=a=b=c", "telemetry.log"),
        ("telemetry.log=inof", "no level"),
    ] {
        let what = refused_keys(&[set]);
        assert!(what.contains(named), "{set}: {what}");
    }
    for fine in [
        "nats.subject_prefix=acme.policy",
        "nats.reply_prefixes=policyx.,_INBOX.",
        "nats.url=nats://a:1, tls://b",
        "clickhouse.url=https://[::1]:8443/",
        "telemetry.log=INFO,sluicegate::config=debug,async_nats=off",
        "telemetry.log=warn,hyper",
    ] {
        load(&set(&[fine])).unwrap_or_else(|error| panic!("{fine}: {error}"));
    }
}

#[test]
fn what_must_fit_together() {
    for (set, named) in [
        (&["worker.max_request_bytes=512KiB"][..], "`worker.max_request_bytes` (512KiB)"),
        (&["stream.max_message_size=512KiB"], "`stream.max_message_size` (512KiB)"),
        (&["sink.batch_bytes=512KiB"], "`sink.batch_bytes` (512KiB) can't hold"),
        (&["stream.duplicate_window=2h", "stream.max_age=1h"], "`stream.duplicate_window` (2h)"),
        (&["backoff.initial=10s"], "`backoff.initial` (10s) is longer"),
        (&["sink.batch_age=31s"], "`sink.batch_age` (31s)"),
        (&["nats.user=a", "nats.token=t"], "`nats.user` and `nats.token` are set"),
        (&["nats.token=t", "nats.credentials_file=f"], "`nats.credentials_file` are set"),
        (&["nats.password=p"], "without `nats.user`"),
        (&["http.listen=0.0.0.0:8181"], "there are no tokens"),
        (&["http.check_timeout=11s"], "`http.check_timeout` (11s) is longer"),
    ] {
        let what = refused_keys(set);
        assert!(what.contains(named), "{set:?}: {what}");
    }
    let remote = "http.listen=0.0.0.0:8181";
    for fine in ["http.anonymous=none", "http.anonymous=checker", "http.tokens_file=tokens"] {
        load(&set(&[remote, fine])).unwrap();
    }
    load(&set(&[remote, "http.tokens=fleet:checker:0123456789abcdef"])).unwrap();
    load(&set(&["nats.user=a", "nats.password=p"])).unwrap();
}

#[test]
fn a_finding_names_every_place_that_had_a_part() {
    let folder = Folder::main("[worker]\nmax_request_bytes = \"2MiB\"");
    let mut sources = folder.sources();
    sources.env = env(&[("SLUICEGATE_STREAM_MAX_MESSAGE_SIZE", "3MiB")]).env;
    let told = refusal(&sources);
    assert!(
        told.contains("config/sluicegate.toml:2, SLUICEGATE_STREAM_MAX_MESSAGE_SIZE: ")
            || told.contains("SLUICEGATE_STREAM_MAX_MESSAGE_SIZE, config/sluicegate.toml:2: "),
        "{told}"
    );
    assert!(told.contains("at most 1504KiB, or messages of at least 4160KiB"), "{told}");
}

#[test]
fn no_complaint_follows_from_a_refused_value() {
    // The default of 1 MiB stands in for what can't be read; nothing is said about its size.
    let folder =
        Folder::main("worker.max_request_bytes = \"2MiB\"\nstream.max_message_size = \"8MB!\"");
    let error = load(&folder.sources()).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
}

#[test]
fn configurations_made_in_code_are_checked_alike() {
    let mut config = Config::default();
    assert_eq!(findings(&config), []);
    config.stream.replicas = 4;
    let error = config.validate().unwrap_err();
    assert!(error.to_string().contains("`stream.replicas` is 4\n    a NATS cluster"), "{error}");
}
