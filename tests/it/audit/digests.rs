//! ClickHouse and this program digest the same row alike, whatever it says.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::json;
use sluicegate::store::chain::{Chained, Digested, Range, SealedRow};
use sluicegate::store::{DecisionRow, Store, StoredRow, StreamPosition, ViolationRow, migrate};
use uuid::Uuid;

use crate::store::decision;
use crate::support::servers::ClickHouse;

fn epoch() -> DateTime<Utc> {
    "2026-01-01T00:00:00.000001Z".parse().unwrap()
}

/// Texts that break what is careless: quotes, NUL, what looks like a netstring, other scripts.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("3:abc,".to_owned()),
        Just("'; DROP TABLE x; -- \\' \"\u{0}\t\n\r".to_owned()),
        Just("ü\u{1F600}日本\u{202e}\u{FFFF}".to_owned()),
        any::<String>(),
        ".{0,200}",
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..4)
}

fn rows() -> impl Strategy<Value = (Vec<DecisionRow>, Vec<ViolationRow>)> {
    let base =
        DecisionRow::new(decision(&json!({})), StreamPosition { epoch: epoch(), sequence: 0 })
            .unwrap();
    let words = prop::collection::vec(text(), 18);
    let lists = prop::collection::vec(texts(), 4);
    let numbers = (any::<u64>(), any::<u64>(), any::<[bool; 2]>(), any::<u128>(), 0..1_000_000_i64);
    let row = (words, lists, numbers).prop_map(move |(words, lists, numbers)| {
        let mut row = base.clone();
        let (duration, sequence, flags, run, micros) = numbers;
        let mut words = words.into_iter();
        for field in [
            &mut row.decision,
            &mut row.action,
            &mut row.resource,
            &mut row.subject,
            &mut row.agent,
            &mut row.user,
            &mut row.session_id,
            &mut row.run_id,
            &mut row.step_id,
            &mut row.project_id,
            &mut row.policy_name,
            &mut row.policy_package,
            &mut row.policy_revision,
            &mut row.policy_result,
            &mut row.decision_reason,
            &mut row.error_message,
            &mut row.unchecked,
            &mut row.input_data,
        ] {
            *field = words.next().unwrap();
        }
        let mut lists = lists.into_iter();
        for field in
            [&mut row.policies, &mut row.deny_reasons, &mut row.warnings, &mut row.would_deny]
        {
            *field = lists.next().unwrap();
        }
        [row.enforced, row.error] = flags;
        (row.duration_us, row.worker_sequence) = (duration, sequence);
        row.worker_run = Uuid::from_u128(run);
        row.id = Uuid::now_v7();
        row.timestamp += chrono::TimeDelta::microseconds(micros);
        row
    });
    prop::collection::vec(row, 1..8).prop_map(|mut decisions| {
        let mut violations = Vec::new();
        for (sequence, row) in (1..).zip(&mut decisions) {
            row.stream_sequence = sequence;
            violations.push(violation(row));
        }
        (decisions, violations)
    })
}

/// A violation that says what a decision says, in its own columns.
fn violation(row: &DecisionRow) -> ViolationRow {
    ViolationRow {
        id: Uuid::now_v7(),
        decision_id: row.id,
        timestamp: row.timestamp,
        violation_type: row.decision_reason.clone(),
        severity: row.policy_revision.clone(),
        policy_name: row.policy_name.clone(),
        policy_version: row.duration_us,
        action_taken: row.policy_package.clone(),
        reasons: row.deny_reasons.clone(),
        decision: row.decision.clone(),
        action: row.action.clone(),
        resource: row.resource.clone(),
        subject: row.subject.clone(),
        agent: row.agent.clone(),
        user: row.user.clone(),
        session_id: row.session_id.clone(),
        run_id: row.run_id.clone(),
        step_id: row.step_id.clone(),
        project_id: row.project_id.clone(),
        worker: row.error_message.clone(),
        worker_run: row.worker_run,
        worker_sequence: row.worker_sequence,
        stream_epoch: row.stream_epoch,
        stream_sequence: row.stream_sequence,
    }
}

fn sealed<R: StoredRow + Digested>(row: &R) -> SealedRow {
    SealedRow {
        sequence: row.position().sequence,
        id: row.id(),
        timestamp: row.timestamp().timestamp_micros(),
        digest: row.digest(),
    }
}

#[test]
fn clickhouse_and_the_program_digest_alike() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let clickhouse = ClickHouse::shared();
    let checked = runner.run(&rows(), |(decisions, violations)| {
        runtime.block_on(async {
            let store = Store::connect(&clickhouse.config());
            migrate(&store).await.unwrap();
            store.insert(&decisions.iter().collect::<Vec<_>>(), "d").await.unwrap();
            store.insert(&violations.iter().collect::<Vec<_>>(), "v").await.unwrap();
            let range = Range { epoch: epoch(), first: 1, last: 100 };
            let stored = store.sealed_rows(Chained::Decisions, range).await.unwrap();
            assert_eq!(stored, decisions.iter().map(sealed).collect::<Vec<_>>());
            let stored = store.sealed_rows(Chained::Violations, range).await.unwrap();
            assert_eq!(stored, violations.iter().map(sealed).collect::<Vec<_>>());
        });
        Ok(())
    });
    checked.unwrap();
}

/// The format is published: whoever calculates it elsewhere must come to the same for ever.
#[test]
fn the_digest_of_a_known_row() {
    let row = DecisionRow::new(
        decision(&json!({"id": "0197a000-0000-7000-8000-000000000001", "unchecked": "timeout"})),
        StreamPosition { epoch: epoch(), sequence: 1 },
    )
    .unwrap();
    let fields = [
        "decisions/1",
        "0197a000-0000-7000-8000-000000000001",
        "1772600767123456",
        "deny",
        "llm_call",
        "gpt-4",
        "planner",
        "planner",
        "alice",
        "s-1",
        "r-1",
        "st-1",
        "p-1",
        "cost_control",
        "cmbagent.cost_control",
        "14:cost_control@3,",
        "abc",
        &row.policy_result,
        "budget_exceeded",
        "15:budget_exceeded,",
        "1:w,",
        "5:later,",
        "1",
        "0",
        "",
        "timeout",
        &row.input_data,
        "84",
        "w-1",
        "00000000-0000-0000-0000-000000000000",
        "0",
    ];
    let text: String = fields.iter().map(|field| format!("{}:{field},", field.len())).collect();
    use sha2::Digest as _;
    assert_eq!(row.digest(), <[u8; 32]>::from(sha2::Sha256::digest(text)));
}
