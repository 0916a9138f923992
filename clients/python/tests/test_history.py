"""What clients tell ends up in ClickHouse: calls that nobody checked, and how calls ended."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict

import pytest

from sluicegate import PolicyClient, PolicyDeniedError, enforce_policy, policy_context
from stack import Up, python, until

Make = Callable[..., PolicyClient]

#: Denied by a policy that is not switched on: the check adds it.
SECRET = {"path": "/data/.env"}
PACKAGE = "cmbagent.data_privacy"


def test_a_call_that_nobody_checked_becomes_a_row_with_what_would_have_been_decided(
    up: Up, make: Make, tmp_path: Path
) -> None:
    context = {"agent": "lonely", "session_id": "s-away"}
    program = f"""
import sluicegate
client = sluicegate.PolicyClient({up.url!r}, timeout=0.000001)
went_on = client.check_permission("file_read", {SECRET!r}, {context!r}, {PACKAGE!r})
print(went_on.decision_id, went_on.allowed, went_on.cause)
"""
    away = python(program, POLICY_CLIENT_SPOOL_FOLDER=str(tmp_path / "spool"))
    said, complaint = away.communicate(timeout=60)
    decision_id, allowed, cause = said.split()
    assert allowed == "True" and cause in ("timeout", "disconnected"), complaint

    # Somebody with the same folder, and more patience, begins.
    back = make(up.url)
    checked = back.check_permission("file_read", "/data/a.csv", context)
    assert not checked.error
    row = until(
        "the unchecked call is a row",
        lambda: up.rows(f"SELECT * EXCEPT input FROM decisions WHERE id = '{decision_id}'"),
    )[0]
    assert row["unchecked"] == cause and row["decision"] == "allow"
    assert row["agent"] == "lonely" and row["session_id"] == "s-away" and not row["enforced"]
    assert row["would_deny"] == ["sensitive_file_access"]
    until(
        "the other one is a row",
        lambda: up.rows(f"SELECT 1 FROM decisions WHERE id = '{checked.decision_id}' AND unchecked = ''"),
    )
    # How much was checked: for people, and in SQL.
    coverage = up.product("status")["clickhouse"]["coverage"]["last_hour"]
    assert coverage["unchecked"] >= 1 and coverage["causes"][cause] >= 1
    assert coverage["would_deny"] >= 1 and coverage["checked"] >= 1
    hours = up.rows("SELECT * FROM enforcement_coverage")
    assert min(hour["coverage"] for hour in hours) < 1.0


def test_how_a_call_ended_stands_beside_its_decision(up: Up, make: Make) -> None:
    client = make(up.url)

    @enforce_policy("paint", cost=lambda painted: painted["usd"], client=client)
    def paint(colour: str) -> Dict[str, float]:
        if colour == "none":
            raise ValueError("no such colour")
        return {"usd": 0.25}

    with policy_context(agent="painter", run_id="r-paint"):
        paint("red")
        with pytest.raises(ValueError):
            paint("none")
    assert client.flush(60)
    rows = until(
        "both outcomes are rows",
        lambda: (lambda found: found if len(found) == 2 and all(one["outcome"] for one in found) else [])(
            up.rows("SELECT * FROM decision_outcomes WHERE run_id = 'r-paint' ORDER BY timestamp")
        ),
    )
    good, bad = rows
    assert (good["outcome"], good["cost_usd"], good["agent"]) == ("ok", 0.25, "painter")
    assert (bad["outcome"], bad["exception_type"]) == ("error", "builtins.ValueError")
    assert good["duration_seconds"] >= 0.0 and good["decision"] == "allow"


def test_a_denied_call_has_no_outcome(up: Up, make: Make) -> None:
    client = make(up.url)

    @enforce_policy("file_read", lambda path: {"path": path}, package=PACKAGE, client=client)
    def read(path: str) -> str:
        raise AssertionError("it must not be called")

    with policy_context(run_id="r-denied"), pytest.raises(PolicyDeniedError) as caught:
        read("/data/.env")
    assert client.flush(60)
    row = until(
        "the denial is a row",
        lambda: up.rows("SELECT * FROM decision_outcomes WHERE run_id = 'r-denied'"),
    )[0]
    assert row["decision_id"] == caught.value.decision_id and row["decision"] == "deny"
    assert row["outcome"] == ""
