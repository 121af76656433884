"""Codes that let one device in: short, used once, for ten minutes."""

import os

import msgspec

from tawny.clock import MINUTE, Instant
from tawny.ids import new_id
from tawny.ledger import audit
from tawny.ledger.credentials import digest
from tawny.ledger.database import Tx

LASTS = 10 * MINUTE
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 12  # 60 bits, behind ten tries a minute


class Offer(msgspec.Struct, frozen=True):
    """What a code grants."""

    pairing_id: str
    name: str
    role: str
    scopes: frozenset[str]
    granted_by: str | None


def offer(
    tx: Tx, *, name: str, role: str, scopes: frozenset[str], granted_by: str | None, actor: str
) -> tuple[str, Instant]:
    """A new code (`ABCD-EFGH-JKMN`) and when it ends; only its hash is kept."""
    raw = int.from_bytes(os.urandom(8), "big")
    letters = "".join(_ALPHABET[(raw >> (5 * place)) & 31] for place in range(_LENGTH))
    pairing_id = new_id("pair", tx.now)
    tx.execute("DELETE FROM device_codes WHERE expires_at < :now", now=tx.now)
    tx.execute(
        "INSERT INTO device_codes (pairing_id, code_hash, name, role, scopes, granted_by, created_at, expires_at)"
        " VALUES (:id, :hash, :name, :role, :scopes, :granted_by, :now, :expires_at)",
        id=pairing_id,
        hash=digest(letters),
        name=name,
        role=role,
        scopes=" ".join(sorted(scopes)),
        granted_by=granted_by,
        now=tx.now,
        expires_at=tx.now + LASTS,
    )
    audit.append(
        tx, "pairing.offer", actor=actor, detail={"id": pairing_id, "role": role, "scopes": sorted(scopes)}
    )
    return f"{letters[:4]}-{letters[4:8]}-{letters[8:]}", tx.now + LASTS


def take(tx: Tx, code: str) -> Offer | None:
    """Use a code up; `None` where it is wrong, used or too old. Case and dashes do not matter."""
    plain = (
        code.upper().replace("-", "").replace(" ", "").replace("O", "0").replace("I", "1").replace("L", "1")
    )
    rows = tx.all(
        "UPDATE device_codes SET used_at = :now WHERE code_hash = :hash AND used_at IS NULL AND expires_at > :now"
        " RETURNING pairing_id, name, role, scopes, granted_by",
        now=tx.now,
        hash=digest(plain),
    )
    if not rows:
        return None
    row = rows[0]
    return Offer(
        row["pairing_id"], row["name"], row["role"], frozenset(row["scopes"].split()), row["granted_by"]
    )
