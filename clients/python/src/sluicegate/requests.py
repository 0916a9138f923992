"""What clients ask, apart from how they wait: request bodies, subjects, and the reading of replies."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import registry
from .context import merged
from .core import Answer, Core, service_error
from .encoding import Unserializable, describe, encode, token
from .errors import PolicyRequestError, PolicyServiceError, SettingsError, Unavailable
from .ids import uuid7
from .results import Cause, Decision, Evaluation, Policy, complete, decision_from, disabled, unchecked
from .settings import Settings

Context = Optional[Mapping[str, Any]]
#: Checks in one batch message: the replies of so many fit into a NATS message.
BATCH = 100
#: Codes of service errors that are the caller's to mend.
REQUEST_CODES = {400, 404, 409, 422}


class Ticket:
    """A check on its way."""

    __slots__ = ("future", "request")

    def __init__(self, request: Dict[str, Any], future: Future[Answer]) -> None:
        self.request = request
        self.future = future


class Desk:
    """Makes requests and reads replies, for the blocking and the async client alike."""

    def __init__(self, settings: Optional[Settings] = None, **arguments: Any) -> None:
        if settings is not None and arguments:
            raise SettingsError("give either settings or single arguments, not both")
        self.settings = settings if settings is not None else Settings.load(**arguments)
        self._core: Optional[Core] = None
        self._generation = -1

    def core(self) -> Core:
        """The core of this process."""
        if self._core is None or self._generation != registry.generation():
            self._generation = registry.generation()
            self._core = registry.core_for(self.settings)
        return self._core

    def __getstate__(self) -> Settings:
        return self.settings

    def __setstate__(self, state: Settings) -> None:
        self.settings = state
        self._core = None
        self._generation = -1

    # One check ---------------------------------------------------------------------------

    def ask(
        self, action: str, resource: Any, context: Context, package: Optional[str]
    ) -> Union[Decision, Ticket]:
        """A check on its way, or its answer where there is nothing to wait for."""
        if not self.settings.enabled:
            return disabled()
        request = check_request(action, resource, context, package)
        try:
            payload = encode(request)
        except Unserializable as error:
            return self.unanswered(error.request, Unavailable(Cause.UNSERIALIZABLE, str(error)))
        except Exception as error:
            return self.unanswered(request, Unavailable(Cause.UNSERIALIZABLE, describe(error)))
        try:
            future = self.core().send(self._subject("check"), payload, self.settings.timeout)
        except Exception as error:
            # Such as a thread that can't be started any more, at the interpreter's end.
            return self.unanswered(request, Unavailable(Cause.DISCONNECTED, describe(error)))
        return Ticket(request, future)

    def answer(self, ticket: Ticket, answer: Answer) -> Decision:
        """The decision of a reply, or the fail mode's."""
        core = self.core()
        try:
            decision = decision_from(core.reply(answer))
        except Unavailable as failure:
            return self.unanswered(ticket.request, failure)
        if decision is None:
            reason = "the reply is no decision: `allowed` is missing or no boolean"
            return self.unanswered(ticket.request, Unavailable(Cause.INVALID_REPLY, reason))
        core.coverage.answered()
        return decision

    def unanswered(self, request: Mapping[str, Any], failure: Unavailable) -> Decision:
        """The fail mode's answer; never an exception."""
        try:
            return self.core().unanswered(request, failure, self.settings.fail_mode)
        except Exception as error:
            reason = f"{failure.reason} (and could not be kept: {describe(error)})"
            return unchecked(self.settings.fail_mode, failure.cause, reason, uuid7(), failure.code)

    def _subject(self, verb: str) -> str:
        agent = f".{token(self.settings.agent)}" if self.settings.agent else ""
        return f"{self.settings.subject_prefix}.{verb}{agent}"

    # Many checks -------------------------------------------------------------------------

    def ask_many(
        self, actions: Sequence[Mapping[str, Any]], package: Optional[str]
    ) -> Tuple[List[Optional[Decision]], List[Tuple[List[int], List[Dict[str, Any]], Future[Answer]]]]:
        """The answers that are known at once, and the batches on their way with their places."""
        answers: List[Optional[Decision]] = [None] * len(actions)
        if not self.settings.enabled:
            return [disabled() for _ in actions], []
        batches: List[Tuple[List[int], List[Dict[str, Any]], Future[Answer]]] = []
        places: List[int] = []
        requests: List[Dict[str, Any]] = []
        parts: List[bytes] = []
        size = 0

        def leave() -> None:
            nonlocal places, requests, parts, size
            if not parts:
                return
            payload = b'{"checks":[' + b",".join(parts) + b"]}"
            try:
                future = self.core().send(self._subject("check_batch"), payload, self.settings.timeout)
            except Exception as error:
                future = Future()
                future.set_result(Unavailable(Cause.DISCONNECTED, describe(error)))
            batches.append((places, requests, future))
            places, requests, parts, size = [], [], [], 0

        for place, one in enumerate(actions):
            request = check_request(
                one.get("action", ""), one.get("resource"), one.get("context"), one.get("package") or package
            )
            try:
                payload = encode(request)
            except Unserializable as error:
                answers[place] = self.unanswered(error.request, Unavailable(Cause.UNSERIALIZABLE, str(error)))
                continue
            except Exception as error:
                answers[place] = self.unanswered(request, Unavailable(Cause.UNSERIALIZABLE, describe(error)))
                continue
            if len(payload) + 64 > self.settings.max_request_bytes:
                reason = f"{len(payload)} bytes, at most {self.settings.max_request_bytes} are sent"
                answers[place] = self.unanswered(request, Unavailable(Cause.UNSERIALIZABLE, reason))
                continue
            if len(parts) == BATCH or size + len(payload) + 64 > self.settings.max_request_bytes:
                leave()
            places.append(place)
            requests.append(request)
            parts.append(payload)
            size += len(payload) + 1
        leave()
        return answers, batches

    def answer_many(self, requests: List[Dict[str, Any]], answer: Answer) -> List[Decision]:
        """The decisions of one batch."""
        core = self.core()
        try:
            entries = core.reply(answer).get("decisions")
            if not isinstance(entries, list) or len(entries) != len(requests):
                raise Unavailable(Cause.INVALID_REPLY, "the reply has not one entry for each check")
        except Unavailable as failure:
            return [self.unanswered(request, failure) for request in requests]
        decisions: List[Decision] = []
        for request, entry in zip(requests, entries):
            decision = decision_from(entry) if isinstance(entry, dict) else None
            if decision is not None:
                core.coverage.answered()
            elif isinstance(entry, dict) and "error" in entry:
                decision = self.unanswered(request, service_error(entry["error"]))
            else:
                decision = self.unanswered(
                    request, Unavailable(Cause.INVALID_REPLY, "an entry is no decision")
                )
            decisions.append(decision)
        return decisions

    # Listing and trials ------------------------------------------------------------------

    def manage(self, verb: str, body: Dict[str, Any]) -> Future[Answer]:
        """A request that is no check. Failures are errors, since there is no fail mode for it."""
        try:
            payload = encode(body)
        except Unserializable as error:
            raise PolicyRequestError(str(error), cause=Cause.UNSERIALIZABLE) from error
        return self.core().send(f"{self.settings.subject_prefix}.{verb}", payload, self.management_timeout)

    @property
    def management_timeout(self) -> float:
        """Seconds for listings and trials, which compile: at least five."""
        return max(self.settings.timeout, 5.0)

    def managed(self, answer: Answer) -> Dict[str, Any]:
        """The reply to :meth:`manage`; raises :class:`PolicyServiceError`."""
        try:
            return self.core().reply(answer)
        except Unavailable as failure:
            kind = PolicyRequestError if failure.code in REQUEST_CODES else PolicyServiceError
            raise kind(failure.reason, cause=failure.cause, code=failure.code, body=failure.body) from None


