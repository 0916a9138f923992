"""Checks, batches, listings and trials over the whole product."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any, Callable, Dict

import pytest

from sluicegate import (
    AsyncPolicyClient,
    Cause,
    PolicyClient,
    PolicyDeniedError,
    PolicyRequestError,
    Settings,
    SettingsError,
    enforce_policy,
)
from stack import Up, stored, until

BUDGET: Dict[str, Any] = {"agent": "planner", "estimated_cost_usd": 0.5, "budget": {"remaining_usd": 0.1}}
REGO = "package lab.trial\n\nimport rego.v1\n\nallow := input.resource.megabytes <= 20\n"
Make = Callable[..., PolicyClient]


def test_a_decision_is_a_mapping_with_types(up: Up, make: Make) -> None:
    answer = make(up.url).check_permission("llm_call", {"model": "gpt-4"}, {"agent": "planner"})
    assert answer.allowed and answer["allowed"] is True and answer["decision"] == "allow"
    assert answer["deny_reasons"] == [] and isinstance(answer["warnings"], list)
    assert answer["duration_ms"] == pytest.approx(answer["duration_us"] / 1000) and answer.duration_ms > 0
    assert answer["policy_result"] == {"allow": True, "deny_reasons": [], "warnings": answer.warnings}
    assert not answer.error and answer.cause == "" and answer.get("audit") == "recorded"


def test_a_denial_says_why_and_what_would_help(up: Up, make: Make) -> None:
    client = make(up.url)
    answer = client.check_permission("llm_call", {"model": "gpt-4"}, BUDGET, "cmbagent.cost_control")
    assert not answer and answer.deny_reasons == ["budget_exceeded"] and answer.policy == "cost_control"

    @enforce_policy(
        "llm_call", lambda m: {"model": m}, context=BUDGET, package="cmbagent.cost_control", client=client
    )
    def call(model: str) -> str:
        raise AssertionError("it must not run")

    with pytest.raises(PolicyDeniedError) as caught:
        call("gpt-4")
    error = caught.value
    assert (error.action, error.resource, error.policy) == ("llm_call", {"model": "gpt-4"}, "cost_control")
    assert (
        error.reasons == ["budget_exceeded"]
        and error.decision_id
        and any("0.1" in one for one in error.advice)
    )
    again = pickle.loads(pickle.dumps(error))
    assert (again.reasons, again.remedy, str(again)) == (error.reasons, error.remedy, str(error))
    event = until("it is in the audit", lambda: _event(up, error.decision_id))
    assert event["input"]["context"]["agent"] == "planner"


def _event(up: Up, decision_id: str) -> Dict[str, Any]:
    found = [one for one in stored(up.url, "policy.decision.deny.>") if one["id"] == decision_id]
    return found[0] if found else {}


def test_the_async_client_says_the_same_in_any_loop(up: Up, make: Make) -> None:
    client = AsyncPolicyClient(settings=make(up.url).settings)
    for _ in range(2):
        answer = asyncio.run(
            client.check_permission("llm_call", {"model": "m"}, BUDGET, "cmbagent.cost_control")
        )
        assert answer.deny_reasons == ["budget_exceeded"]
    policies = asyncio.run(client.get_active_policies())
    assert [one.name for one in policies] == ["default"]


def test_a_batch_keeps_its_order_and_a_bad_check_fails_alone(up: Up, make: Make) -> None:
    client = make(up.url)
    actions = [
        {"action": "llm_call", "resource": {"n": i}, "context": BUDGET if i % 2 else {}} for i in range(250)
    ]
    actions[101] = {"action": "", "resource": "x"}
    actions[7] = {"action": "open", "resource": {"handle": object()}}
    answers = client.evaluate_batch(actions, package="cmbagent.cost_control")
    assert len(answers) == 250
    for place, one in enumerate(answers):
        if place == 101:
            assert (
                one.cause == Cause.SERVICE_ERROR and one.error_code == 400 and "action" in one.error_message
            )
        elif place == 7:
            assert one.cause == Cause.UNSERIALIZABLE and "resource.handle" in one.error_message
        else:
            assert one.allowed is (place % 2 == 0) and not one.error, place
    assert client.stats().checked == 248 and client.stats().unchecked == 2


def test_a_wrong_request_is_allowed_with_the_field_named(up: Up, make: Make) -> None:
    answer = make(up.url).check_permission("", {"a": 1})
    assert answer.allowed and answer.error and answer.error_code == 400
    assert answer.cause == Cause.SERVICE_ERROR and "action" in answer.reason


def test_policies_are_tried_and_refused_with_findings(up: Up, make: Make) -> None:
    client = make(up.url)
    check = {"action": "upload", "resource": {"megabytes": 50}}
    results = client.test_policy(
        REGO, [check, {"input": {"resource": {"megabytes": 5}}}, {"resource": {"megabytes": 6}}]
    )
    assert [one.allowed for one in results] == [False, True, True]
    with pytest.raises(PolicyRequestError) as caught:
        client.test_policy("package x\n\nallow := {", [check])
    assert caught.value.code == 422 and caught.value.findings
    assert pickle.loads(pickle.dumps(caught.value)).findings == caught.value.findings


def test_an_agent_of_its_own_subject(up: Up, make: Make) -> None:
    answer = make(up.url, agent="lab.7").check_permission("read", "x", {"agent": "somebody"})
    assert "identity_mismatch" in answer.warnings


def test_settings_by_environment_and_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_ENFORCEMENT_ENABLED", "false")
    monkeypatch.setenv("POLICY_CLIENT_TIMEOUT", "0.25")
    settings = Settings.load(timeout=2.0)
    assert settings.enabled is False and settings.timeout == 2.0 and Settings.load().timeout == 0.25
    answer = PolicyClient().check_permission("anything", None)
    assert answer.allowed and not answer.enforced and not answer.error
    for wrong in ({"fail_mode": "maybe"}, {"timeout": 0.0}, {"colour": "red"}):
        with pytest.raises(SettingsError):
            Settings.load(**wrong)
    assert "secret" not in repr(Settings.load(password="secret", token="secret"))
