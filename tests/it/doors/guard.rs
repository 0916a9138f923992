//! Who may come in: roles, names, other sites' pages, and what is refused before the start.

use reqwest::Method;
use serde_json::{Value, json};
use sluicegate::config::{Config, Secret};
use sluicegate::roles::console::{ConsoleError, Doors};

use super::support::{House, SECRET, Said};
use crate::worker::support::{Admin, Fleet, Program, Running};

fn input() -> Value {
    json!({"input": {"action": "a", "resource": "r"}})
}

const REGO: &str = "package made\n\nimport rego.v1\n\ndefault allow := true\n";

/// What each role may: the request, and the least role for it.
async fn tried(house: &House) -> Vec<u16> {
    let evaluation = json!({"subject": {"type": "user", "id": "a"}, "action": {"name": "a"},
        "resource": {"type": "r", "id": "r"}});
    let switch = json!({"mode": "on", "comment": "as it was"});
    let mut codes = vec![
        house.post("/v1/data/cmbagent/default", input()).await.status,
        house.post("/v0/data/cmbagent/default", json!({})).await.status,
        house.post("/access/v1/evaluation", evaluation).await.status,
        house.get("/v1/policies").await.status,
        house.get("/api/enforcement").await.status,
        house.send("PUT", "/v1/policies/made", REGO).await.status,
        house.send("DELETE", "/v1/policies/made", "").await.status,
    ];
    codes.push(Said::of(house.request(Method::PUT, "/api/enforcement").json(&switch)).await.status);
    codes
}

#[tokio::test]
async fn each_role_may_what_those_before_it_may() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, _audit) = fleet.start().await;
    let mut house = House::with_tokens(&fleet.config).await;
    assert_eq!(tried(&house).await, [401; 8], "without a token");
    house.as_role("nobody");
    assert_eq!(tried(&house).await, [401; 8], "with a token that isn't one");
    for (role, allowed) in [("checker", 3), ("viewer", 5), ("author", 7), ("admin", 8)] {
        house.as_role(role);
        let mut expected = [403; 8];
        expected[..allowed].fill(200);
        assert_eq!(tried(&house).await, expected, "{role}");
    }
    house.as_role("admin");
    let turned = house.request(Method::PUT, "/api/enforcement").json(&json!({"mode": "shadow"}));
    let turned = Said::of(turned).await.json(200);
    assert_eq!(turned["enforcement"]["updated_by"], "the-admin", "{turned}");
    assert_eq!(agent.act("a").await["enforced"], false);
    let wrong = house.request(Method::PUT, "/api/enforcement").json(&json!({"mode": "maybe"}));
    assert_eq!(Said::of(wrong).await.json(400)["title"], "Bad Request");
    let admin = Admin::new(&agent, "somebody");
    let versions = admin.does("versions", json!({"policy": "made"})).await;
    assert_eq!(versions["versions"][1]["created_by"], "the-admin");
}

#[tokio::test]
async fn refusals_speak_the_language_of_their_door() {
    let fleet = Fleet::with_shipped("");
    let mut house = House::with_tokens(&fleet.config).await;
    let challenge = |said: &Said, error: &str| {
        let header = said.header("www-authenticate");
        assert!(header.starts_with("Bearer ") && header.contains(error), "{said:?}");
    };
    let opa = house.post("/v1/data/a", input()).await;
    assert_eq!(opa.opa_code(401), "unauthorized");
    challenge(&opa, "realm=");
    let authzen = house.post("/access/v1/evaluation", json!({})).await;
    assert!(authzen.is(401).contains("bearer token") && !authzen.text.starts_with('{'));
    let own = house.get("/api/enforcement").await;
    assert_eq!(own.header("content-type"), "application/problem+json");
    assert_eq!(own.json(401)["title"], "Unauthorized");
    house.as_role("nobody");
    challenge(&house.get("/v1/policies").await, "invalid_token");
    house.as_role("checker");
    let less = house.get("/v1/policies").await;
    assert_eq!(less.opa_code(403), "unauthorized");
    challenge(&less, "insufficient_scope");
    assert!(less.text.contains("viewer") && !less.text.contains(SECRET), "{less:?}");
    for header in ["Basic dXNlcjpwYXNz", "Bearer", "bearer  ", SECRET] {
        let sent = super::support::client().get(format!("{}/v1/policies", house.url));
        let said = Said::of(sent.header("authorization", header)).await;
        assert_eq!(said.opa_code(401), "unauthorized", "{header}");
    }
}

#[tokio::test]
async fn health_metrics_and_discovery_stay_open() {
    let fleet = Fleet::with_shipped("");
    let house = House::with_tokens(&fleet.config).await;
    for path in
        ["/", "/livez", "/readyz", "/metrics", "/health", "/.well-known/authzen-configuration"]
    {
        assert_eq!(house.get(path).await.status, 200, "{path}");
    }
    assert_eq!(house.post("/metrics", json!({})).await.status, 401);
    assert_eq!(house.get("/nowhere").await.status, 401, "what isn't known isn't open");
    house.post("/v1/data/a", input()).await.opa_code(401);
    let metrics = house.get("/metrics").await;
    let counted = "sluicegate_http_requests_total{route=\"/v1/data/{*path}\",status=\"401\"}";
    assert!(metrics.is(200).contains(counted), "{metrics:?}");
    assert!(
        metrics.text.contains("sluicegate_http_request_duration_seconds_count{route=\"/livez\"}")
    );
    assert!(!metrics.text.contains("s3cret"));
}

