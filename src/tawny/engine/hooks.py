"""What comes in at `/hooks/{name}`: checked, stored, and only then acknowledged; or a ping of an expectation."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec

from tawny.clock import MINUTE, Instant
from tawny.domain import signatures
from tawny.domain.tasks import Json
from tawny.engine import automations as orders
from tawny.errors import NotFound, Refused
from tawny.ledger import automations, inbox
from tawny.ledger.database import Tx

Secret = Callable[[str], str]
"""Turns a reference such as `env:HOOK_SECRET` into the secret."""
SAME = 5 * MINUTE
_KEPT_HEADERS = ("x-github-event", "x-gitlab-event", "content-type", "user-agent")


def receive(tx: Tx, name: str, *, headers: Mapping[str, str], body: bytes, secret: Secret) -> dict[str, Any]:
    """Take in a request; `{"accepted", "duplicate"}`. Headers by lower-case name.

    Raises:
        NotFound: nothing is behind that name.
        Refused: it is not signed rightly.
    """
    automation = automations.of_hook(tx, name)
    if automation is None:
        raise NotFound(
            f"there is no hook {name!r}", hint="an active automation with source 'webhook' makes one"
        )
    if automation.spec.expect is not None:
        orders.ping(tx, automation.automation_id)
        return {"accepted": True, "duplicate": False}
    on = automation.spec.on
    assert on is not None
    scheme = on.scheme or signatures.guess(headers)
    try:
        signed = signatures.verify(
            scheme,
            headers=headers,
            body=body,
            secret=secret(on.secret) if on.secret else "",
            now=tx.now,
        )
    except signatures.Unsigned as error:
        raise Refused(f"hook {name!r}: not signed rightly", hint="see docs/how-to/events.md") from error
    data = _data(headers, body)
    own = _own_id(data) if scheme == "stripe" else ""
    event_id = signed.event_id or own or _id_of(body, tx.now)
    fresh = inbox.accept(
        tx,
        "webhook",
        f"{name}:{event_id}",
        # the body's own `hook` (GitHub's ping has one) gives way: by this name the automation is found
        {**data, "hook": name, "headers": {key: headers[key] for key in _KEPT_HEADERS if key in headers}},
        time=signed.time,
    )
    return {"accepted": True, "duplicate": not fresh}


def _data(headers: Mapping[str, str], body: bytes) -> dict[str, Json]:
    """The body as names for a filter: an object's keys, a form's fields, else `body`."""
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode("utf-8", "replace")))
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {"body": body.decode("utf-8", "replace")}
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {"body": value}


def _own_id(data: Mapping[str, Json]) -> str:
    """The event's own id in a body of Stripe's; in another's `id` may name anything, a device say."""
    own = data.get("id")
    return own if isinstance(own, str) else ""


def _id_of(body: bytes, now: Instant) -> str:
    """An id for what comes without one: the same body soon after is the same event, later it is another."""
    return f"{hashlib.sha256(body).hexdigest()}.{now // SAME}"
