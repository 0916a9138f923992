"""A small fleet of agents that asks before everything it does.

A planner splits the work, researchers read pages and files, an engineer writes the reports. Files and
HTTP are real, in a folder and on a server of their own; the models are simulated from a price list.

    python fleet.py --seed 7
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Optional, TypeVar

from world import TOPICS, Answer, Model, Site, furnish, tokens

from sluicegate import PolicyDeniedError, configure, default_client, enforce_policy, policy_context

T = TypeVar("T")
#: Tokens that an answer is expected to have, for estimates.
EXPECTED_OUTPUT = 1_000


@dataclass
class Ledger:
    """What happened, by agent."""

    budget_usd: float
    spent_usd: float = 0.0
    done: Dict[str, Counter] = field(default_factory=dict)
    denied: Dict[str, Counter] = field(default_factory=dict)
    advice: Dict[str, None] = field(default_factory=dict)

    @property
    def remaining_usd(self) -> float:
        return max(self.budget_usd - self.spent_usd, 0.0)


class Agent:
    """What agents have in common: guarded operations, and a ledger."""

    role = "agent"

    def __init__(self, run: str, model: Model, workspace: Path, site: Site, ledger: Ledger) -> None:
        self.name = f"{self.role}-{run}"
        self._model = model
        self._workspace = workspace
        self._site = site
        self._ledger = ledger

    # Guarded operations. The decorator asks before each, and reports what it cost.

    @enforce_policy(
        "llm_call",
        lambda self, model, prompt, priority: {"model": model, "prompt_length": len(prompt)},
        context=lambda self, model, prompt, priority: {
            "estimated_cost_usd": self._model.price(model, tokens(prompt), EXPECTED_OUTPUT),
            "budget": {"remaining_usd": round(self._ledger.remaining_usd, 6)},
            "task_priority": priority,
        },
        cost=lambda answer: answer.cost_usd,
    )
    def _ask(self, model: str, prompt: str, priority: str) -> Answer:
        answer = self._model.answer(model, prompt)
        self._ledger.spent_usd += answer.cost_usd
        return answer

    @enforce_policy("file_read", lambda self, name: {"path": name})
    def _read(self, name: str) -> str:
        return (self._workspace / name).read_text(encoding="utf-8")

    @enforce_policy("file_write", lambda self, name, text: {"path": name, "bytes": len(text)})
    def _write(self, name: str, text: str) -> None:
        (self._workspace / name).write_text(text, encoding="utf-8")

    @enforce_policy("file_delete", lambda self, name: {"path": name})
    def _delete(self, name: str) -> None:
        (self._workspace / name).unlink()

    @enforce_policy("external_api_call", lambda self, path: {"url": f"{self._site.url}{path}", "method": "GET"})
    def _fetch(self, path: str) -> str:
        with urllib.request.urlopen(f"{self._site.url}{path}", timeout=10) as reply:
            return str(reply.read().decode())

    # What agents do with a denial: note it, and go on without.

    def attempt(self, action: str, operation: Callable[[], T]) -> Optional[T]:
        try:
            result = operation()
        except PolicyDeniedError as denied:
            self._ledger.denied.setdefault(self.role, Counter()).update(
                f"{denied.action}: {reason}" for reason in denied.reasons
            )
            self._ledger.advice.update(dict.fromkeys(denied.advice[:1]))
            return None
        self._ledger.done.setdefault(self.role, Counter())[action] += 1
        return result

    def think(self, prompt: str, priority: str = "normal", models: tuple = ("gpt-4", "gpt-4o-mini")) -> str:
        """The first model that is allowed; nothing where none is."""
        for model in models:
            answer = self.attempt(f"llm_call {model}", lambda model=model: self._ask(model, prompt, priority))
            if answer is not None:
                return answer.text
        return ""


class Planner(Agent):
    role = "planner"

    def plan(self, count: int, chance: random.Random) -> list:
        notes = [self.attempt("file_read", lambda n=n: self._read(f"notes/{n}.md")) for n in range(len(TOPICS))]
        self.think("Plan the work. " + " ".join(note or "" for note in notes), priority="high")
        return chance.sample(range(len(TOPICS)), count)


class Researcher(Agent):
    role = "researcher"

    def study(self, topic: int, pages: int) -> str:
        found = []
        for page in range(pages):
            text = self.attempt("external_api_call", lambda page=page: self._fetch(f"/topics/{topic}/{page}")) or ""
            found.append(self.think(f"Sum up page {page} on {TOPICS[topic]}: {text}", "low", ("gpt-4", "gpt-4o-mini")))
        # Curious agents look where they should not.
        self.attempt("file_read", lambda: self._read(".env" if topic % 2 else "server.pem"))
        return "\n".join(found)


class Engineer(Agent):
    role = "engineer"

    def report(self, topic: int, material: str) -> None:
        text = self.think(f"Write about {TOPICS[topic]}: {material}", models=("gpt-4o", "gpt-4o-mini"))
        self.attempt("file_write", lambda: self._write(f"reports/{topic}.md", f"# {TOPICS[topic]}\n\n{text}\n"))
        self.attempt("file_delete", lambda: self._delete(f"notes/{topic}.md"))


def work(seed: int, run: str, topics: int, pages: int, budget_usd: float) -> Dict[str, Any]:
    """One run of the fleet, and what came of it."""
    chance, model, site, ledger = random.Random(seed), Model(seed), Site(), Ledger(budget_usd)
    try:
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            workspace = Path(folder)
            furnish(workspace)
            agents = [kind(run, model, workspace, site, ledger) for kind in (Planner, Researcher, Engineer)]
            planner, researcher, engineer = agents
            with policy_context(project_id="research-fleet", session_id=f"fleet-{run}", run_id=run, user="demo"):
                with policy_context(agent=planner.name, step_id="plan"):
                    chosen = planner.plan(topics, chance)
                for topic in chosen:
                    with policy_context(agent=researcher.name, step_id=f"study-{topic}"):
                        material = researcher.study(topic, pages)
                    with policy_context(agent=engineer.name, step_id=f"report-{topic}"):
                        engineer.report(topic, material)
            reports = sorted(path.name for path in (workspace / "reports").iterdir())
    finally:
        site.close()
    client = default_client()
    client.flush()
    stats = client.stats()
    return {
        "seed": seed,
        "topics": [TOPICS[topic] for topic in chosen],
        "reports": reports,
        "pages_fetched": len(site.requests),
        "budget_usd": budget_usd,
        "spent_usd": round(ledger.spent_usd, 6),
        "done": {role: dict(sorted(count.items())) for role, count in ledger.done.items()},
        "denied": {role: dict(sorted(count.items())) for role, count in ledger.denied.items()},
        "advice": list(ledger.advice),
        "checked": stats.checked,
        "unchecked": stats.unchecked,
    }


def show(result: Dict[str, Any]) -> None:
    """A summary for people."""
    print(f"{len(result['topics'])} topics: {', '.join(result['topics'])}")
    print(f"{len(result['reports'])} reports written, {result['pages_fetched']} pages fetched")
    print(f"spent {result['spent_usd']:.4f} of {result['budget_usd']:.2f} US dollars\n")
    for role in ("planner", "researcher", "engineer"):
        done, denied = result["done"].get(role, {}), result["denied"].get(role, {})
        print(role)
        for what, count in done.items():
            print(f"  {count:4} {what}")
        for what, count in denied.items():
            print(f"  {count:4} denied: {what}")
    for text in result["advice"]:
        print(f"\nadvice: {text}")
    print(f"\n{result['checked']} operations checked, {result['unchecked']} not checked")
    if not result["denied"] and not result["unchecked"]:
        print("Nothing was denied: no restricting policy is in force. The README says how to switch some on.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--url", help="NATS servers [default: as the environment says, else nats://127.0.0.1:4222]")
    parser.add_argument("--seed", type=int, default=7, help="what the run follows from [default: %(default)s]")
    parser.add_argument("--run", help="name of the run, in all its records [default: a new one]")
    parser.add_argument("--topics", type=int, default=4, choices=range(1, len(TOPICS) + 1), metavar="N")
    parser.add_argument("--pages", type=int, default=5, help="pages read for a topic [default: %(default)s]")
    parser.add_argument("--budget", type=float, default=0.30, help="US dollars [default: %(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    configure(url=options.url)
    run = options.run or uuid.uuid4().hex[:8]
    result = work(options.seed, run, options.topics, options.pages, options.budget)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"fleet {run}")
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
