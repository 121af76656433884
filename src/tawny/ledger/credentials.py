"""Who may speak to the gateway: named tokens, signed-in browsers, paired devices. Secrets are kept as hashes."""

import hashlib
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.errors import NotFound
from tawny.ids import new_id, secret_token
from tawny.ledger import audit
from tawny.ledger.database import Row, Tx

TOKEN, BROWSER, DEVICE = "token", "browser", "device"
_PREFIX = {TOKEN: "tok", BROWSER: "dev", DEVICE: "dev"}
_COLUMNS = (
    "credential_id, kind, name, hash, public_key, role, scopes, granted_by,"
    " created_at, expires_at, last_seen_at, revoked_at"
)


class Credential(msgspec.Struct, frozen=True):
    """What the server has granted to one holder of a secret. `hash` is the secret's SHA-256."""

    credential_id: str
    kind: str
    name: str
    hash: str
    public_key: str | None
    role: str
    scopes: frozenset[str]
    granted_by: str | None
    created_at: Instant
    expires_at: Instant | None
    last_seen_at: Instant | None
    revoked_at: Instant | None

    def document(self) -> dict[str, Any]:
        """As on the wire, without the secret."""
        return {
            "id": self.credential_id,
            "kind": self.kind,
            "name": self.name,
            "role": self.role,
            "scopes": sorted(self.scopes),
            "created_at": iso(self.created_at),
            "expires_at": None if self.expires_at is None else iso(self.expires_at),
            "last_seen": None if self.last_seen_at is None else iso(self.last_seen_at),
            "revoked": self.revoked_at is not None,
        }


def digest(secret: str) -> str:
    """The SHA-256 of a secret. Secrets are 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(
    tx: Tx,
    kind: str,
    *,
    name: str,
    role: str,
    scopes: frozenset[str],
    actor: str,
    public_key: str | None = None,
    granted_by: str | None = None,
    expires_at: Instant | None = None,
) -> tuple[Credential, str]:
    """A new credential and its secret, which is told this once."""
    secret = secret_token()
    credential = Credential(
        credential_id=new_id(_PREFIX[kind], tx.now),
        kind=kind,
        name=name,
        hash=digest(secret),
        public_key=public_key,
        role=role,
        scopes=scopes,
        granted_by=granted_by,
        created_at=tx.now,
        expires_at=expires_at,
        last_seen_at=tx.now,
        revoked_at=None,
    )
    fields = msgspec.structs.asdict(credential) | {"scopes": " ".join(sorted(scopes))}
    tx.execute(
        f"INSERT INTO credentials ({_COLUMNS}) VALUES (:credential_id, :kind, :name, :hash, :public_key, :role,"
        " :scopes, :granted_by, :created_at, :expires_at, :last_seen_at, :revoked_at)",
        **fields,
    )
    audit.append(
        tx,
        "credential.create",
        actor=actor,
        detail={"id": credential.credential_id, "kind": kind, "name": name, "scopes": sorted(scopes)},
    )
    tx.wake("credentials")
    return credential, secret


def revoke(tx: Tx, credential_id: str, *, actor: str) -> None:
    """End a credential; open connections of it are closed at once. Ending it twice changes nothing.

    Raises:
        NotFound: there is none of that id.
    """
    if tx.value("SELECT 1 FROM credentials WHERE credential_id = :id", id=credential_id) is None:
        raise NotFound(
            f"there is no device or token {credential_id!r}", hint="'tawny gateway devices' lists them"
        )
    changed = tx.execute(
        "UPDATE credentials SET revoked_at = :now WHERE credential_id = :id AND revoked_at IS NULL",
        now=tx.now,
        id=credential_id,
    )
    if changed:
        tx.execute("DELETE FROM push_subscriptions WHERE credential_id = :id", id=credential_id)
        audit.append(tx, "credential.revoke", actor=actor, detail={"id": credential_id})
        tx.wake("credentials")


def get(tx: Tx, credential_id: str) -> Credential:
    """The credential of that id.

    Raises:
        NotFound: there is none.
    """
    row = tx.one(f"SELECT {_COLUMNS} FROM credentials WHERE credential_id = :id", id=credential_id)
    if row is None:
        raise NotFound(
            f"there is no device or token {credential_id!r}", hint="'tawny gateway devices' lists them"
        )
    return _credential(row)


def everything(tx: Tx, *, kinds: tuple[str, ...] = (TOKEN, BROWSER, DEVICE)) -> list[Credential]:
    """All credentials of these kinds, ended ones too, newest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM credentials ORDER BY credential_id DESC")
    return [_credential(row) for row in rows if row["kind"] in kinds]


def valid(tx: Tx) -> list[Credential]:
    """What may be used now."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM credentials"
        " WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)",
        now=tx.now,
    )
    return [_credential(row) for row in rows]


def touch(tx: Tx, credential_id: str) -> None:
    """Note that it was used."""
    tx.execute(
        "UPDATE credentials SET last_seen_at = :now WHERE credential_id = :id", now=tx.now, id=credential_id
    )


def _credential(row: Row) -> Credential:
    fields: dict[str, Any] = {**row, "scopes": frozenset(row["scopes"].split())}
    return Credential(**fields)
