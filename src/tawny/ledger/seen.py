"""What the person has seen, the same on every device: a task, an approval, a session up to a message."""

from collections.abc import Sequence

from tawny.clock import Instant
from tawny.ledger import events
from tawny.ledger.database import Tx


def mark(tx: Tx, items: Sequence[str]) -> list[str]:
    """Mark items (`task_…`, `session:main`) as seen now, and tell all devices; those that were not seen before."""
    fresh = [item for item in dict.fromkeys(items) if _mark(tx, item)]
    if fresh:
        events.append(tx, "system.seen", {"items": fresh})
    return fresh


def _mark(tx: Tx, item: str) -> bool:
    known = tx.one("SELECT seen_at FROM seen WHERE item = :item", item=item)
    tx.execute(
        "INSERT INTO seen (item, seen_at) VALUES (:item, :now)"
        " ON CONFLICT (item) DO UPDATE SET seen_at = excluded.seen_at",
        item=item,
        now=tx.now,
    )
    return known is None or ":" in item


def since(tx: Tx, instant: Instant, *, limit: int = 500) -> list[tuple[str, Instant]]:
    """What was seen since, newest first."""
    rows = tx.all(
        "SELECT item, seen_at FROM seen WHERE seen_at >= :since ORDER BY seen_at DESC, item LIMIT :limit",
        since=instant,
        limit=limit,
    )
    return [(row["item"], row["seen_at"]) for row in rows]


def forget(tx: Tx, *, before: Instant) -> int:
    """Drop what was seen before that instant; how many."""
    return tx.execute("DELETE FROM seen WHERE seen_at < :before", before=before)
