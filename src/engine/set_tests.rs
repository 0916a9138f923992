use serde_json::{Map, json};

use super::*;
use crate::domain::{FailMode, Scope, Severity};

fn policy(name: &str) -> Policy {
    Policy {
        name: name.into(),
        title: String::new(),
        description: String::new(),
        package: format!("p.{name}"),
        rego: "package p\n\nallow := true\n".into(),
        template: None,
        status: Status::Active,
        mode: PolicyMode::Enforce,
        severity: Severity::Warning,
        fail_mode: FailMode::Open,
        scope: Scope::default(),
        parameters: Map::new(),
        version: 1,
    }
}

fn entry(policy: Policy) -> Entry {
    Entry::new(policy, Err("not compiled".into()))
}

fn session(name: &str, id: &str) -> Entry {
    let scope = Scope { kind: ScopeKind::Session, id: id.into() };
    entry(Policy {
        scope,
        package: "p.shared".into(),
        template: Some("owner".into()),
        ..policy(name)
    })
}

fn names(set: &PolicySet, identity: &Identity, package: Option<&str>) -> Vec<String> {
    let indices = set.applying(identity, package);
    indices.into_iter().map(|index| set.entry(index).unwrap().policy().name.clone()).collect()
}

#[test]
fn the_revision_names_everything_that_decides() {
    type Changed = (&'static str, fn(&mut Policy));
    let changed: [Changed; 11] = [
        ("nothing", |_| ()),
        ("package", |p| p.package = "p.other".into()),
        ("rego", |p| p.rego = "package p\n\nallow := false\n".into()),
        ("template", |p| p.template = Some("other".into())),
        ("status", |p| p.status = Status::Draft),
        ("mode", |p| p.mode = PolicyMode::Warn),
        ("severity", |p| p.severity = Severity::Critical),
        ("fail mode", |p| p.fail_mode = FailMode::Closed),
        ("scope", |p| p.scope = Scope { kind: ScopeKind::User, id: "alice".into() }),
        ("parameters", |p| drop(p.parameters.insert("limit".into(), json!(1)))),
        ("version", |p| p.version = 2),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (what, change) in changed {
        let mut policy = policy("a");
        change(&mut policy);
        let set = PolicySet::new([entry(policy)]).unwrap();
        assert!(seen.insert(set.revision().clone()), "{what} is not in the revision");
    }
    let broken = Entry::new(policy("a"), Err("another problem".into()));
    assert!(seen.insert(PolicySet::new([broken]).unwrap().revision().clone()));
}

#[test]
fn the_revision_does_not_depend_on_the_order_given_nor_on_the_titles() {
    let there = PolicySet::new([entry(policy("a")), entry(policy("b"))]).unwrap();
    let titled = entry(Policy { title: "For people".into(), ..policy("b") });
    let back = PolicySet::new([titled, entry(policy("a"))]).unwrap();
    assert_eq!(there.revision(), back.revision());
    assert_eq!(there.revision().len(), 32);
    let error = PolicySet::new([entry(policy("a")), entry(policy("a"))]).unwrap_err();
    assert!(error.to_string().contains("`a`"), "{error}");
}

/// A change of one among many takes up the others as they are.
#[test]
fn entries_are_shared_between_sets() {
    let mut entries: Vec<Arc<Entry>> =
        (0..100).map(|i| Arc::new(session(&format!("n{i:03}"), "s"))).collect();
    let before = PolicySet::new(entries.clone()).unwrap();
    entries[50] = Arc::new(session("n050", "elsewhere"));
    let after = PolicySet::new(entries).unwrap();
    assert_ne!(before.revision(), after.revision());
    let same = before.entries().iter().zip(after.entries()).filter(|(a, b)| Arc::ptr_eq(a, b));
    assert_eq!(same.count(), 99);
    assert_eq!(after.by_name("n050").unwrap().policy().scope.id, "elsewhere");
    assert!(after.by_name("n100").is_none());
}

#[test]
fn a_package_names_its_owner_and_not_those_who_use_its_rego() {
    let owner =
        entry(Policy { package: "p.shared".into(), status: Status::Inactive, ..policy("owner") });
    let set = PolicySet::new([owner, session("one", "s-1"), session("two", "s-2")]).unwrap();
    let in_session = Identity { session_id: "s-1".into(), ..Identity::default() };
    assert_eq!(names(&set, &in_session, None), ["one"]);
    assert_eq!(names(&set, &in_session, Some("p.shared")), ["one", "owner"]);
    assert_eq!(names(&set, &Identity::default(), Some("p.shared")), ["owner"]);
    assert_eq!(set.packages().collect::<Vec<_>>(), ["p.shared"]);
    let owners: Vec<&str> = set.by_package("p.shared").map(|e| e.policy().name.as_str()).collect();
    assert_eq!(owners, ["owner"]);
    assert_eq!(set.by_package("p.none").count(), 0);
    let orphans = PolicySet::new([session("one", "s-1")]).unwrap();
    assert!(!orphans.has_package("p.shared"));
}

#[test]
fn among_ten_thousand_those_of_the_callers_scopes_apply() {
    let mut entries: Vec<Entry> =
        (0..10_000).map(|i| session(&format!("session-{i:05}"), &format!("s-{i}"))).collect();
    entries.push(entry(policy("everyone")));
    let scope = Scope { kind: ScopeKind::Project, id: "p-1".into() };
    entries.push(entry(Policy { scope, ..policy("project") }));
    let set = PolicySet::new(entries).unwrap();
    let identity = Identity {
        session_id: "s-7777".into(),
        project_id: "p-1".into(),
        user: "s-7777".into(),
        ..Identity::default()
    };
    assert_eq!(names(&set, &identity, None), ["everyone", "session-07777", "project"]);
    assert_eq!(names(&set, &Identity::default(), None), ["everyone"]);
    assert_eq!(set.taking_part(), 10_002);
}
