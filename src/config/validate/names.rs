//! Names that other systems must accept: NATS, ClickHouse, the log filter.

use tracing_subscriber::EnvFilter;

use super::Findings;
use crate::config::keys::nearest_of;
use crate::config::model::Config;
use crate::config::url::{self, Unusable};

/// Longest name; streams and consumers are folders of the NATS server.
const LONGEST: usize = 64;

pub(super) fn check(c: &Config, findings: &mut Findings) {
    for (key, name) in [
        ("nats.queue_group", &c.nats.queue_group),
        ("stream.name", &c.stream.name),
        ("stream.dead_letter_name", &c.stream.dead_letter_name),
        ("policies.bucket", &c.policies.bucket),
        ("policies.workers_bucket", &c.policies.workers_bucket),
        ("chain.bucket", &c.chain.bucket),
        ("sink.consumer", &c.sink.consumer),
        ("alerter.consumer", &c.alerter.consumer),
    ] {
        findings.require(
            is_token(name),
            key,
            &format!("is {name:?}"),
            "a name of up to 64 letters, digits, `-` and `_`",
        );
    }
    let prefix = &c.nats.subject_prefix;
    findings.require(
        is_subject(prefix) && !prefix.starts_with('_'),
        "nats.subject_prefix",
        &format!("is {prefix:?}"),
        "one or more names of letters, digits, `-` and `_`, joined by dots, not beginning with `_`: policy, or acme.policy",
    );
    reply_prefixes(c, findings);
    urls(c, findings);

    let database = &c.clickhouse.database;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    findings.require(
        (1..=LONGEST).contains(&database.len())
            && database.chars().all(plain)
            && !database.starts_with(|c: char| c.is_ascii_digit()),
        "clickhouse.database",
        &format!("is {database:?}"),
        "a name of up to 64 letters, digits and `_` that doesn't begin with a digit",
    );
    findings.require(
        !c.clickhouse.user.is_empty(),
        "clickhouse.user",
        "is empty",
        "ClickHouse's own first user is called default",
    );
    log_filter(&c.telemetry.log, findings);
    findings.require(
        c.telemetry.listen.is_empty() || c.telemetry.listen_address().is_some(),
        "telemetry.listen",
        &format!("is {:?}", c.telemetry.listen),
        "an address with a port, such as 127.0.0.1:9464; or empty for nowhere",
    );
}

fn is_token(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn is_subject(name: &str) -> bool {
    name.len() <= LONGEST && name.split('.').all(is_token)
}

fn reply_prefixes(c: &Config, findings: &mut Findings) {
    const KEY: &str = "nats.reply_prefixes";
    let ours = format!("{}.", c.nats.subject_prefix);
    findings.require(
        !c.nats.reply_prefixes.is_empty(),
        KEY,
        "is empty: no check could be answered",
        "the prefix of NATS clients' inboxes is `_INBOX.`",
    );
    for prefix in &c.nats.reply_prefixes {
        if !prefix.strip_suffix('.').is_some_and(is_subject) {
            findings.require(
                false,
                KEY,
                &format!("has {prefix:?}"),
                "names of letters, digits, `-` and `_`, each followed by a dot: _INBOX.",
            );
        } else if prefix.starts_with(&ours) || ours.starts_with(prefix.as_str()) {
            findings.add(
                &[KEY, "nats.subject_prefix"],
                format!(
                    "`{KEY}` has {prefix:?}, so a reply could be sent to the product's own subjects"
                ),
                format!("a prefix apart from `nats.subject_prefix` ({ours:?})"),
            );
        }
    }
}

fn urls(c: &Config, findings: &mut Findings) {
    // A comma may stand in a password: such a list is refused as a whole, not in parts that show it.
    let whole = c.nats.url.contains('@');
    let separator = |c: char| c == ',' && !whole;
    for server in c.nats.url.split(separator).map(str::trim) {
        let way_out = match url::check(server, &["nats", "tls"]) {
            Ok(()) => continue,
            Err(Unusable::Credentials) => {
                "put credentials into nats.user and nats.password, or nats.token: URLs appear in logs"
            }
            Err(Unusable::Scheme) if server.starts_with("ws") => {
                "WebSockets are not supported: nats://host:4222, or tls://host:4222"
            }
            Err(_) => "a URL such as nats://host:4222, or several separated by commas",
        };
        refuse("nats.url", server, way_out, findings);
    }
    let server = c.clickhouse.url.as_str();
    let way_out = match url::check(server, &["http", "https"]) {
        Ok(()) => return,
        Err(Unusable::Credentials) => {
            "put credentials into clickhouse.user and clickhouse.password: URLs appear in logs"
        }
        Err(Unusable::Tail) => {
            "the address alone, such as http://127.0.0.1:8123; the database is clickhouse.database"
        }
        Err(_) => "the URL of ClickHouse's HTTP interface, such as http://127.0.0.1:8123",
    };
    refuse("clickhouse.url", server, way_out, findings);
}

fn refuse(key: &'static str, url: &str, way_out: &str, findings: &mut Findings) {
    let is = format!("has {:?}", url::hide_credentials(url));
    findings.require(false, key, &is, way_out);
}

fn log_filter(filter: &str, findings: &mut Findings) {
    const KEY: &str = "telemetry.log";
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
    const EXAMPLE: &str = "a level (trace, debug, info, warn, error, off), and levels for parts: info,sluicegate=debug";
    let valid = !filter.trim().is_empty() && EnvFilter::builder().parse(filter).is_ok();
    findings.require(valid, KEY, &format!("is {filter:?}"), EXAMPLE);
    if !valid {
        return;
    }
    // To the filter, `inof` is a part of the program of that name, and nothing would be logged.
    let words = filter.split(',').map(str::trim);
    for word in words.filter(|w| w.chars().all(|c| c.is_ascii_alphabetic())) {
        let known = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        if let Some(level) = nearest_of(word, LEVELS).filter(|_| !known) {
            findings.require(
                false,
                KEY,
                &format!("has {word:?}, which is no level"),
                &format!("did you mean {level}? For a part of the program write {word}={level}"),
            );
        }
    }
}
