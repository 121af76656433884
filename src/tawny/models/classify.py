"""Which of our kinds of failure an exception of the model library means."""

import json

from pydantic import ValidationError
from pydantic_ai import exceptions as library

from tawny.models.failures import ModelFailure, failure
from tawny.models.providers import AnswerTooLong

# The first class that matches decides; more specific ones stand first.
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (library.ModelContextWindowExceededError, "context_overflow"),
    (library.ModelQuotaExceededError, "billing"),
    (library.ModelRateLimitError, "rate_limit"),
    (library.ModelAuthenticationError, "auth"),
    (library.ModelNotFoundError, "not_found"),
    (library.ModelRequestRejectedError, "rejected"),
    (library.ModelTimeoutError, "timeout"),
    (library.ModelRequestTimeout, "timeout"),
    (library.ModelUnavailableError, "overloaded"),
    (library.ModelServerError, "overloaded"),
    (library.ModelConnectionError, "connection"),
    (library.ContentFilterError, "rejected"),
)
_BY_STATUS = {
    401: "auth",
    402: "billing",
    403: "auth",
    404: "not_found",
    408: "timeout",
    413: "context_overflow",
}
# As OpenAI, Anthropic, Google, Ollama, llama.cpp, vLLM, LM Studio, Mistral and their like say it.
_OVERFLOW = (
    "context length",
    "context_length",
    "context window",
    "context size",
    "context overflow",
    "maximum context",
    "maximum number of tokens",
    "too many tokens",
    "too large for model",
    "prompt is too long",
    "input is too long",
    "reduce the length",
)


def classify(error: Exception, model: str) -> ModelFailure | None:
    """Our failure for an exception a model call ended with; `None` when it is no failure of the model's side."""
    if isinstance(error, ModelFailure):
        return error
    chain = _chain(error)
    if any(isinstance(link, AnswerTooLong) for link in chain):
        return failure("format", model, detail="an answer of more than 8 MB was cut off")
    for link in chain:
        for known, kind in _KINDS:
            if isinstance(link, known):
                if kind == "rejected" and _is_overflow(link):
                    kind = "context_overflow"
                return failure(
                    kind,
                    model,
                    detail=_detail(link),
                    retry_after=getattr(link, "retry_after", None),
                )
    for link in chain:
        if isinstance(link, library.ModelHTTPError):
            return _by_status(link, model)
        if isinstance(link, library.ModelAPIError | library.UnexpectedModelBehavior):
            return failure("format", model, detail=_detail(link))
        if isinstance(link, json.JSONDecodeError | ValidationError | UnicodeDecodeError):
            return failure("format", model)
        if type(link).__module__.split(".")[0] in (
            "openai",
            "anthropic",
            "google",
            "httpx",
            "httpx2",
            "httpcore2",
        ):
            return failure("connection", model, detail=type(link).__name__)
    return None


def _by_status(error: library.ModelHTTPError, model: str) -> ModelFailure:
    if _is_overflow(error):
        kind = "context_overflow"
    elif error.status_code >= 500:
        kind = "overloaded"
    else:
        kind = _BY_STATUS.get(error.status_code, "rate_limit" if error.status_code == 429 else "rejected")
    return failure(kind, model, detail=_detail(error), retry_after=error.retry_after)


def _is_overflow(error: BaseException) -> bool:
    text = str(error).lower()
    return any(word in text for word in _OVERFLOW)


def _detail(error: BaseException) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        message = body.get("message")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(message, str):
            return message
    status = getattr(error, "status_code", None)
    return f"HTTP {status}" if status else ""


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(links) < 8:
        links.append(current)
        if isinstance(current, BaseExceptionGroup):
            links.extend(current.exceptions[:4])  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        current = current.__cause__ or current.__context__
    return links
