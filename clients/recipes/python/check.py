"""A check, a batch, the report of an unchecked call and an outcome, with nothing but nats-py.

Run it in a folder that has the project's schemas/: python clients/recipes/python/check.py
"""

import asyncio
import datetime
import json
import os
import pathlib
import time
import uuid

import jsonschema
import nats
import nats.errors

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in pathlib.Path("schemas").glob("*.json")}


class Unchecked(Exception):
    """Nobody decided. ``cause`` is one of those that docs/clients.md lists."""

    def __init__(self, cause, message, code=None):
        super().__init__(message)
        self.cause, self.code = cause, code


async def ask(nc, subject, request, schema, timeout=1.0):
    """The answer to a request, or Unchecked."""
    try:
        answer = await nc.request(subject, json.dumps(request).encode(), timeout=timeout)
    except nats.errors.NoRespondersError:
        raise Unchecked("no_responders", f"no worker answers on {subject}") from None
    except (nats.errors.TimeoutError, asyncio.TimeoutError):
        raise Unchecked("timeout", f"no answer on {subject} within {timeout} s") from None
    except (nats.errors.Error, OSError) as error:
        raise Unchecked("disconnected", str(error) or type(error).__name__) from None
    headers = answer.headers or {}
    if "Nats-Service-Error-Code" in headers:
        code = int(headers["Nats-Service-Error-Code"])
        error = json.loads(answer.data)["error"]
        raise Unchecked("service_error", f"{error['field']}: {error['message']}", code)
    try:
        reply = json.loads(answer.data)
        jsonschema.validate(reply, SCHEMAS[schema])
    except (ValueError, jsonschema.ValidationError) as error:
        raise Unchecked("invalid_reply", str(error).splitlines()[0]) from None
    return reply


def uuid7():
    """A UUIDv7: milliseconds since 1970, then random bits (RFC 9562)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return str(uuid.UUID(int=value & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62))


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


async def report(nc, request, unchecked, allowed):
    """Tells the audit that a call went on, or was refused, unchecked. Returns the call's id.

    A real client keeps the report and tries again while this fails.
    """
    event = {
        "schema": 1, "id": uuid7(), "timestamp": now(), "cause": unchecked.cause,
        "message": str(unchecked)[:500], "allowed": allowed, "client": "recipe-python/1", "request": request,
    }
    js = nc.jetstream(timeout=5)
    await js.publish("policy.unchecked", json.dumps(event).encode(), headers={"Nats-Msg-Id": event["id"]})
    return event["id"]


async def finished(nc, request, decision_id, outcome, seconds, cost_usd=None, exception_type=""):
    """Tells how a call ended: `ok`, `error` or `cancelled`."""
    who = {key: str(request["context"].get(key, "")) for key in
           ("agent", "user", "session_id", "run_id", "step_id", "project_id")}
    event = {
        "schema": 1, "id": uuid7(), "decision_id": decision_id, "timestamp": now(), "outcome": outcome,
        "exception_type": exception_type, "duration_seconds": seconds, "cost_usd": cost_usd,
        "client": "recipe-python/1", "action": request["action"], **who,
    }
    await nc.publish("policy.outcome", json.dumps(event).encode(), headers={"Nats-Msg-Id": event["id"]})


async def main():
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    timeout = float(os.environ.get("TIMEOUT", "1"))
    request = {
        "action": "llm_call",
        "resource": {"model": "gpt-4", "prompt_length": 1234},
        "context": {"agent": "planner", "session_id": "s-1", "estimated_cost_usd": 0.05,
                    "budget": {"remaining_usd": 0.1}},
        "package": "cmbagent.cost_control",
    }
    jsonschema.validate(request, SCHEMAS["check_request"])

    try:
        decision = await ask(nc, "policy.check", request, "check_reply", timeout)
        print("decided:", decision["decision"], "because:", decision["reason"])
        allowed, decision_id = decision["allowed"], decision["decision_id"]
    except Unchecked as unchecked:
        allowed = True  # fail open; False for what must never go unchecked
        decision_id = await report(nc, request, unchecked, allowed)
        print("unchecked:", unchecked.cause)

    if allowed:
        began = time.monotonic()
        # Here the operation would be.
        await finished(nc, request, decision_id, "ok", time.monotonic() - began, cost_usd=0.04)

    many = {"checks": [request, {"action": "file_read"}]}
    try:
        for item in (await ask(nc, "policy.check_batch", many, "check_batch_reply", timeout))["decisions"]:
            print("of many:", item.get("decision") or f"{item['error']['code']} {item['error']['field']}")
    except Unchecked as unchecked:
        print("of many: unchecked:", unchecked.cause)

    try:
        await ask(nc, "policy.check", {"action": "file_read"}, "check_reply", timeout)
    except Unchecked as unchecked:
        # 400: the request is wrong, and asking again won't help. 503: the workers are busy.
        print("wrong:", unchecked.cause, unchecked.code, str(unchecked).split(":")[0])
    await nc.drain()


asyncio.run(main())
