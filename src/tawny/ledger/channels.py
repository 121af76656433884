"""What is remembered of each channel: its health, its notes, who is paired with it, what came in already."""

import secrets
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

import msgspec

from tawny.clock import DAY, HOUR, Instant, iso
from tawny.domain import notify
from tawny.errors import NotFound
from tawny.ledger import audit
from tawny.ledger.database import Tx

CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""No 0, O, 1 or I: a code is read from one screen and typed on another."""
CODE_LENGTH = 8
CODE_LIFETIME = HOUR
MOST_PENDING = 3
_REMEMBERED = 30 * DAY


class ChannelState(msgspec.Struct, frozen=True):
    """The health of a channel. Times are instants; `disabled` says why it is off, empty where it is not."""

    name: str
    kind: str
    last_sent_at: Instant | None
    last_received_at: Instant | None
    last_error: str | None
    last_error_at: Instant | None
    errors: int
    disabled: str | None
    queued: int = 0

    def document(self) -> dict[str, Any]:
        """The state as on the wire."""
        times = {
            name: None if (value := getattr(self, name)) is None else iso(value)
            for name in ("last_sent_at", "last_received_at", "last_error_at")
        }
        return {
            "name": self.name,
            "kind": self.kind,
            "disabled": self.disabled,
            "queued": self.queued,
            "errors": self.errors,
            "last_error": self.last_error,
            **times,
        }


def opened(tx: Tx, name: str, kind: str, *, disabled: str | None = None) -> None:
    """The channel is up, or is not, for the reason given."""
    tx.execute(
        "INSERT INTO channel_state (name, kind, disabled) VALUES (:name, :kind, :disabled)"
        " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, disabled = excluded.disabled",
        name=name,
        kind=kind,
        disabled=disabled,
    )


def removed(tx: Tx, name: str) -> None:
    """The configuration names the channel no more; who paired with it is let in again when it is back."""
    tx.execute("DELETE FROM channel_state WHERE name = :name", name=name)


def sent(tx: Tx, name: str) -> None:
    """Something has gone out, with a receipt."""
    tx.execute(
        "UPDATE channel_state SET last_sent_at = :now, errors = 0 WHERE name = :name", name=name, now=tx.now
    )


def heard(tx: Tx, name: str) -> None:
    """Something has come in."""
    tx.execute(
        "UPDATE channel_state SET last_received_at = :now, errors = 0 WHERE name = :name",
        name=name,
        now=tx.now,
    )


def troubled(tx: Tx, name: str, error: str) -> None:
    """Something went wrong in the channel; errors in a row are counted."""
    tx.execute(
        "UPDATE channel_state SET last_error = :error, last_error_at = :now, errors = errors + 1"
        " WHERE name = :name",
        name=name,
        error=error[:500],
        now=tx.now,
    )


def states(tx: Tx, *, configured: Sequence[tuple[str, str]] = (), default: str = "") -> list[ChannelState]:
    """Every channel that was ever up, and those `configured` (name and kind), with the length of its queue.

    What waits for a kind is counted at the first channel of that kind, what waits for the person's default at
    `default`, as it will be sent.
    """
    rows = {row["name"]: row for row in tx.all("SELECT * FROM channel_state ORDER BY name")}
    kinds = {**{row["name"]: row["kind"] for row in rows.values()}, **dict(configured)}
    queued = _queued(
        tx, {kind: name for name, kind in reversed([*configured, *kinds.items()])}, kinds, default
    )
    return [
        ChannelState(**rows[name], queued=queued[name])
        if name in rows
        else ChannelState(name, kind, None, None, None, None, 0, None, queued[name])
        for name, kind in kinds.items()
    ]


def _queued(tx: Tx, first: Mapping[str, str], names: Container[str], default: str) -> Counter[str]:
    """How much waits at each channel; `first` is a kind's first channel."""
    found: Counter[str] = Counter()
    for row in tx.all(
        "SELECT COALESCE(sent_to, target) AS place, COUNT(*) AS n FROM outbox"
        " WHERE status IN ('pending', 'sending') GROUP BY COALESCE(sent_to, target)"
    ):
        place = row["place"].partition(":")[0]
        if place == notify.DEFAULT:
            place = default.partition(":")[0]
        found[place if place in names else first.get(place, place)] += int(row["n"])
    return found


def note(tx: Tx, channel: str, name: str, value: str) -> None:
    """Remember something for the channel: an offset, a thread, a cursor."""
    tx.execute(
        "INSERT INTO channel_notes (channel, name, value) VALUES (:channel, :name, :value)"
        " ON CONFLICT (channel, name) DO UPDATE SET value = excluded.value",
        channel=channel,
        name=name,
        value=value,
    )


