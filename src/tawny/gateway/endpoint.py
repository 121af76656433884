"""From a request of HTTP to an operation's call, and from its outcome to an answer."""

from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.errors import InvalidInput
from tawny.gateway.errors import HttpError
from tawny.gateway.operation import Call, Nothing, Operation, checked, perform
from tawny.gateway.principal import Principal
from tawny.gateway.site import Site

T = TypeVar("T", bound=msgspec.Struct)
_encode = msgspec.json.Encoder().encode


class Endpoint:
    """One operation as an ASGI application."""

    def __init__(self, operation: Operation, site: Site) -> None:
        self._operation = operation
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operation
        raw_body: Any = {}
        if operation.alters:
            raw_body = await json_body(scope, receive)
        call = Call(
            site=self._site,
            principal=scope["tawny.principal"],
            path=path_of(scope),
            query=query_of(scope, operation.query),
            body=checked(raw_body, operation.body, what="body") if operation.has_body else Nothing(),
            key=header(scope, b"idempotency-key"),
            address=client_address(scope),
            languages=_joined(scope, b"accept-language") if operation.speaks else "",
        )
        outcome = await perform(operation, call, raw_body=raw_body)
        await answer(send, outcome.status, outcome.document, headers=dict(outcome.headers))


async def answer(send: Send, status: int, document: Any, *, headers: dict[str, str] | None = None) -> None:
    """Send a document as JSON; no body at all with 204."""
    given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    if status == 204:
        await send({"type": "http.response.start", "status": status, "headers": given})
        await send({"type": "http.response.body", "body": b""})
        return
    body = _encode(document)
    given += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value, `None` where it is missing.

    Raises:
        HttpError: it is there more than once.
    """
    found = [value for key, value in scope["headers"] if key == name]
    if len(found) > 1:
        raise HttpError(400, "invalid", f"{name.decode()}: one value is expected")
    return found[0].decode("latin-1") if found else None


def _joined(scope: Scope, name: bytes) -> str:
    """A header that may be there several times, as one list."""
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def client_address(scope: Scope) -> str:
    """The other end's address as the socket has it; no header can change it."""
    client = scope.get("client")
    return client[0] if client else ""


def bearer_of(scope: Scope) -> str | None:
    """The bearer token of the Authorization header, `None` without one."""
    given = header(scope, b"authorization")
    if given is None:
        return None
    kind, _, token = given.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def cookie_of(scope: Scope, name: str) -> str | None:
    """A cookie's value, `None` without one."""
    for key, value in scope["headers"]:
        if key == b"cookie":
            for part in value.decode("latin-1").split(";"):
                given, _, content = part.strip().partition("=")
                if given == name:
                    return content
    return None


def principal_of(scope: Scope) -> Principal:
    return scope["tawny.principal"]


def path_of(scope: Scope) -> dict[str, str]:
    """The parts of the path that vary."""
    return {name: str(value) for name, value in scope.get("path_params", {}).items()}


def query_of(scope: Scope, into: type[T]) -> T:
    """The checked query; an empty value is as good as none.

    Raises:
        InvalidInput: names the parameter.
    """
    try:
        text = scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise InvalidInput("the query string is malformed") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if "\0" in value:
            raise InvalidInput(f"{name}: a NUL character is not allowed")
        if value == "null":
            raise InvalidInput(f"{name}: leave it out instead of saying null")
        if value:
            values[name] = f"{values[name]},{value}" if name in values else value
        elif name not in _names(into):
            raise InvalidInput(f"query: unknown parameter {name!r}")
    return checked(values, into, what="query", strict=False)


def _names(into: type[msgspec.Struct]) -> tuple[str, ...]:
    return into.__struct_encode_fields__


async def json_body(scope: Scope, receive: Receive) -> Any:
    """The body as a JSON value, `{}` where there is none.

    Raises:
        HttpError: 400 for what is no JSON, 415 for another type.
    """
    body = await read_body(receive)
    if not body.strip(b" \t\r\n"):  # what JSON takes for space, and no more
        return {}
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise HttpError(
            415, "unsupported_type", "the body must be JSON", hint="Content-Type: application/json"
        )
    return decode(body)


def decode(body: bytes | str) -> Any:
    """A JSON value.

    Raises:
        HttpError: 400, it is none.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(
            400, "malformed", f"the body is no JSON: {error}", hint="send one JSON document in UTF-8"
        ) from None
    if ("\\u0000" if isinstance(body, str) else b"\\u0000") in body:  # pyright: ignore[reportOperatorIssue]
        raise HttpError(400, "malformed", "the body holds a NUL character", hint="leave it out")
    return value


async def read_body(receive: Receive) -> bytes:
    """The whole body; its size and pace are the guard's to limit.

    Raises:
        HttpError: the other end went away.
    """
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HttpError(400, "incomplete", "the request ended before its body did")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
