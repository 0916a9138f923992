//! The guide's commands, run in their order against real servers as a reader would run them, and
//! what they print compared with what the guide shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::store::outside;
use crate::support::documents::{Block, blocks, code_spans, document, fences};
use crate::support::servers::{ClickHouse, NatsServer, PATIENCE, free_port, poll};
use crate::worker::support::fleet::shipped_policies;
use crate::worker::support::{Program, Running, until};

/// A shell in a folder of its own, beside a running Sluicegate.
struct Desk {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
    _running: Running,
    _nats: NatsServer,
}

impl Desk {
    /// Everything that `make up` starts, with the policies that come with it.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        fs::create_dir(&policies).unwrap();
        for item in fs::read_dir(shipped_policies()).unwrap().map(Result::unwrap) {
            fs::copy(item.path(), policies.join(item.file_name())).unwrap();
        }
        let nats = NatsServer::start();
        let clickhouse = ClickHouse::shared().config();
        let variables = vec![
            ("SLUICEGATE_NATS_URL", nats.url()),
            ("SLUICEGATE_CLICKHOUSE_URL", clickhouse.url),
            ("SLUICEGATE_CLICKHOUSE_DATABASE", clickhouse.database),
            ("SLUICEGATE_HTTP_LISTEN", format!("127.0.0.1:{}", free_port())),
            ("SLUICEGATE_POLICIES_FOLDER", policies.to_str().unwrap().to_owned()),
            // A debug build on a busy machine: limits that are not what is shown here.
            ("SLUICEGATE_LIMITS_TIME", "5s".to_owned()),
            ("SLUICEGATE_AUDIT_ACKNOWLEDGE_TIMEOUT", "20s".to_owned()),
            ("USER", "ada".to_owned()),
        ];
        let serve = variables
            .iter()
            .fold(Program::new(&["serve"]), |program, (name, value)| program.env(name, value));
        let running = Running::worker(serve);
        let desk = Self { folder, variables, _running: running, _nats: nats };
        // The sink has made the tables by then.
        poll("all is ready", || (desk.run("sluicegate health").1 == 0).then_some(()));
        desk
    }

    /// Runs one command, and says what it printed on both outputs and how it ended.
    fn run(&self, command: &str) -> (String, i32) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_sluicegate"));
        let beside = program.parent().unwrap().to_str().unwrap();
        let path = format!("{beside}:{}", std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.folder.path())
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .env("PATH", path)
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    }

    /// Runs the commands of a block, each of which must end as what it prints says.
    fn all(&self, commands: &[String]) -> String {
        let mut all = String::new();
        for command in commands {
            let (said, code) = self.run(command);
            assert_eq!(code, code_of(&said), "{command}\n{said}");
            all.push_str(&said);
        }
        all
    }

    /// Runs commands that change nothing until they print what is shown.
    fn says_at_last(&self, commands: &[String], shown: &[String]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.all(commands);
            if agrees(shown, &lines(&said)) {
                return;
            }
            assert!(Instant::now() < deadline, "{}", differs(commands, &said, shown));
        }
    }

    /// Writes the files of these blocks and runs their commands; how many commands there were.
    fn follow(&self, blocks: &[Block]) -> usize {
        let mut count = 0;
        for (index, block) in blocks.iter().enumerate() {
            if let Some(file) = written_file(block) {
                fs::write(self.folder.path().join(file), format!("{}\n", block.body)).unwrap();
            }
            if block.language != "sh" {
                continue;
            }
            let commands = commands(&block.body);
            count += commands.len();
            let shown = blocks.get(index + 1).filter(|next| next.language == "text");
            let Some(shown) = shown.map(|next| lines(&next.body)) else {
                self.all(&commands);
                continue;
            };
            // The audit is there a moment after the decision, and a remedy when it took no time.
            let again = ["sluicegate audit", "sluicegate check"];
            if commands.iter().all(|command| again.iter().any(|begin| command.starts_with(begin))) {
                self.says_at_last(&commands, &shown);
                continue;
            }
            let said = self.all(&commands);
            assert!(agrees(&shown, &lines(&said)), "{}", differs(&commands, &said, &shown));
        }
        count
    }
}

fn differs(commands: &[String], said: &str, shown: &[String]) -> String {
    format!("{}\n\nprints\n{said}\nand the guide shows\n{shown:#?}", commands.join("\n"))
}

/// How a command ends that prints this.
fn code_of(said: &str) -> i32 {
    let last = said.lines().last().unwrap_or_default();
    if said.starts_with("DENIED") || said.starts_with("WOULD BE DENIED") {
        2
    } else if ["refused: ", "conflict: "].iter().any(|begin| said.starts_with(begin))
        || last.ends_with(": would be refused")
    {
        1
    } else {
        0
    }
}

/// The file that a block is, where the line before it says "Write `file`:".
fn written_file(block: &Block) -> Option<&Path> {
    let named = block.before.contains("Write `") && block.before.ends_with("`:");
    code_spans(&block.before).last().filter(|_| named).map(Path::new)
}

