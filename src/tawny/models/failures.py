"""What went wrong with a model call, in our words: which kind, whether another try helps, what a person should read."""

from typing import Any

from tawny.clock import format_duration
from tawny.domain.cooldown import RESTING
from tawny.errors import TawnyError

_BREATHERS = (0.3, 1.0)
"""Seconds before the second and the third try with the same account."""
_PATIENCE = 10.0
"""A server that asks for more seconds than this is left to rest."""


class ModelFailure(TawnyError):
    """A model call failed.

    `kind` is auth, rate_limit, billing, timeout, overloaded, connection, format, context_overflow, rejected,
    not_found or setup.
    """

    code = "model"

    def __init__(self, kind: str, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.retry_after = retry_after

    @property
    def rests(self) -> bool:
        """Whether the account should rest."""
        return self.kind in RESTING

    def breather(self, attempt: int) -> float | None:
        """Seconds to wait before trying the same account again after `attempt` tries; `None` for not at all."""
        if attempt > len(_BREATHERS) or self.kind not in ("overloaded", "connection", "format", "rate_limit"):
            return None
        wait = max(_BREATHERS[attempt - 1], self.retry_after or 0.0)
        return wait if wait <= _PATIENCE else None


class ModelsUnavailable(TawnyError):
    """No account is left to ask now. `failures` tells of each, `retry_after` (seconds) when the first may be asked."""

    code = "model_unavailable"
    retryable = True

    def __init__(self, message: str, *, kind: str, retry_after: float | None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.retry_after = retry_after


_SENTENCES = {
    "auth": "{model} did not accept our key",
    "rate_limit": "{model} has had too many requests from us",
    "billing": "the account for {model} has run out of credit or quota",
    "timeout": "{model} did not answer in time",
    "overloaded": "{model} is overloaded",
    "connection": "{model} cannot be reached",
    "format": "{model} sent an answer that makes no sense",
    "context_overflow": "the conversation has become too long for {model}",
    "rejected": "{model} refused the request",
    "not_found": "{model} is not known to its server",
    "setup": "{model} cannot be used here",
}
_MENDS = {
    "auth": "put a valid key into [model] api_key",
    "billing": "top up the account, or add a fallback under [[model.fallbacks]]",
    "connection": "check that the model server runs and that [model] base_url is right",
    "not_found": "check [model] name, and that base_url is right (it often ends in /v1)",
    "no_stream": "check that [model] base_url is right (it often ends in /v1)",
}


def sentence(kind: str, model: str) -> str:
    """What happened, for a person, without a full stop."""
    return _SENTENCES.get(kind, "{model} failed").format(model=model)


def mend(kind: str) -> str:
    return _MENDS.get(kind, "")


def explain(error: Exception) -> str:
    """One or two sentences for the chat: what happened, and what becomes of it."""
    if isinstance(error, ModelsUnavailable):
        text = f"I could not answer: {error.message}."
        if error.retry_after:
            rest = format_duration(max(1, round(error.retry_after)) * 1_000_000)
            text += f" I can try again in {rest}."
    elif isinstance(error, ModelFailure):
        text = f"I could not answer: {error.message}."
    else:
        return "I could not answer: something went wrong inside; the log has the details."
    if error.hint:
        text += f" To mend it: {error.hint}."
    return text


def failure(
    kind: str, model: str, *, detail: str = "", retry_after: float | None = None, hint: str = ""
) -> ModelFailure:
    """A failure with its sentence; `detail` is the server's own word, shortened; `hint` a mend of its own."""
    message = sentence(kind, model)
    if detail:
        message += f" ({' '.join(detail.split())[:200]})"
    return ModelFailure(kind, message, hint=hint or mend(kind), retry_after=retry_after)


def document(error: ModelFailure) -> dict[str, Any]:
    return {"kind": error.kind, "message": error.message, "retry_after": error.retry_after}
