//! Many policies, one decision.

use serde_json::{Value, json};

use super::super::support::Fleet;

/// The policy of this name in a reply.
fn policy<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let mut found = reply["policies"].as_array().unwrap().iter().filter(|p| p["name"] == name);
    let policy = found.next().unwrap_or_else(|| panic!("no {name} in {reply}"));
    assert!(found.next().is_none(), "{name} twice in {reply}");
    policy
}

#[tokio::test]
async fn any_deny_wins_and_reasons_are_a_sorted_union() {
    let fleet = Fleet::with_policies(&[
        ("a_allows", r#"allow := true  warnings := ["w2", "shared"]"#),
        ("b_set", r#"allow := false  deny_reasons := {"s", "shared"}  warnings := {"shared"}"#),
        ("c_array", r#"allow := false  deny_reasons := ["z", "a", "a"]  warnings := ["w1"]"#),
        ("d_object", r#"allow := false  deny_reasons := {"o": true, "shared": "why"}"#),
        ("e_silent", "allow if input.resource == \"somebody else's\""),
    ]);
    let (_worker, agent, _) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!(reply["allowed"], json!(false));
    assert_eq!(reply["deny_reasons"], json!(["a", "o", "s", "shared", "z"]));
    assert_eq!(reply["reason"], json!("a, o, s, shared, z"));
    assert_eq!(reply["warnings"], json!(["shared", "w1", "w2"]));
    assert_eq!(reply["policy_package"], json!("test.b_set"), "the first that denies, by name");
    let names: Vec<_> =
        reply["policies"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["a_allows", "b_set", "c_array", "d_object", "e_silent"]);
    assert_eq!(policy(&reply, "c_array")["deny_reasons"], json!(["a", "z"]));
    assert_eq!(policy(&reply, "d_object")["deny_reasons"], json!(["o", "shared"]));
    assert_eq!(policy(&reply, "e_silent")["decision"], json!("allow"), "undefined allows");
}

#[tokio::test]
async fn a_denial_without_reasons_still_says_who_denied() {
    let fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    let (_worker, agent, _) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!(reply["deny_reasons"], json!(["denied_by_strict"]));
    assert_eq!(reply["reason"], json!("denied_by_strict"));
}

#[tokio::test]
async fn reasons_of_a_policy_that_allows_do_not_count() {
    let fleet = Fleet::with_policies(&[("kind", r#"allow := true  deny_reasons := {"noise"}"#)]);
    let (_worker, agent, _) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["reason"]), (&json!(true), &json!("allowed")));
    assert_eq!(reply["deny_reasons"], json!([]));
}

#[tokio::test]
async fn a_draft_is_seen_and_changes_nothing() {
    let fleet = Fleet::with_policies(&[("active", r#"warnings := ["w"]"#)]);
    fleet.policy("draft", r#"allow := false  deny_reasons := ["d"]  warnings := ["draft's"]"#);
    fleet.settings_add("draft", "status = \"draft\"");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["reason"]), (&json!(true), &json!("allowed")));
    assert_eq!(reply["deny_reasons"], json!([]));
    assert_eq!(reply["warnings"], json!(["w"]));
    let draft = policy(&reply, "draft");
    assert_eq!((&draft["mode"], &draft["decision"]), (&json!("shadow"), &json!("deny")));
    assert_eq!(draft["deny_reasons"], json!(["d"]));
    let event = audit.of_reply(&reply).await.event;
    assert_eq!(event["would_deny"], json!(["d"]));
    assert_eq!(event["deny_reasons"], json!([]));
    assert_eq!(audit.violations(&reply).await.len(), 0, "a draft alerts nobody");
}

#[tokio::test]
async fn warn_mode_turns_a_denial_into_warnings() {
    let fleet = Fleet::new();
    fleet.policy("soft", r#"allow := false  deny_reasons := ["d"]  warnings := ["w"]"#);
    fleet.settings("[soft]\nstatus = \"active\"\nmode = \"warn\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["deny_reasons"]), (&json!(true), &json!([])));
    assert_eq!(reply["warnings"], json!(["d", "w"]));
    assert_eq!(policy(&reply, "soft")["mode"], json!("warn"));
    let violations = audit.violations(&reply).await;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].event["violation_type"], json!("policy_warned"));
    assert_eq!(violations[0].event["action_taken"], json!("logged"));
}

#[tokio::test]
async fn a_package_adds_a_policy_and_never_takes_one_away() {
    let fleet =
        Fleet::with_policies(&[("strict", r#"allow := false  deny_reasons := ["strict"]"#)]);
    fleet.policy("kind", "allow := true");
    fleet.policy("inactive", r#"allow := false  deny_reasons := ["inactive"]"#);
    let (_worker, agent, _) = fleet.start().await;
    let named = async |package: &str| {
        agent.check(json!({"action": "x", "resource": "r", "package": package})).await
    };
    let reply = named("test.kind").await;
    assert_eq!(reply["deny_reasons"], json!(["strict"]), "naming another package is no way out");
    assert_eq!(policy(&reply, "kind")["decision"], json!("allow"));
    let reply = named("test.inactive").await;
    assert_eq!(reply["deny_reasons"], json!(["inactive", "strict"]));
    assert_eq!(policy(&reply, "inactive")["mode"], json!("enforce"));
    let reply = named("data.test.inactive").await;
    assert_eq!(reply["deny_reasons"], json!(["inactive", "strict"]), "as OPA writes it");
    let reply = named("test.strict").await;
    assert_eq!(reply["policies"].as_array().unwrap().len(), 1, "once is enough: {reply}");
    let reply = named("").await;
    assert_eq!(reply["policies"].as_array().unwrap().len(), 1, "an empty one names none");
}

#[tokio::test]
async fn a_named_package_is_the_one_that_decided_where_nothing_denied() {
    let fleet = Fleet::with_policies(&[("a", "allow := true")]);
    fleet.policy("b", "allow := true");
    let (_worker, agent, _) = fleet.start().await;
    assert_eq!(agent.act("x").await["policy_package"], json!("test.a"));
    let request = json!({"action": "x", "resource": "r", "package": "test.b"});
    assert_eq!(agent.check(request).await["policy_package"], json!("test.b"));
}

#[tokio::test]
async fn a_draft_that_is_named_stays_a_draft() {
    let fleet = Fleet::new();
    fleet.policy("draft", r#"allow := false  deny_reasons := ["d"]"#);
    fleet.settings("[draft]\nstatus = \"draft\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.check(json!({"action": "x", "resource": "r", "package": "test.draft"})).await;
    assert_eq!(reply["allowed"], json!(true));
    assert_eq!(policy(&reply, "draft")["mode"], json!("shadow"));
    assert_eq!(audit.of_reply(&reply).await.event["would_deny"], json!(["d"]));
}
