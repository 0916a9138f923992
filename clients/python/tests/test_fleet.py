"""The example: the same by seed without restrictions, and restrained by policies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from stack import ROOT, Nats, Worker, binary, environment, stored

FLEET = ROOT / "examples" / "research_fleet" / "fleet.py"


def fleet(url: str, folder: Path, *arguments: str) -> Dict[str, Any]:
    extra = {"POLICY_CLIENT_SPOOL_FOLDER": str(folder / "spool"), "POLICY_CLIENT_TIMEOUT": "5"}
    command = [sys.executable, str(FLEET), "--url", url, "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(**extra))
    assert done.returncode == 0, done.stderr
    result: Dict[str, Any] = json.loads(done.stdout)
    return result


def product(server: Nats, *arguments: str) -> None:
    command = [binary(), *arguments, "--nats-url", server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_fleet_is_free_and_then_restrained(nats_server: Nats, worker: Worker, tmp_path: Path) -> None:
    free = fleet(nats_server.url, tmp_path, "--run", "free")
    assert free == fleet(nats_server.url, tmp_path, "--run", "again")
    assert free != fleet(nats_server.url, tmp_path, "--run", "other", "--seed", "8")
    assert free["denied"] == {} and free["unchecked"] == 0 and len(free["reports"]) == 4
    assert free["pages_fetched"] == 20 and free["done"]["researcher"]["file_read"] == 4
    outcomes = [one for one in stored(nats_server.url, "policy.outcome") if one["run_id"] == "free"]
    assert len(outcomes) == free["checked"] and {one["outcome"] for one in outcomes} == {"ok"}
    costs = sum(one["cost_usd"] or 0.0 for one in outcomes)
    assert costs == pytest.approx(free["spent_usd"], abs=1e-5)

    for name in (["cost_control"], ["data_privacy"], ["rate_limiting", "--param", "max_calls=12"]):
        product(nats_server, "policy", "enable", *name, "--wait")
    held = fleet(nats_server.url, tmp_path, "--run", "held")
    researcher = held["denied"]["researcher"]
    assert (
        researcher["file_read: sensitive_file_access"] == 4 and "file_read" not in held["done"]["researcher"]
    )
    assert researcher["llm_call: expensive_model_for_low_priority"] == 20
    assert (
        researcher["llm_call: rate_limit_exceeded"] > 0
        and held["done"]["researcher"]["llm_call gpt-4o-mini"] == 12
    )
    assert held["spent_usd"] < free["spent_usd"] and held["unchecked"] == 0 and held["advice"]
    poor = fleet(nats_server.url, tmp_path, "--run", "poor", "--budget", "0.01")
    assert poor["spent_usd"] <= 0.011 and any("budget_exceeded" in one for one in poor["denied"]["planner"])


def test_the_fleet_works_on_without_a_server(tmp_path: Path) -> None:
    result = fleet("nats://127.0.0.1:9", tmp_path, "--topics", "1")
    assert len(result["reports"]) == 1 and result["checked"] == 0 and result["unchecked"] > 10
