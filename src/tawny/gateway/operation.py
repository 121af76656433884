"""An operation: one thing the gateway can do, the same by HTTP, by WebSocket and by MCP.

Most are plain functions of a transaction: `read` looks, `change` alters and is remembered under its
Idempotency-Key in the same commit. `act` is for the few that must wait for something.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from tawny.errors import Conflict, InvalidInput, TawnyError
from tawny.gateway.errors import HttpError, forbidden
from tawny.gateway.principal import Principal
from tawny.gateway.site import Site
from tawny.ledger import idempotency
from tawny.ledger.database import Tx

Q = TypeVar("Q")
B = TypeVar("B")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<where>[^`]*)`)?")


Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A place in the event log."""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request for an operation, checked: who asks, where, with what. `via` is http, socket or mcp."""

    site: Site
    principal: Principal
    path: Mapping[str, str]
    query: Q
    body: B
    via: str = "http"
    key: str | None = None
    address: str = ""
    languages: str = ""
    """The Accept-Language header, where the operation `speaks`."""

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.path["id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`name` is the method's name on the WebSocket; `scope` what it needs, `None` for everyone.

    `answer` is the answer's type, for the description; `errors` are the statuses beyond those every one may have.
    """

    name: str
    method: str
    path: str
    scope: str | None
    summary: str
    query: type[msgspec.Struct] = Nothing
    body: type[Any] = Nothing
    described_by: Any = None
    """The body's shape for the description, where the ledger's own parser does the checking."""
    answer: Any = dict[str, Any]
    media: tuple[str, ...] = ()
    """The answer's media types, where it is no JSON document."""
    streams: bool = False
    """The answer may also come as server-sent events, where the request asks for it."""
    status: int = 200
    also: tuple[int, ...] = ()
    """Other statuses that carry the same answer."""
    errors: tuple[int, ...] = ()
    secret: bool = False
    """The answer holds a secret that is told once: for its Idempotency-Key only is kept that it was told."""
    speaks: bool = False
    """What it does depends on the asker's language."""
    regrants: bool = False
    """It changes who may come in: the answer is given once that holds."""
    read: Callable[[Tx, Call[Any, Any]], Any] | None = None
    change: Callable[[Tx, Call[Any, Any]], Any] | None = None
    act: Callable[[Call[Any, Any]], Awaitable[Any]] | None = None

    @property
    def alters(self) -> bool:
        return self.method != "GET"

    @property
    def has_body(self) -> bool:
        return self.alters and self.body is not Nothing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: a status of HTTP, a document, headers."""

    status: int
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def permit(operation: Operation, principal: Principal) -> None:
    """Let only those pass who were granted the operation's scope; before anything they sent is looked at.

    Raises:
        HttpError: 403.
    """
    if operation.scope is not None and operation.scope not in principal.scopes:
        raise forbidden(operation.scope)


def check_key(key: str | None) -> None:
    """Let only usable Idempotency-Keys pass, and none.

    Raises:
        HttpError: 400.
    """
    if key is not None and _KEY.fullmatch(key) is None:
        raise HttpError(400, "invalid", "Idempotency-Key: 1 to 255 visible ASCII characters")


async def perform(operation: Operation, call: Call[Any, Any], *, raw_body: Any) -> Outcome:
    """Do what is asked, if its scope was granted; once only, where it has an Idempotency-Key.

    Raises:
        TawnyError: it was refused, or failed; nothing has happened then.
    """
    permit(operation, call.principal)
    check_key(call.key)
    if operation.read is not None:
        read = operation.read
        return Outcome(operation.status, await call.site.ledger.read(lambda tx: read(tx, call)))
    scope = f"{call.principal.credential_id} {operation.name} {'/'.join(call.path.values())}"
    if operation.change is not None:
        answer = await call.site.ledger.write(
            _changing(operation, call, scope, raw_body), urgent=bool(call.path)
        )
    else:
        answer = await _acting(operation, call, scope, raw_body)
    if operation.regrants:
        await call.site.keyring.load()
    headers = {"idempotency-replayed": "true"} if answer.replayed else {}
    return Outcome(answer.status, answer.document, headers)


def _changing(
    operation: Operation, call: Call[Any, Any], scope: str, raw_body: Any
) -> Callable[[Tx], idempotency.Answer]:
    change = operation.change
    assert change is not None
    key = call.key
    if key is None:
        return lambda tx: idempotency.Answer(operation.status, change(tx, call))
    hashed = idempotency.body_hash(raw_body)

    def once(tx: Tx) -> idempotency.Answer:
        return idempotency.once(
            tx, scope, key, hashed, status=operation.status, change=lambda inner: change(inner, call)
        )

    def told_once(tx: Tx) -> idempotency.Answer:
        if idempotency.find(tx, scope, key, hashed) is not None:
            raise Conflict(
                "this was done under that Idempotency-Key before, and its secret is told once",
                hint="revoke what it made, and ask with a new key",
                code="told_once",
            )
        document = change(tx, call)
        idempotency.remember(tx, scope, key, hashed, status=operation.status, document=None)
        return idempotency.Answer(operation.status, document)

    return told_once if operation.secret else once


async def _acting(
    operation: Operation, call: Call[Any, Any], scope: str, raw_body: Any
) -> idempotency.Answer:
    assert operation.act is not None
    key = call.key
    if key is None:
        return _answer(operation, await operation.act(call))
    hashed = idempotency.body_hash(raw_body)
    async with call.site.doing(scope + " " + key):
        before = await call.site.ledger.read(lambda tx: idempotency.find(tx, scope, key, hashed))
        if before is not None:
            return before
        answer = _answer(operation, await operation.act(call))
        if operation.secret:
            return answer
        await call.site.ledger.write(
            lambda tx: idempotency.remember(
                tx, scope, key, hashed, status=answer.status, document=answer.document
            )
        )
        return answer


def _answer(operation: Operation, given: Any) -> idempotency.Answer:
    if isinstance(given, Outcome):
        return idempotency.Answer(given.status, given.document)
    return idempotency.Answer(operation.status, given)


def checked(value: Any, into: type[Any], *, what: str, strict: bool = True) -> Any:
    """A decoded JSON value (or the texts of a query, `strict=False`) as the struct it must be.

    Raises:
        InvalidInput: names the field and what is wrong with it.
    """
    if into is Any:
        return value
    try:
        return msgspec.convert(value, into, strict=strict)
    except msgspec.ValidationError as error:
        raise invalid(str(error), what=what) from None
    except (TawnyError, ValueError) as error:
        raise InvalidInput(f"{what}: {error}") from None


def invalid(problem: str, *, what: str) -> InvalidInput:
    """The checker's words as: where, what."""
    match = _PROBLEM.fullmatch(problem)
    where, text = (match["where"], match["what"]) if match else ("", problem)
    text = text[:1].lower() + text[1:].replace("`", "'")
    return InvalidInput(f"{where or what}: {text}", hint="GET /openapi.json describes what is accepted")
