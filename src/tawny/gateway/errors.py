"""The contract's error document, and the status that fits each error."""

from typing import Any

from tawny.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermanentError,
    QueueFull,
    Refused,
    TawnyError,
    TemporaryError,
)


class HttpError(TawnyError):
    """An error of the protocol itself, with its status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status
        self.retryable = status in (408, 429, 503)
        self.headers = headers or {}


class Settled(Conflict):
    """Somebody else was first; `document` is the outcome, shown beside the error."""

    def __init__(self, message: str, *, document: dict[str, Any], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.document = document


def unauthenticated(message: str = "a token is needed") -> HttpError:
    return HttpError(
        401,
        "unauthenticated",
        message,
        hint="send 'Authorization: Bearer TOKEN'; the token stands in the file 'token' in the home",
        headers={"www-authenticate": 'Bearer realm="tawny"'},
    )


def forbidden(scope: str) -> HttpError:
    return HttpError(
        403,
        "missing_scope",
        f"this needs the scope {scope!r}, which was not granted",
        hint="ask the owner for a token or device with that scope",
    )


_STATUS: tuple[tuple[type[TawnyError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Refused, 403),
    (InvalidInput, 422),
    (QueueFull, 429),
    (TemporaryError, 503),
    (PermanentError, 422),
)


def status_of(error: TawnyError) -> int:
    """The status of HTTP that fits."""
    if isinstance(error, HttpError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def document_of(error: TawnyError) -> dict[str, Any]:
    """The contract's error document."""
    document: dict[str, Any] = {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
        }
    }
    if isinstance(error, Settled):
        document |= error.document
    return document


def headers_of(error: TawnyError) -> dict[str, str]:
    """Headers that go with the error: when to try again, how to sign in."""
    if isinstance(error, HttpError):
        return error.headers
    if isinstance(error, TemporaryError) and error.retry_after is not None:
        return {"retry-after": str(max(1, round(error.retry_after)))}
    if isinstance(error, QueueFull):
        return {"retry-after": "5"}
    return {}


def internal() -> TawnyError:
    """What a stranger is told of a mistake of ours: nothing but that."""
    return HttpError(500, "internal", "something went wrong here", hint="see the log of the gateway")
