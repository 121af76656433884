"""What comes in at `/hooks/{name}`: checked, stored, and only then acknowledged; or a ping of an expectation."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec

from tawny.domain import signatures
from tawny.domain.tasks import Json
from tawny.engine import automations as orders
from tawny.errors import NotFound, Refused
from tawny.ledger import automations, inbox
from tawny.ledger.database import Tx

Secret = Callable[[str], str]
"""Turns a reference such as `env:HOOK_SECRET` into the secret."""
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
    try:
        signed = signatures.verify(
            on.scheme or signatures.guess(headers),
            headers=headers,
            body=body,
            secret=secret(on.secret) if on.secret else "",
            now=tx.now,
        )
    except signatures.Unsigned as error:
        raise Refused(f"hook {name!r}: not signed rightly", hint="see docs/how-to/webhooks.md") from error
    data = _data(headers, body)
    event_id = signed.event_id or _own_id(data) or hashlib.sha256(body).hexdigest()
    fresh = inbox.accept(
        tx,
        "webhook",
        f"{name}:{event_id}",
        {"hook": name, **data, "headers": {key: headers[key] for key in _KEPT_HEADERS if key in headers}},
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
    """The sender's own id of the event, where it stands in the body as Stripe's does."""
    own = data.get("id")
    return own if isinstance(own, str) else ""
