"""The audit trail: listed, exported, and proved unchanged."""

import csv
import io
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.clock import Instant, parse_duration, parse_time
from tawny.errors import InvalidInput
from tawny.gateway.documents import Moment, Page, Time
from tawny.gateway.endpoint import query_of
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import ADMIN, READ
from tawny.gateway.site import Site
from tawny.ledger import audit
from tawny.ledger.audit import AuditRow, Filter
from tawny.ledger.database import Tx

COLUMNS = ("seq", "time", "actor", "action", "task_id", "detail", "usage", "decision", "hash", "previous")
_encode = msgspec.json.Encoder().encode


class Row(msgspec.Struct):
    seq: int
    time: Time
    actor: str
    action: str
    task_id: str | None
    detail: dict[str, Any]
    usage: dict[str, Any] | None
    decision: str | None
    hash: str
    previous: str


class Verification(msgspec.Struct):
    """`head` is the newest row's hash; `broken_at` the first row that is wrong."""

    ok: bool
    rows: int
    head: str
    broken_at: int | None
    problem: str


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows; `after` and `before` are times, or how long ago: `2h`."""

    action: str | None = None
    actor: str | None = None
    task_id: str | None = None
    after: Moment | None = None
    before: Moment | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")] | None = None


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rows that fit, oldest first."""

    format: Literal["jsonl", "csv"] = "jsonl"
    action: str | None = None
    actor: str | None = None
    task_id: str | None = None
    after: Moment | None = None
    before: Moment | None = None


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head told by an export shows whether the end was cut off since."""

    head: str | None = None


def page(tx: Tx, call: Call[Listing, Nothing]) -> dict[str, Any]:
    query = call.query
    rows, cursor = audit.page(tx, _filter(query, tx.now), limit=query.limit, cursor=query.cursor)
    return {"items": [row.document() for row in rows], "next_cursor": cursor}


def verify(tx: Tx, call: Call[Head, Nothing]) -> dict[str, Any]:
    return msgspec.structs.asdict(audit.verify(tx, known_head=call.query.head))


def _filter(query: Listing | Export, now: Instant) -> Filter:
    return Filter(
        action=query.action,
        actor=query.actor,
        task_id=query.task_id,
        after=_instant("after", query.after, now),
        before=_instant("before", query.before, now),
    )


def _instant(name: str, text: str | None, now: Instant) -> Instant | None:
    if text is None:
        return None
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text, now=now)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name}: {error}") from None


class ExportEndpoint:
    """Sends the rows as a file, piece by piece; `x-audit-head` is the newest row's hash."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        query = query_of(scope, Export)
        chosen = _filter(query, self._site.clock.now())

        def collect(tx: Tx) -> tuple[list[bytes], str]:
            rows = audit.export(tx, chosen)
            return list(_csv(rows) if query.format == "csv" else _lines(rows)), audit.head(tx)

        parts, head = await self._site.ledger.read(collect)
        kind = b"text/csv; charset=utf-8" if query.format == "csv" else b"application/jsonl"
        headers = [
            (b"content-type", kind),
            (b"content-disposition", f"attachment; filename=audit.{query.format}".encode()),
            (b"x-audit-head", head.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _lines(rows: Iterator[AuditRow]) -> Iterator[bytes]:
    for row in rows:
        yield _encode(row.document()) + b"\n"


def _csv(rows: Iterator[AuditRow]) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        document = row.document()
        writer.writerow([_cell(document[name]) for name in COLUMNS])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    if out.tell():
        yield out.getvalue().encode()


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else _encode(value).decode()
    # a spreadsheet would take these for a formula
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


async def _elsewhere(_: Call[Any, Any]) -> None:
    raise AssertionError("the export is served by its own endpoint")


OPERATIONS = (
    Operation(
        name="audit.list",
        method="GET",
        path="/v1/audit",
        scope=READ,
        summary="Who did what, newest first",
        query=Listing,
        answer=Page[Row],
        read=page,
    ),
    Operation(
        name="audit.export",
        method="GET",
        path="/v1/audit/export",
        scope=ADMIN,
        summary="All of it as a file; the header X-Audit-Head names its end",
        query=Export,
        media=("application/jsonl", "text/csv"),
        act=_elsewhere,
    ),
    Operation(
        name="audit.verify",
        method="GET",
        path="/v1/audit/verify",
        scope=READ,
        summary="Whether every link of the chain holds",
        query=Head,
        answer=Verification,
        read=verify,
    ),
)