/// The commands of a block that this machine is sure to have, one from several lines where a line
/// ends in a backslash.
fn commands(body: &str) -> Vec<String> {
    let whole = body.replace("\\\n", " ");
    let ours = |line: &&str| ["sluicegate ", "sed "].iter().any(|begin| line.starts_with(begin));
    whole.lines().filter(ours).map(str::to_owned).collect()
}

/// Lines that aren't empty, with words where runs differ: ids, digests, times, the machine.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(steady).filter(|line| !line.is_empty()).collect()
}

fn steady(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let steady = |(index, word): (usize, &&str)| {
        let unit = words.get(index + 1).is_some_and(|next| matches!(*next, "µs" | "ms"));
        let is_hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let is_time = word.contains([':', '-'])
            && word.len() > 4
            && word.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '-' | '.'));
        match word.len() {
            _ if unit => "<number>".to_owned(),
            32 | 36 if is_hex => "<id>".to_owned(),
            _ if is_time => "<time>".to_owned(),
            _ if word.starts_with("ada@") => "<author>".to_owned(),
            _ => (*word).to_owned(),
        }
    };
    words.iter().enumerate().map(steady).collect::<Vec<_>>().join(" ")
}

/// Whether these lines were said. The line `…` stands for any lines, `…` at the end of a line for
/// any rest of it.
fn agrees(shown: &[String], said: &[String]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((line, rest)) if line == "…" => (0..=said.len()).any(|at| agrees(rest, &said[at..])),
        Some((line, rest)) => said.split_first().is_some_and(|(first, others)| {
            let same = match line.strip_suffix('…') {
                Some(begin) => first.starts_with(begin),
                None => first == line,
            };
            same && agrees(rest, others)
        }),
    }
}

/// A chapter of a document.
fn chapter(path: &str, heading: &str) -> Vec<Block> {
    let text = document(path);
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    blocks(rest.split("\n## ").next().unwrap())
}

#[test]
fn the_guide_of_policies_step_by_step() {
    let ran = Desk::new().follow(&chapter("docs/policies.md", "Step by step"));
    assert!(ran > 25, "{ran} commands");
}

#[test]
fn the_first_steps_of_the_readme() {
    let desk = Desk::new();
    assert!(desk.follow(&chapter("README.md", "The first check")) >= 1);
    assert!(desk.follow(&chapter("README.md", "Switch a policy on")) >= 3);
}

