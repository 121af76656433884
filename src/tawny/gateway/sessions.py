"""Conversations: what is said, and what was said."""

from typing import Annotated, Any

import msgspec

from tawny.domain.messages import Inbound
from tawny.errors import InvalidInput
from tawny.gateway.documents import Page, Time
from tawny.gateway.errors import HttpError
from tawny.gateway.operation import Call, Nothing, Operation, Outcome
from tawny.gateway.principal import READ, WRITE
from tawny.ids import new_id
from tawny.ledger import inputs, sessions
from tawny.ledger.database import Tx

HOLD = 60.0
"""Seconds a caller is held for the answer; then it hears what is waited for, and the turn goes on by itself."""


class Session(msgspec.Struct):
    key: str
    title: str | None
    channel: str | None
    messages: int
    updated_at: Time


class Message(msgspec.Struct):
    message_id: str
    role: str
    text: str
    time: Time
    run_id: str
    task_ids: list[str]


class Say(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words for the assistant. With `wait` the answer comes in the reply; `event_id` makes it once-only."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=200_000)]
    wait: bool = False
    event_id: Annotated[str, msgspec.Meta(max_length=255)] = ""
    model: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Reply(msgspec.Struct):
    """What came of it; `run_id` is the turn's task. The text is there with `wait`, or when a command was answered."""

    run_id: str | None
    session: str
    status: str
    text: str
    task_ids: list[str]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}~")] | None = None


class Transcript(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last `limit` messages, or those after the entry `after`."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 200


def page(tx: Tx, call: Call[Listing, Nothing]) -> dict[str, Any]:
    found = sessions.page(tx, limit=call.query.limit, cursor=call.query.cursor)
    return {"items": [entry.document() for entry in found.items], "next_cursor": found.next_cursor}


def transcript(tx: Tx, call: Call[Transcript, Nothing]) -> dict[str, Any]:
    """A session that nobody has spoken in is empty, not missing."""
    after = call.query.after
    found = sessions.entries(
        tx, call.path["key"], after=after or 0, limit=call.query.limit, newest=after is None
    )
    more = after is not None and len(found) == call.query.limit
    items = [entry.document() for entry in found]
    if after is None:
        # What was just said stands there at once; it enters the transcript with its answer.
        waiting = inputs.unanswered(tx, call.path["key"])
        items += [{**entry.document(), "message_id": entry.run_id} for entry in waiting]
    return {
        "items": items,
        "next_cursor": str(found[-1].n) if more else None,
    }


async def say(call: Call[Nothing, Say]) -> Any:
    """Hand words in; durable when this returns."""
    body = call.body
    reply = await speak(
        call, call.path["key"], body.text, event_id=body.event_id, wait=body.wait, model=body.model
    )
    return Outcome(200 if body.wait else 202, reply)


async def speak(
    call: Call[Any, Any],
    session: str,
    text: str,
    *,
    event_id: str = "",
    wait: bool,
    model: str = "",
) -> dict[str, Any]:
    """Say something as whoever calls: the owner, or a guest whose words are no orders of the owner's."""
    site, asking = call.site, call.principal
    if not 0 < len(session) <= 200 or not session.isprintable():
        raise InvalidInput("session: 1 to 200 printable characters")
    if site.inbox is None:
        raise HttpError(503, "no_agent", "the agent is not running here")
    given = event_id or call.key
    inbound = Inbound(
        channel="http",
        event_id=f"{asking.credential_id}:{given}" if given else new_id("msg", site.clock.now()),
        sender="owner" if asking.is_owner else asking.credential_id,
        sender_name=asking.name,
        text=text,
        group=not asking.is_owner,
        raw={"model": model} if model else {},
    )
    received = await site.inbox.receive(inbound, session=session)
    if received.run_id is None or not wait:
        return {
            "run_id": received.run_id,
            "session": received.session,
            "status": received.status,
            "text": received.text,
            "task_ids": [],
        }
    reply = await site.inbox.answer(received.run_id, session, wait=HOLD, begun=received.begun)
    return msgspec.to_builtins(reply)


def reset(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    return sessions.reset(tx, call.path["key"]).document()


async def compact(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    key = call.path["key"]
    await call.site.ledger.read(lambda tx: sessions.get(tx, key))
    return await speak(call, key, "/compact", wait=True)


OPERATIONS = (
    Operation(
        name="sessions.list",
        method="GET",
        path="/v1/sessions",
        scope=READ,
        summary="Conversations, the newest talk first",
        query=Listing,
        answer=Page[Session],
        read=page,
    ),
    Operation(
        name="sessions.messages",
        method="GET",
        path="/v1/sessions/{key}/messages",
        scope=READ,
        summary="What was said, oldest first",
        query=Transcript,
        answer=Page[Message],
        read=transcript,
    ),
    Operation(
        name="sessions.say",
        method="POST",
        path="/v1/sessions/{key}/messages",
        scope=WRITE,
        summary="Say something; with wait the answer comes at once (200)",
        body=Say,
        answer=Reply,
        status=202,
        also=(200,),
        errors=(429,),
        act=say,
    ),
    Operation(
        name="sessions.reset",
        method="POST",
        path="/v1/sessions/{key}/reset",
        scope=WRITE,
        summary="Begin a new conversation; what was said stays in the transcript",
        answer=Session,
        errors=(404,),
        change=reset,
    ),
    Operation(
        name="sessions.compact",
        method="POST",
        path="/v1/sessions/{key}/compact",
        scope=WRITE,
        summary="Have a summary stand for what was said",
        answer=Reply,
        errors=(404,),
        act=compact,
    ),
)
