"""Requests that happen once: the answer to a key is stored in the transaction of what it did."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from tawny.clock import Instant
from tawny.errors import Conflict
from tawny.ledger.database import Tx

_encode = msgspec.json.Encoder(order="sorted").encode


class Answer(msgspec.Struct, frozen=True):
    """A status of HTTP and the document that went with it; `replayed` when it was given before."""

    status: int
    document: Any
    replayed: bool = False


def body_hash(body: Any) -> str:
    """The SHA-256 of a JSON value, the same for every order of keys and spacing."""
    return hashlib.sha256(_encode(body)).hexdigest()


def find(tx: Tx, scope: str, key: str, hashed: str) -> Answer | None:
    """The answer given before under this key, `None` where there is none.

    Raises:
        Conflict: the key was used with another body.
    """
    row = tx.one(
        "SELECT body_hash, status, response FROM idempotency WHERE scope = :scope AND key = :key",
        scope=scope,
        key=key,
    )
    if row is None:
        return None
    if row["body_hash"] != hashed:
        raise Conflict(
            "this Idempotency-Key was used with another body",
            hint="take a new key for a new request",
            code="idempotency_key_reused",
        )
    return Answer(int(row["status"]), msgspec.json.decode(row["response"]), replayed=True)


def remember(tx: Tx, scope: str, key: str, hashed: str, *, status: int, document: Any) -> None:
    """Store the answer; the first one stays."""
    tx.execute(
        "INSERT INTO idempotency (scope, key, body_hash, status, response, created_at)"
        " VALUES (:scope, :key, :hashed, :status, :response, :now) ON CONFLICT DO NOTHING",
        scope=scope,
        key=key,
        hashed=hashed,
        status=status,
        response=_encode(document).decode(),
        now=tx.now,
    )


def once(tx: Tx, scope: str, key: str, hashed: str, *, status: int, change: Callable[[Tx], Any]) -> Answer:
    """Do `change` and remember its answer, or give the answer it had.

    What `change` raises undoes everything and is not remembered: a refusal may be asked again.

    Raises:
        Conflict: the key was used with another body.
    """
    if (before := find(tx, scope, key, hashed)) is not None:
        return before
    document = change(tx)
    remember(tx, scope, key, hashed, status=status, document=document)
    return Answer(status, document)


def forget(tx: Tx, *, before: Instant) -> int:
    """Drop what was remembered before that instant; how many."""
    return tx.execute("DELETE FROM idempotency WHERE created_at < :before", before=before)
