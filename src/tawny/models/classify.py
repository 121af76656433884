"""Which of our kinds of failure an exception of the model library means."""

import json
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_ai import exceptions as library

from tawny.models.complaints import NoStream, complaint
from tawny.models.failures import ModelFailure, failure, mend
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
    if (stray := _in_place_of_an_answer(chain, model)) is not None:
        return stray
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


def _in_place_of_an_answer(chain: Sequence[BaseException], model: str) -> ModelFailure | None:
    """The failure where something came that no model server sends: too much, a web page, a redirect."""
    for link in chain:
        status = getattr(link, "status_code", None)
        if isinstance(link, AnswerTooLong):
            return failure("format", model, detail="an answer of more than 8 MB was cut off")
        if isinstance(link, NoStream) or (isinstance(status, int) and 300 <= status < 400):
            stray = str(link) if isinstance(link, NoStream) else f"a redirect (HTTP {status})"
            return failure("format", model, detail=f"not a stream but {stray}", hint=mend("no_stream"))
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
    if word := complaint(getattr(error, "body", None)):
        return word
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