def check_request(action: Any, resource: Any, context: Context, package: Optional[str]) -> Dict[str, Any]:
    """The body of a check, the ambient context under the given one."""
    if resource is None:
        resource = {}
    elif isinstance(resource, os.PathLike):
        resource = describe_path(resource)
    elif isinstance(resource, (int, float, list, tuple, set, frozenset)):
        resource = {"value": resource}
    extra = context if context is None or isinstance(context, Mapping) else {"value": context}
    request = {"action": action, "resource": resource, "context": merged(extra)}
    if package:
        request["package"] = package
    return request


def describe_path(path: Any) -> str:
    """A path as text."""
    try:
        return os.fsdecode(os.fspath(path))
    except Exception:
        return describe(path)


def trial_body(policy_content: str, test_input: Mapping[str, Any]) -> Dict[str, Any]:
    """One trial: a whole input, or a check."""
    body: Dict[str, Any] = {"rego": policy_content}
    if isinstance(test_input.get("input"), Mapping) or ("action" in test_input and "resource" in test_input):
        body.update(test_input)
    else:
        body["input"] = dict(test_input)
    return body


def evaluation(reply: Dict[str, Any]) -> Evaluation:
    """What a trial said."""
    result = Evaluation(reply)
    complete(result)
    return result


def active(policies: object) -> List[Policy]:
    """The active ones of a listing."""
    entries = policies if isinstance(policies, list) else []
    found = [Policy(one) for one in entries if isinstance(one, dict)]
    return [one for one in found if one.status == "active"]


async def answer_of(future: Future[Answer]) -> Answer:
    """The answer, on the caller's loop. A task that is cancelled takes its request back."""
    if future.done():
        return future.result()
    return await asyncio.wrap_future(future)
