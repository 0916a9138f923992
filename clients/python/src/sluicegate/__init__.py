"""Asks Sluicegate before an agent's operation.

::

    from sluicegate import enforce_policy

    @enforce_policy("llm_call", lambda model, prompt: {"model": model, "prompt_length": len(prompt)})
    def ask(model, prompt): ...
"""

from ._version import __version__
from .client import AsyncPolicyClient, PolicyClient, configure, default_client, shutdown
from .context import current_context, policy_context
from .coverage import Stats
from .decorator import enforce_policy, report_cost
from .errors import PolicyDeniedError, PolicyError, PolicyRequestError, PolicyServiceError, SettingsError
from .results import Cause, Decision, Evaluation, Policy
from .settings import Settings
from .tools import enforced

__all__ = [
    "AsyncPolicyClient",
    "Cause",
    "Decision",
    "Evaluation",
    "Policy",
    "PolicyClient",
    "PolicyDeniedError",
    "PolicyError",
    "PolicyRequestError",
    "PolicyServiceError",
    "Settings",
    "SettingsError",
    "Stats",
    "__version__",
    "configure",
    "current_context",
    "default_client",
    "enforce_policy",
    "enforced",
    "policy_context",
    "report_cost",
    "shutdown",
]
