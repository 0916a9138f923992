"""The blocking client and the async one. Both use the one connection of the process."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union, cast

from . import registry
from .coverage import Stats
from .requests import Context, Desk, Ticket, active, answer_of, evaluation, trial_body
from .results import Decision, Evaluation, Policy
from .settings import Settings


class _Base:
    def __init__(
        self, url: Optional[str] = None, *, settings: Optional[Settings] = None, **arguments: Any
    ) -> None:
        """Settings by argument, else by environment variable: see :class:`Settings`."""
        if url is not None:
            arguments["url"] = url
        self.desk = Desk(settings, **arguments)

    @property
    def settings(self) -> Settings:
        """What holds for this client."""
        return self.desk.settings

    def stats(self) -> Stats:
        """How much was checked, and how it stands with what was not."""
        return self.desk.core().stats()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings!r})"


class PolicyClient(_Base):
    """Asks "may I?" and waits. Safe across threads and fork, cheap to make and to pickle.

    ::

        client = PolicyClient()
        if not client.check_permission("file_read", "/data/a.csv", {"agent": "planner"}):
            ...
    """

    def check_permission(
        self, action: str, resource: Any, context: Context = None, package: Optional[str] = None
    ) -> Decision:
        """The decision. Without an answer: what the fail mode says, with ``error`` and a reason."""
        asked = self.desk.ask(action, resource, context, package)
        return asked if isinstance(asked, Decision) else self._answer(asked)

    def _answer(self, ticket: Ticket) -> Decision:
        return self.desk.answer(ticket, self.desk.core().wait(ticket.future, self.settings.timeout))

    def evaluate_batch(
        self, actions: Sequence[Mapping[str, Any]], package: Optional[str] = None
    ) -> List[Decision]:
        """A decision for each of ``{"action": …, "resource": …, "context": …}``, in order."""
        answers, batches = self.desk.ask_many(actions, package)
        for places, requests, future in batches:
            answer = self.desk.core().wait(future, self.settings.timeout)
            for place, decision in zip(places, self.desk.answer_many(requests, answer)):
                answers[place] = decision
        return cast(List[Decision], answers)

    def get_active_policies(self) -> List[Policy]:
        """The policies in force. Raises :class:`PolicyServiceError`."""
        policies: List[Policy] = []
        body: Dict[str, Any] = {}
        while True:
            reply = self._manage("admin.list", body)
            policies += active(reply.get("policies"))
            after = reply.get("next")
            # Names grow from page to page; anything else would never end.
            if not isinstance(after, str) or after <= body.get("after", ""):
                return policies
            body = {"after": after}

    def test_policy(self, policy_content: str, test_inputs: Sequence[Mapping[str, Any]]) -> List[Evaluation]:
        """What a Rego text says of inputs or checks. Nothing is enforced or recorded.

        Raises :class:`PolicyRequestError` with its ``findings`` where the text is refused.
        """
        return [evaluation(self._manage("evaluate", trial_body(policy_content, one))) for one in test_inputs]

    def _manage(self, verb: str, body: Dict[str, Any]) -> Dict[str, Any]:
        future = self.desk.manage(verb, body)
        return self.desk.managed(self.desk.core().wait(future, self.desk.management_timeout))

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until outcomes and unchecked calls are sent; False where that takes longer."""
        return self.desk.core().flush(timeout)

    def close(self) -> None:
        """Sends what waits. The connection is the process's, and ends with it."""
        self.flush(1.0)

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncPolicyClient(_Base):
    """As :class:`PolicyClient`, for tasks. One client serves any number of event loops."""

    async def check_permission(
        self, action: str, resource: Any, context: Context = None, package: Optional[str] = None
    ) -> Decision:
        """The decision. Without an answer: what the fail mode says, with ``error`` and a reason."""
        asked = self.desk.ask(action, resource, context, package)
        if isinstance(asked, Decision):
            return asked
        return self.desk.answer(asked, await answer_of(asked.future))

    async def evaluate_batch(
        self, actions: Sequence[Mapping[str, Any]], package: Optional[str] = None
    ) -> List[Decision]:
        """A decision for each of ``{"action": …, "resource": …, "context": …}``, in order."""
        answers, batches = self.desk.ask_many(actions, package)
        for places, requests, future in batches:
            answer = await answer_of(future)
            for place, decision in zip(places, self.desk.answer_many(requests, answer)):
                answers[place] = decision
        return cast(List[Decision], answers)

    async def get_active_policies(self) -> List[Policy]:
        """The policies in force. Raises :class:`PolicyServiceError`."""
        policies: List[Policy] = []
        body: Dict[str, Any] = {}
        while True:
            reply = await self._manage("admin.list", body)
            policies += active(reply.get("policies"))
            after = reply.get("next")
            # Names grow from page to page; anything else would never end.
            if not isinstance(after, str) or after <= body.get("after", ""):
                return policies
            body = {"after": after}

    async def test_policy(
        self, policy_content: str, test_inputs: Sequence[Mapping[str, Any]]
    ) -> List[Evaluation]:
        """As :meth:`PolicyClient.test_policy`."""
        results = []
        for one in test_inputs:
            results.append(evaluation(await self._manage("evaluate", trial_body(policy_content, one))))
        return results

    async def _manage(self, verb: str, body: Dict[str, Any]) -> Dict[str, Any]:
        return self.desk.managed(await answer_of(self.desk.manage(verb, body)))

    async def flush(self, timeout: float = 5.0) -> bool:
        """Waits until outcomes and unchecked calls are sent; False where that takes longer."""
        return await asyncio.get_running_loop().run_in_executor(None, self.desk.core().flush, timeout)

    async def close(self) -> None:
        """Sends what waits. The connection is the process's, and ends with it."""
        await self.flush(1.0)

    async def __aenter__(self) -> AsyncPolicyClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


_default: Optional[PolicyClient] = None


def default_client() -> PolicyClient:
    """The client of decorators that were given none: by environment, made when first needed."""
    global _default
    if _default is None:
        _default = PolicyClient()
    return _default


def configure(**arguments: Any) -> PolicyClient:
    """Sets the default client's settings by argument, over those of the environment."""
    global _default
    _default = PolicyClient(**arguments)
    return _default


def shutdown(timeout: float = registry.EXIT_TIMEOUT) -> None:
    """Ends all connections of this process at once. The next check makes new ones."""
    registry.close_all(timeout)


AnyClient = Union[PolicyClient, AsyncPolicyClient]