def recall(tx: Tx, channel: str, name: str) -> str | None:
    """What was noted last."""
    return tx.value(
        "SELECT value FROM channel_notes WHERE channel = :channel AND name = :name",
        channel=channel,
        name=name,
    )


def is_known(tx: Tx, channel: str, event_id: str) -> bool:
    """Whether this inbound event has been taken in before."""
    row = tx.one(
        "SELECT event_id FROM inbound WHERE channel = :channel AND event_id = :id",
        channel=channel,
        id=event_id,
    )
    return row is not None


def taken_in(tx: Tx, channel: str, event_id: str) -> bool:
    """Record an inbound event; `False` where it was there already. Entries older than 30 days are dropped."""
    added = tx.execute(
        "INSERT INTO inbound (channel, event_id, received_at) VALUES (:channel, :id, :now) ON CONFLICT DO NOTHING",
        channel=channel,
        id=event_id,
        now=tx.now,
    )
    tx.execute("DELETE FROM inbound WHERE received_at < :limit", limit=tx.now - _REMEMBERED)
    return bool(added)


def is_paired(tx: Tx, channel: str, sender: str) -> bool:
    """Whether the owner has let this sender in."""
    row = tx.one(
        "SELECT sender FROM paired WHERE channel = :channel AND sender = :sender",
        channel=channel,
        sender=sender,
    )
    return row is not None


def homes(tx: Tx) -> dict[str, str]:
    """For each channel where the first person who paired is spoken to."""
    rows = tx.all("SELECT channel, conversation FROM paired ORDER BY since DESC")
    return {row["channel"]: row["conversation"] for row in rows}


def offer_code(tx: Tx, channel: str, sender: str, sender_name: str, conversation: str) -> str | None:
    """A fresh pairing code for a stranger; `None` where one is pending already, or three are on the channel."""
    tx.execute("DELETE FROM pairings WHERE expires_at <= :now", now=tx.now)
    pending = tx.all("SELECT sender FROM pairings WHERE channel = :channel", channel=channel)
    if len(pending) >= MOST_PENDING or any(row["sender"] == sender for row in pending):
        return None
    code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
    tx.execute(
        "INSERT INTO pairings (channel, sender, sender_name, conversation, code, expires_at)"
        " VALUES (:channel, :sender, :sender_name, :conversation, :code, :expires_at)",
        channel=channel,
        sender=sender,
        conversation=conversation,
        sender_name=sender_name[:100],
        code=code,
        expires_at=tx.now + CODE_LIFETIME,
    )
    return code


class Paired(msgspec.Struct, frozen=True):
    channel: str
    sender: str
    sender_name: str
    conversation: str


def pair(tx: Tx, code: str) -> Paired:
    """The owner lets the sender of a code in.

    Raises:
        NotFound: no such code is pending; it may be over an hour old.
    """
    row = tx.one(
        "DELETE FROM pairings WHERE code = :code AND expires_at > :now"
        " RETURNING channel, sender, sender_name, conversation",
        code=code.strip().upper(),
        now=tx.now,
    )
    if row is None:
        raise NotFound(
            "no such pairing code is pending", hint="codes last one hour; have the sender write again"
        )
    tx.execute(
        "INSERT INTO paired (channel, sender, sender_name, conversation, since)"
        " VALUES (:channel, :sender, :sender_name, :conversation, :now)"
        " ON CONFLICT (channel, sender) DO UPDATE SET sender_name = excluded.sender_name",
        now=tx.now,
        **row,
    )
    audit.append(
        tx, "channel.pair", actor="owner", detail={"channel": row["channel"], "sender": row["sender"]}
    )
    return Paired(**row)


def unpair(tx: Tx, channel: str, sender: str) -> bool:
    """Shut the door on a paired sender; whether there was one."""
    audit.append(tx, "channel.unpair", actor="owner", detail={"channel": channel, "sender": sender})
    return bool(
        tx.execute(
            "DELETE FROM paired WHERE channel = :channel AND sender = :sender", channel=channel, sender=sender
        )
    )


def waiting_to_pair(tx: Tx) -> list[dict[str, Any]]:
    """Who has asked to be let in; the codes themselves are not shown."""
    return [
        {**row, "expires_at": iso(row["expires_at"])}
        for row in tx.all(
            "SELECT channel, sender, sender_name, expires_at FROM pairings"
            " WHERE expires_at > :now ORDER BY expires_at",
            now=tx.now,
        )
    ]