/// A page in a browser on this machine can't reach the doors by a name of its own, nor send forms.
#[tokio::test]
async fn other_names_and_other_sites_pages_are_refused() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let port = house.url.rsplit(':').next().unwrap().to_owned();
    let ask = async |host: &str, origin: Option<&str>| {
        let mut sent =
            house.request(Method::POST, "/v1/data/cmbagent/default").header("host", host);
        if let Some(origin) = origin {
            sent = sent.header("origin", origin);
        }
        Said::of(sent.json(&input())).await
    };
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example"] {
        let said = ask(host, None).await;
        assert_eq!(said.opa_code(403), "unauthorized", "{host}");
        assert!(said.text.contains("http.hosts"), "{said:?}");
    }
    let here = format!("localhost:{port}");
    for origin in ["https://evil.example", "null"] {
        ask(&here, Some(origin)).await.opa_code(403);
    }
    assert_eq!(audit.len().await, 0, "nothing of it was asked");
    let said = ask(&here, Some(&format!("http://{here}"))).await;
    said.json(200);
    let names: Vec<&str> = said.headers.keys().map(|name| name.as_str()).collect();
    assert!(!names.iter().any(|name| name.starts_with("access-control-")), "{names:?}");
    let preflight = house.request(Method::OPTIONS, "/v1/policies/a").header("host", &here);
    let preflight = Said::of(preflight.header("origin", format!("http://{here}"))).await;
    assert!(preflight.status >= 400, "{preflight:?}");

    let mut config = fleet.config.clone();
    config.http.hosts = vec!["pdp.example.org".into()];
    let house = House::begin(&config).await;
    let sent = house.request(Method::GET, "/livez").header("host", "pdp.example.org:8181");
    assert_eq!(Said::of(sent).await.status, 200);
}

#[test]
fn elsewhere_than_on_loopback_tokens_are_needed() {
    let mut config = Config::default();
    config.http.listen = "0.0.0.0:0".parse().unwrap();
    let error = Doors::new(&config).unwrap_err();
    assert!(matches!(error, ConsoleError::NoTokens { .. }) && !error.is_transient());
    for key in ["http.listen", "http.tokens", "http.tokens_file", "http.anonymous"] {
        assert!(error.to_string().contains(key), "{error}");
    }
    config.http.tokens = Secret::from(format!("a:checker:{SECRET}"));
    assert!(Doors::new(&config).is_ok());

    // The program says so before anything starts.
    let said = Program::new(&["console", "--set", "http.listen=0.0.0.0:0"]).run();
    assert_ne!(said.code, 0);
    assert!(said.err.contains("http.tokens"), "{said:?}");
    let broken = ["console", "--set", "http.listen=127.0.0.1:0", "--set"];
    let said = Program::new(&[&broken[..], &["http.tokens_file=missing"]].concat()).run();
    assert!(said.err.contains("http.tokens_file") && said.err.contains("missing"), "{said:?}");
    let said = Program::new(&[&broken[..], &["http.tokens_file=tokens"]].concat())
        .file(
            "tokens",
            "# ours\n\nfleet:checker:0123456789abcdef\nfleet:king:s3cret-s3cret-s3cret\n",
        )
        .run();
    assert!(said.err.contains("number 4 in the setting http.tokens_file"), "{said:?}");
    assert!(!said.err.contains("s3cret"), "{said:?}");
}

#[tokio::test]
async fn no_token_is_ever_shown() {
    let fleet = Fleet::with_shipped("");
    let port = crate::support::servers::free_port();
    let (listen, url) = (format!("http.listen=127.0.0.1:{port}"), fleet.nats.url());
    let tokens = format!("fleet:viewer:viewer{SECRET}");
    let said = Program::new(&["config"]).env("SLUICEGATE_HTTP_TOKENS", &tokens).run();
    assert!(said.out.contains("[hidden]") && !said.out.contains("s3cret"), "{}", said.out);
    let program = Program::new(&["console", "--nats-url", &url, "--set", &listen])
        .env("SLUICEGATE_HTTP_TOKENS_FILE", "tokens")
        .env("SLUICEGATE_TELEMETRY_LOG", "trace")
        .file("tokens", &tokens);
    let mut console = program.start();
    Running::logs(&mut console, "part=\"nats-console\"");
    let client = super::support::client();
    for (token, status) in [(format!("viewer{SECRET}"), 500), (format!("other{SECRET}"), 401)] {
        let sent = client.get(format!("http://127.0.0.1:{port}/v1/policies")).bearer_auth(token);
        assert_eq!(Said::of(sent).await.status, status);
    }
    let log = console.log();
    assert!(!log.contains("s3cret") && log.len() > 100, "{log}");
}

/// What callers without a token may do can be said.
#[tokio::test]
async fn anonymous_callers_have_the_role_that_is_configured() {
    use sluicegate::config::Anonymous;

    let fleet = Fleet::with_shipped("");
    let _worker = fleet.worker().await;
    for (anonymous, allowed, refused) in
        [(Anonymous::None, 0, 401), (Anonymous::Checker, 3, 403), (Anonymous::Author, 7, 403)]
    {
        let mut config = fleet.config.clone();
        config.http.anonymous = anonymous;
        let house = House::open(&config).await;
        let mut expected = [refused; 8];
        expected[..allowed].fill(200);
        assert_eq!(tried(&house).await, expected, "{anonymous:?}");
    }
}
