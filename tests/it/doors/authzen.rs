//! AuthZEN 1.0: the certification scenario of openid/authzen, level by level, and what the specification
//! says beside it.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{House, Said};
use crate::worker::support::{AuditStream, Fleet, Worker};

/// The scenario's fixture (its section "Required Policy Behaviour").
const FIXTURE: &str = r#"
default allow := false

subject := input.authzen.subject

status := object.get(input.resource, "status", "active")

admin if subject.properties.role == "admin"

allow if {
	subject.id == "alice"
	input.action in {"read", "write"}
	input.resource.type == "record"
	writable
}

allow if {
	subject.id == "bob"
	input.action == "read"
}

allow if {
	admin
	input.action == "write"
	status == "archived"
}

allow if {
	subject.id == "alice"
	input.action == "delete"
	input.authzen.action.properties.soft == true
}

writable if input.action == "read"

writable if status != "archived"
"#;

struct Certified {
    house: House,
    audit: AuditStream,
    _worker: Worker,
    _fleet: Fleet,
}

async fn certified() -> Certified {
    let fleet = Fleet::with_policies(&[("records", FIXTURE)]);
    let (worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    Certified { house, audit, _worker: worker, _fleet: fleet }
}

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

fn request(subject: &str, action: &str, resource: &str) -> Value {
    json!({
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "record", "id": resource},
    })
}

