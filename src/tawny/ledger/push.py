"""Where Web Push goes: the browsers that asked for it, our VAPID key, and how far the log has been told."""

import msgspec

from tawny.clock import Instant
from tawny.ledger.database import Tx

_KEY, _TOLD = "vapid_private_key", "push_told"
_MOST_FAILURES = 20


class Subscription(msgspec.Struct, frozen=True):
    """A browser's mailbox at its maker's push service; `p256dh` and `auth` are its keys, in URL-safe base64."""

    endpoint: str
    p256dh: str
    auth: str
    name: str
    credential_id: str | None
    created_at: Instant
    failures: int = 0
    language: str = "en"


def private_key(tx: Tx) -> str | None:
    """Our VAPID key, `None` where none was made yet."""
    return tx.value("SELECT value FROM meta WHERE name = :name", name=_KEY)


def keep_private_key(tx: Tx, key: str) -> str:
    """Keep a new key, unless there is one; the one that holds."""
    tx.execute(
        "INSERT INTO meta (name, value) VALUES (:name, :key) ON CONFLICT DO NOTHING", name=_KEY, key=key
    )
    return str(tx.value("SELECT value FROM meta WHERE name = :name", name=_KEY))


def subscribe(tx: Tx, subscription: Subscription) -> None:
    """Keep a mailbox; the same endpoint is replaced."""
    tx.execute("DELETE FROM push_subscriptions WHERE endpoint = :endpoint", endpoint=subscription.endpoint)
    tx.execute(
        "INSERT INTO push_subscriptions (endpoint, credential_id, name, p256dh, auth, created_at, language, failures)"
        " VALUES (:endpoint, :credential_id, :name, :p256dh, :auth, :created_at, :language, 0)",
        **{name: value for name, value in msgspec.structs.asdict(subscription).items() if name != "failures"},
    )
    tx.wake("push")


def unsubscribe(tx: Tx, endpoint: str) -> bool:
    """Drop a mailbox; whether there was one."""
    return bool(tx.execute("DELETE FROM push_subscriptions WHERE endpoint = :endpoint", endpoint=endpoint))


def subscriptions(tx: Tx) -> list[Subscription]:
    """All mailboxes, oldest first."""
    rows = tx.all("SELECT * FROM push_subscriptions ORDER BY created_at, endpoint")
    return [Subscription(**row) for row in rows]


def bind(tx: Tx, owner: str, bond: str) -> None:
    """Mailboxes that older builds kept for the owner, or for nobody they named, end with what `bond` stands for."""
    tx.execute(
        "UPDATE push_subscriptions SET credential_id = :bond WHERE credential_id = :owner OR credential_id IS NULL",
        owner=owner,
        bond=bond,
    )


def failed(tx: Tx, endpoint: str) -> None:
    """Nothing could be sent there; after twenty times in a row it is dropped."""
    tx.execute("UPDATE push_subscriptions SET failures = failures + 1 WHERE endpoint = :e", e=endpoint)
    tx.execute(
        "DELETE FROM push_subscriptions WHERE endpoint = :e AND failures >= :most",
        e=endpoint,
        most=_MOST_FAILURES,
    )


def arrived(tx: Tx, endpoint: str) -> None:
    tx.execute("UPDATE push_subscriptions SET failures = 0 WHERE endpoint = :e AND failures > 0", e=endpoint)


def told(tx: Tx) -> int | None:
    """The last event that was told, `None` before the first."""
    value = tx.value("SELECT value FROM meta WHERE name = :name", name=_TOLD)
    return None if value is None else int(value)


def tell(tx: Tx, seq: int) -> None:
    """The log has been told up to `seq`."""
    tx.execute(
        "INSERT INTO meta (name, value) VALUES (:name, :seq) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name=_TOLD,
        seq=str(seq),
    )
