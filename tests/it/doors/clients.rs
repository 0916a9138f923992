//! Clients that know nothing of us: Python's `requests` as agents use it, and `opa-python-client`.

use std::process::Command;

use super::support::House;
use crate::support::servers::python;
use crate::worker::support::Fleet;

/// Runs a Python program against a console, in the tools' environment.
async fn runs(house: &House, program: &'static str) {
    let url = house.url.clone();
    let said = tokio::task::spawn_blocking(move || {
        Command::new(python()).args(["-c", program, &url]).output().unwrap()
    })
    .await
    .unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.ends_with("done\n"), "{out}\n{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_written_for_opa_works_unchanged() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    runs(
        &house,
        r#"
import sys, requests
url = sys.argv[1]

def check(input):
    response = requests.post(f"{url}/v1/data/cmbagent/cost_control", json={"input": input}, timeout=1.0)
    response.raise_for_status()
    return response.json().get("result", {})

denied = check({"action": "llm_call", "resource": {"model": "gpt-4"},
    "context": {"agent": "planner", "estimated_cost": 1.0, "budget": {"remaining_usd": 0.5}}})
assert denied["allow"] is False and denied["deny_reasons"] == ["budget_exceeded"], denied
allowed = check({"action": "llm_call", "resource": {"model": "gpt-4o-mini"}, "context": {}})
assert allowed["allow"] is True and allowed["deny_reasons"] == [], allowed
print("done")
"#,
    )
    .await;
    assert!(audit.last("policy.decision.deny.llm_call").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opa_python_client_works() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    runs(
        &house,
        r#"
import asyncio, sys
from urllib.parse import urlsplit
from opa_client.opa import OpaClient
from opa_client.opa_async import AsyncOpaClient
from opa_client.errors import DeletePolicyError, PolicyNotFoundError, RegoParseError

where = urlsplit(sys.argv[1])
client = OpaClient(host=where.hostname, port=where.port)
assert client.check_health() and client.check_health(query={"bundles": True})
client.wait_for_ready(timeout=5)

rego = '''package play

import rego.v1

default allow := false

allow if input.action == "play"

deny_reasons contains "only play" if input.action != "play"
'''
assert client.update_policy_from_string(rego, "play")
assert "play" in client.get_policies_list()
info = client.get_policies_info()["play"]
assert any(url.endswith("/play/allow") for url in info["rules"]), info
assert client.get_policy("play")["result"]["raw"] == rego
assert client.query_rule({"action": "play"}, "play", "allow")["result"] is True
work = client.query_rule({"action": "work"}, "play")
assert work["result"]["allow"] is False and work["result"]["deny_reasons"] == ["only play"], work
assert client.get_data("play/allow")["result"] is False

def fails(error, call, *args):
    try:
        call(*args)
    except error as failed:
        return failed
    raise AssertionError(f"{call} did not fail")

fails(PolicyNotFoundError, client.get_policy, "nowhere")
fails(PolicyNotFoundError, client.get_data, "nowhere")
fails(RegoParseError, client.update_policy_from_string, "package play\n\nallow if {", "broken")
assert client.delete_policy("play")
fails(DeletePolicyError, client.delete_policy, "play")
client.close_connection()

async def more():
    async with AsyncOpaClient(host=where.hostname, port=where.port) as client:
        decision = await client.query_rule({"action": "work", "resource": "r"}, "cmbagent.default", "allow")
        assert decision["result"] is True, decision

asyncio.run(more())
print("done")
"#,
    )
    .await;
}