/// With the permissions that docs/security.md shows, everyone can do what they are there for.
#[test]
fn the_permissions_of_the_security_page_suffice() {
    let users = ["planner", "operator", "worker", "sink", "alerter", "console", "pager"];
    let page = document("docs/security.md");
    let texts = fences(&page, "text");
    let accounts = texts.iter().find(|text| text.starts_with("accounts")).unwrap();
    let passwords: String =
        users.map(|user| format!("{}_PASSWORD: secret\n", user.to_uppercase())).concat();
    let nats = NatsServer::start_with(&format!("{passwords}{accounts}"));
    let clickhouse = ClickHouse::shared().config();
    let program = |user: &str, arguments: &[&str]| {
        Program::new(arguments)
            .env("SLUICEGATE_NATS_URL", &nats.url())
            .env("SLUICEGATE_NATS_USER", user)
            .env("SLUICEGATE_NATS_PASSWORD", "secret")
            .env("SLUICEGATE_CLICKHOUSE_URL", &clickhouse.url)
            .env("SLUICEGATE_CLICKHOUSE_DATABASE", &clickhouse.database)
            .env("SLUICEGATE_STREAM_MAX_BYTES", "256MiB")
            .env("SLUICEGATE_AUDIT_CHECKPOINT", "1s")
            .env("SLUICEGATE_POLICIES_FOLDER", shipped_policies().to_str().unwrap())
    };
    let mut worker = Running::worker(program("worker", &["worker"]));
    let _sink = program("sink", &["sink"]).start();
    let alerter = program("alerter", &["alerter"]);
    let nobody = alerter.env("SLUICEGATE_ALERTER_SLACK", "http://127.0.0.1:1/x");
    let _alerter = nobody.env("SLUICEGATE_ALERTER_GIVE_UP", "1ms").start();
    let enable = ["policy", "enable", "data_privacy", "--wait"];
    let said = program("operator", &enable).run().ended_with(0);
    assert!(said.out.contains("in force on 1 worker"), "{said:?}");
    let act = ["--action", "file_read", "--resource", "/data/.env"];
    program("operator", &[&["eval"], &act[..]].concat()).run().ended_with(2);
    let check = [&["check", "--agent", "planner"], &act[..]].concat();
    let said = program("planner", &check).run().ended_with(2);
    assert!(said.out.contains("\nrecorded "), "{said:?}");
    poll("the decision is in ClickHouse", || {
        let said = program("sink", &["audit", "--agent", "planner"]).run();
        said.out.contains("sensitive_file_access").then_some(())
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let poll_for = |what: &str, sql: &str| {
        poll(what, || {
            let count = outside(&clickhouse);
            let count = count.query_raw(sql).fetch_one::<u64>();
            runtime.block_on(count).is_ok_and(|count| count > 0).then_some(())
        });
    };
    poll_for(
        "that nobody could be told is in ClickHouse",
        "SELECT count() FROM violations WHERE version > 0 AND NOT notified",
    );
    poll_for("how far the worker has counted", "SELECT count() FROM audit_workers WHERE NOT last");
    runtime.block_on(tells_as_planner(&nats.url()));
    poll_for(
        "the unchecked call is in ClickHouse",
        "SELECT count() FROM decisions WHERE unchecked = 'timeout'",
    );
    poll_for("how it ended is in ClickHouse", "SELECT count() FROM outcomes");
    runtime.block_on(is_acknowledged(&nats.url()));
    let listen = format!("127.0.0.1:{}", free_port());
    let _console = program("console", &["console"]).env("SLUICEGATE_HTTP_LISTEN", &listen).start();
    poll("a check over HTTP", || runtime.block_on(denied_over_http(&listen)).then_some(()));
    runtime.block_on(shown_by_the_console(&listen));
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait().success(), "{}", worker.log());
    assert!(!worker.log().contains("wait in files"), "{}", worker.log());
    poll_for("that it has ended", "SELECT count() FROM audit_workers WHERE last");
}

/// Whether a worker denies what is asked at the console.
async fn denied_over_http(listen: &str) -> bool {
    let body = serde_json::json!({"input": {"action": "file_read", "resource": "/data/.env"}});
    let url = format!("http://{listen}/v1/data/cmbagent/data_privacy");
    let Ok(answer) = reqwest::Client::new().post(url).json(&body).send().await else {
        return false;
    };
    let answer: serde_json::Value = answer.json().await.unwrap_or_default();
    answer["result"]["allow"] == false
}

/// What else the console does on NATS: statistics, trials, acknowledgements, live events.
async fn shown_by_the_console(listen: &str) {
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{listen}/api/{path}");
    let json = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let fleet = json(client.get(url("stats/fleet"))).await;
    assert!(fleet["nats"]["audit"]["messages"].as_u64() > Some(0), "{fleet}");
    assert_eq!(fleet["workers"].as_array().unwrap().len(), 1, "{fleet}");
    let input = serde_json::json!({"action": "file_read", "resource": "/data/.env"});
    let tried = json(client.post(url("policies/data_privacy/test")).json(&input)).await;
    assert_eq!(tried["allowed"], false);
    let violations = json(client.get(url("violations"))).await;
    let id = violations["violations"][0]["id"].as_str().unwrap().to_owned();
    let path = url(&format!("violations/{id}/acknowledge"));
    json(client.post(path).json(&serde_json::json!({}))).await;
    let mut tail = client.get(url("events?kind=decision")).send().await.unwrap();
    assert!(denied_over_http(listen).await);
    let mut seen = String::new();
    while !seen.contains("event: decision") {
        let bytes = tail.chunk().await.unwrap().expect("the stream goes on");
        seen.push_str(&String::from_utf8_lossy(&bytes));
    }
}

async fn signed_in(url: &str, user: &str) -> async_nats::jetstream::Context {
    let options = async_nats::ConnectOptions::with_user_and_password(user.into(), "secret".into());
    async_nats::jetstream::new(options.connect(url).await.unwrap())
}

/// What a client reports: a call that nobody answered, something that is no report, and how a call ended.
async fn tells_as_planner(url: &str) {
    let jetstream = signed_in(url, "planner").await;
    let (id, ended) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let report = serde_json::json!({
        "schema": 1, "id": id, "timestamp": chrono::Utc::now(), "cause": "timeout", "allowed": true,
        "request": {"action": "file_read", "resource": "/data/.env"},
    });
    let outcome = serde_json::json!({
        "schema": 1, "id": ended, "decision_id": id, "timestamp": chrono::Utc::now(),
        "outcome": "ok", "duration_seconds": 0.1,
    });
    for (subject, body) in [
        ("policy.unchecked", report.to_string()),
        ("policy.unchecked", "hello".to_owned()),
        ("policy.outcome", outcome.to_string()),
    ] {
        jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    }
}

/// The worker may acknowledge reports, and put aside what is none.
async fn is_acknowledged(url: &str) {
    let jetstream = signed_in(url, "worker").await;
    until("reports are acknowledged", async || {
        let stream = jetstream.get_stream("POLICY_AUDIT").await.ok()?;
        let info = stream.consumer_info("sluicegate-unchecked").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
    let letters = jetstream.get_stream("POLICY_DEADLETTER").await.unwrap();
    assert_eq!(letters.cached_info().state.messages, 1);
}

#[test]
fn what_is_shown_is_compared() {
    let same = |shown: &str, said: &str| agrees(&lines(shown), &lines(said));
    assert!(same("a  v1\n…\nz 3 ms", "a v1\nb\nc\nz 31 ms\n"));
    assert!(same("at 22:01 by ada@lab …", "at 09:14 by ada@vm, and more"));
    for (shown, said) in [("a v1", "a v2"), ("a", "a\nb"), ("a\n…\nc", "a\nb"), ("x 1", "x 2")] {
        assert!(!same(shown, said), "{shown} is not {said}");
    }
}