fn decisions(said: &Said) -> Vec<bool> {
    let body = said.json(200);
    assert!(body.get("decision").is_none(), "{body}");
    let items = body["evaluations"].as_array().unwrap();
    items.iter().map(|item| item["decision"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn basic_core_and_properties() {
    let certified = certified().await;
    let (house, audit) = (&certified.house, &certified.audit);
    let mut context = request("alice", "read", "record-1");
    context["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
    let mut archived = request("alice", "write", "record-2");
    archived["resource"]["properties"] = json!({"status": "archived"});
    let mut admin = archived.clone();
    admin["subject"] = json!({"type": "user", "id": "bob", "properties": {"role": "admin"}});
    let mut soft = request("alice", "delete", "record-1");
    soft["action"]["properties"] = json!({"soft": true});
    let mut hard = soft.clone();
    hard["action"]["properties"]["soft"] = json!(false);
    let more = json!({
        "subject": {"type": "user", "id": "alice",
            "properties": {"department": "Sales", "role": "manager"}},
        "action": {"name": "read", "properties": {"method": "GET"}},
        "resource": {"type": "record", "id": "record-1",
            "properties": {"status": "active", "owner": "bob"}},
    });
    let mut unknown = request("alice", "read", "record-1");
    unknown["foo"] = json!("bar");
    unknown["futureField"] = json!({"nested": true});
    for (name, body, decision) in [
        ("2.2.1, rule 1", request("alice", "read", "record-1"), true),
        ("rule 2", request("alice", "write", "record-1"), true),
        ("rule 3", request("bob", "read", "record-1"), true),
        ("2.2.2, rule 4", request("bob", "write", "record-1"), false),
        ("2.2.3, context", context, true),
        ("2.2.4, rule 5", archived, false),
        ("2.2.5, rule 6", admin, true),
        ("2.2.6, rule 7", soft, true),
        ("2.2.7, rule 8", hard, false),
        ("2.2.8, more properties", more, true),
        ("2.2.9, unknown fields", unknown, true),
    ] {
        // Section 2.6: the same again and again.
        for _ in 0..3 {
            let said = house.post(ONE, body.clone()).await;
            assert_eq!(said.header("content-type"), "application/json");
            let answer = said.json(200);
            assert_eq!(answer["decision"], decision, "{name}: {answer}");
            assert!(answer["context"].is_object(), "{answer}");
        }
    }
    let said = house.post(ONE, request("bob", "write", "record-1")).await.json(200);
    let event = audit.last("policy.decision.deny.write").await.unwrap().event;
    assert_eq!(event["id"], said["context"]["id"], "decisions are audited as any other");
    assert_eq!(event["user"], "bob");
}

#[tokio::test]
async fn errors_and_headers() {
    let certified = certified().await;
    let (house, audit) = (&certified.house, &certified.audit);
    let whole = request("alice", "read", "record-1");
    let mut bad: Vec<Value> = Vec::new();
    for (entity, member) in [
        ("subject", None),
        ("action", None),
        ("resource", None),
        ("subject", Some("type")),
        ("subject", Some("id")),
        ("action", Some("name")),
        ("resource", Some("type")),
        ("resource", Some("id")),
    ] {
        let mut body = whole.clone();
        let from = match member {
            None => body.as_object_mut(),
            Some(_) => body[entity].as_object_mut(),
        };
        from.unwrap().remove(member.unwrap_or(entity));
        bad.push(body);
    }
    for (pointer, value) in [
        ("/subject", json!("alice")),
        ("/action/name", json!(123)),
        ("/action/name", json!(" ")),
        ("/action/name", json!("x".repeat(300))),
    ] {
        let mut body = whole.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        bad.push(body);
    }
    for path in [ONE, MANY] {
        for body in &bad {
            let said = house.post(path, body.clone()).await;
            assert!(!said.is(400).is_empty(), "{body}");
        }
        for body in ["{\"subject\":", "", "[]", "7"] {
            let sent = house.request(Method::POST, path).header("content-type", "application/json");
            Said::of(sent.body(body)).await.is(400);
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
            let sent = house.request(Method::POST, path).header("content-type", kind);
            Said::of(sent.body(whole.to_string())).await.is(400);
        }
        Said::of(house.request(Method::POST, path).body(whole.to_string())).await.is(400);
        let charset = "application/json; charset=utf-8";
        let sent = house.request(Method::POST, path).header("content-type", charset);
        Said::of(sent.body(whole.to_string())).await.is(200);

        // Given back with every answer, also of an error.
        for (body, status) in [(whole.clone(), 200), (json!({}), 400)] {
            let sent = house.request(Method::POST, path).header("X-Request-ID", "bfe9eb29-ab87");
            let said = Said::of(sent.json(&body)).await;
            assert_eq!((said.status, said.header("x-request-id")), (status, "bfe9eb29-ab87"));
        }
        house.post(path, whole.clone()).await.is(200);
        house.get(path).await.is(405);
    }
    house.post("/access/v1/search/subject", whole).await.is(404);
    assert_eq!(audit.len().await, 6, "what is wrong is not decided");
}

#[tokio::test]
async fn batch_core_and_properties() {
    let certified = certified().await;
    let house = &certified.house;
    let asked = async |body: Value| decisions(&house.post(MANY, body).await);
    let alice = json!({"type": "user", "id": "alice"});
    let bob = json!({"type": "user", "id": "bob"});
    let one = json!({"type": "record", "id": "record-1"});
    let active = json!({"type": "record", "id": "record-1", "properties": {"status": "active"}});
    let archived =
        json!({"type": "record", "id": "record-2", "properties": {"status": "archived"}});

    let said = house
        .post(
            MANY,
            json!({"subject": alice, "action": {"name": "read"},
            "evaluations": [{"resource": one}, {"resource": archived}]}),
        )
        .await;
    // Nothing but the decision, unless asked for.
    let plain = json!({"evaluations": [{"decision": true}, {"decision": true}]});
    assert_eq!(said.json(200), plain, "3.2.1");
    let body = json!({"subject": bob, "resource": one,
        "evaluations": [{"action": {"name": "read"}}, {"action": {"name": "write"}}]});
    assert_eq!(asked(body).await, [true, false], "3.2.2");
    let body = json!({"subject": alice, "action": {"name": "write"},
        "evaluations": [{"resource": active}, {"resource": archived}]});
    assert_eq!(asked(body).await, [true, false], "3.2.3");
    let admin = json!({"type": "user", "id": "bob", "properties": {"role": "admin"}});
    let body = json!({"action": {"name": "write"}, "resource": archived,
        "evaluations": [{"subject": alice}, {"subject": admin}]});
    assert_eq!(asked(body).await, [false, true], "3.2.4");
    let body = json!({"evaluations": [
        request("alice", "read", "record-1"), request("bob", "write", "record-1")]});
    assert_eq!(asked(body).await, [true, false], "3.2.5");
    let body = json!({"subject": alice, "action": {"name": "read"},
        "context": {"time": "2025-06-27T18:03-07:00"},
        "evaluations": [{"resource": one}, {"resource": archived,
            "context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}}]});
    assert_eq!(asked(body).await.len(), 2, "3.2.6");
    let body = json!({"subject": alice, "action": {"name": "write"},
        "resource": {"type": "record"}, "evaluations": [
            {"resource": {"id": "record-1", "properties": {"status": "active"}}},
            {"resource": archived}]});
    assert_eq!(asked(body).await, [true, false], "3.2.7");

    // 3.4.1: a malformed item is a plain denial, and the others are decided.
    let body = json!({"subject": alice, "action": {"name": "read"},
        "evaluations": [{"resource": one}, {}, 7, {"resource": "x"}, {"resource": one}]});
    let plain = |decision: bool| json!({"decision": decision});
    let expected: Vec<Value> = [true, false, false, false, true].map(plain).into();
    assert_eq!(house.post(MANY, body).await.json(200), json!({"evaluations": expected}));
    // 3.4.2 and 3.4.3: without evaluations it is one evaluation.
    let mut single = request("alice", "read", "record-1");
    assert_eq!(house.post(MANY, single.clone()).await.json(200)["decision"], true);
    single["evaluations"] = json!([]);
    assert_eq!(house.post(MANY, single).await.json(200)["decision"], true);
    for wrong in [
        json!({"evaluations": {}}),
        json!({"subject": "alice", "evaluations": [{}]}),
        json!({"options": [], "evaluations": [{}]}),
        json!({"options": {"evaluations_semantic": "some"}, "evaluations": [{}]}),
        json!({"options": {"include_context": "yes"}, "evaluations": [{}]}),
        json!({"evaluations": vec![json!({}); 1_001]}),
    ] {
        house.post(MANY, wrong).await.is(400);
    }
}

#[tokio::test]
async fn the_three_semantics_and_context_for_who_wants_it() {
    let certified = certified().await;
    let (house, audit) = (&certified.house, &certified.audit);
    let body = |semantic: &str, subjects: &[&str]| {
        let items: Vec<Value> =
            subjects.iter().map(|who| json!({"subject": {"type": "user", "id": who}})).collect();
        json!({"action": {"name": "write"}, "resource": {"type": "record", "id": "record-1"},
            "options": {"evaluations_semantic": semantic}, "evaluations": items})
    };
    let mut decided = 0;
    for (semantic, subjects, expected) in [
        ("execute_all", &["alice", "bob", "alice"][..], &[true, false, true][..]),
        ("deny_on_first_deny", &["alice", "bob", "alice"], &[true, false]),
        ("deny_on_first_deny", &["alice", "alice"], &[true, true]),
        ("permit_on_first_permit", &["bob", "alice", "bob"], &[false, true]),
        ("permit_on_first_permit", &["bob", "bob"], &[false, false]),
    ] {
        let said = house.post(MANY, body(semantic, subjects)).await;
        assert_eq!(decisions(&said), expected, "{semantic} {subjects:?}");
        decided += expected.len();
    }
    let events = audit.all().await;
    let events = events.iter().filter(|event| event.subject.starts_with("policy.decision."));
    assert_eq!(events.count(), decided, "what comes after the end is not asked");

    // A malformed item counts as a denial here too.
    let mut broken = body("deny_on_first_deny", &["alice", "alice"]);
    broken["evaluations"][0] = json!({});
    assert_eq!(decisions(&house.post(MANY, broken).await), [false]);

    let mut explained = body("execute_all", &["bob", "alice"]);
    explained["options"]["include_context"] = json!(true);
    explained["evaluations"][1]["subject"] = json!({"id": "alice"});
    let said = house.post(MANY, explained).await.json(200);
    let items = said["evaluations"].as_array().unwrap();
    assert!(
        items[0]["context"]["id"].is_string() && items[0]["context"]["reason_admin"].is_object()
    );
    assert_eq!(items[1]["context"]["error"]["status"], 400, "{said}");
    assert_eq!(items[1]["context"]["error"]["message"], "subject.type is required");
}

#[tokio::test]
async fn discovery_says_where_it_is() {
    let fleet = Fleet::new();
    let house = House::begin(&fleet.config).await;
    let path = "/.well-known/authzen-configuration";
    let said = house.get(path).await;
    assert_eq!(said.header("content-type"), "application/json");
    let url = &house.url;
    let expected = json!({
        "policy_decision_point": url,
        "access_evaluation_endpoint": format!("{url}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{url}/access/v1/evaluations"),
    });
    assert_eq!(said.json(200), expected);
    let mut config = fleet.config.clone();
    config.http.public_url = "https://pdp.example.org/".into();
    let house = House::begin(&config).await;
    let said = house.get(path).await.json(200);
    assert_eq!(said["policy_decision_point"], "https://pdp.example.org");
    let endpoint = "https://pdp.example.org/access/v1/evaluation";
    assert_eq!(said["access_evaluation_endpoint"], endpoint);
}
