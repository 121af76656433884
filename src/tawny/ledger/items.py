"""The items of a task that works through many."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tawny.clock import Instant
from tawny.domain.tasks import Failure, Json
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import to_json


class Item(msgspec.Struct, frozen=True):
    """One item; `status` is pending, running, succeeded or failed, `n` counts from 0.

    Where each item is a child of its own, `result` is the child's id; of a pending one, of who did it before.
    """

    n: int
    item: Json
    status: str
    attempts: int
    result: Json
    error: Json
    ended_at: Instant | None

    def document(self) -> dict[str, Any]:
        """The item as in reports."""
        return {
            "n": self.n,
            "item": self.item,
            "status": self.status,
            "result": self.result,
            "error": self.error,
        }


def seed(tx: Tx, task_id: str, key: str, start: int, items: Sequence[Json]) -> None:
    """Write items from number `start` on; those that are there already stay."""
    tx.execute_many(
        "INSERT INTO items (task_id, map_key, n, item, status) VALUES (:task_id, :key, :n, :item, 'pending')"
        " ON CONFLICT (task_id, map_key, n) DO NOTHING",
        [
            {"task_id": task_id, "key": key, "n": start + offset, "item": to_json(item)}
            for offset, item in enumerate(items)
        ],
    )


def pending(tx: Tx, task_id: str, key: str, *, after: int, limit: int = 200) -> list[Item]:
    """The next unfinished items after number `after`."""
    rows = tx.all(
        "SELECT * FROM items WHERE task_id = :task_id AND map_key = :key AND status = 'pending' AND n > :after"
        " ORDER BY n LIMIT :limit",
        task_id=task_id,
        key=key,
        after=after,
        limit=limit,
    )
    return [_item(row) for row in rows]


def settle(
    tx: Tx, task_id: str, key: str, n: int, *, status: str, result: Json = None, error: Failure | None = None
) -> None:
    """Write how an item ended; it ends once."""
    tx.execute(
        "UPDATE items SET status = :status, result = :result, error = :error, ended_at = :now,"
        " attempts = attempts + 1 WHERE task_id = :task_id AND map_key = :key AND n = :n AND status = 'pending'",
        status=status,
        result=to_json(result),
        error=None if error is None else to_json(error),
        now=tx.now,
        task_id=task_id,
        key=key,
        n=n,
    )


def tried(tx: Tx, task_id: str, key: str, n: int) -> None:
    """Count a failed attempt at an item that is tried again."""
    tx.execute(
        "UPDATE items SET attempts = attempts + 1 WHERE task_id = :task_id AND map_key = :key AND n = :n",
        task_id=task_id,
        key=key,
        n=n,
    )


def counts(tx: Tx, task_id: str, key: str) -> dict[str, int]:
    """How many items there are, by status."""
    rows = tx.all(
        "SELECT status, COUNT(*) AS n FROM items WHERE task_id = :task_id AND map_key = :key GROUP BY status",
        task_id=task_id,
        key=key,
    )
    return {row["status"]: int(row["n"]) for row in rows}


def failures(tx: Tx, task_id: str, key: str, *, most: int) -> int:
    """How many items have failed, counted no further than `most`."""
    return int(
        tx.value(
            "SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM items WHERE task_id = :task_id AND map_key = :key"
            " AND status = 'failed' LIMIT :most) AS broken",
            task_id=task_id,
            key=key,
            most=most,
        )
    )


def page(tx: Tx, task_id: str, key: str, *, status: str, after: int = -1, limit: int = 500) -> list[Item]:
    """Items of one status, in order of their numbers."""
    rows = tx.all(
        "SELECT * FROM items WHERE task_id = :task_id AND map_key = :key AND status = :status AND n > :after"
        " ORDER BY n LIMIT :limit",
        task_id=task_id,
        key=key,
        status=status,
        after=after,
        limit=limit,
    )
    return [_item(row) for row in rows]


def under_way(tx: Tx, task_id: str, key: str) -> list[tuple[int, str]]:
    """The items whose children have been started and not been looked at since: their numbers, and the children."""
    rows = tx.all(
        "SELECT n, result FROM items WHERE task_id = :task_id AND map_key = :key AND status = 'running' ORDER BY n",
        task_id=task_id,
        key=key,
    )
    return [(row["n"], msgspec.json.decode(row["result"], type=str)) for row in rows]


def begin_child(tx: Tx, task_id: str, key: str, n: int, child: str) -> None:
    """Write that a child has been started for an item."""
    _set_child(
        tx, task_id, key, n, {"child": to_json(child), "status": "running", "ended_at": None, "begun": 1}
    )


def settle_child(tx: Tx, task_id: str, key: str, n: int, *, child: str, status: str) -> None:
    """Write how an item's child has ended."""
    _set_child(
        tx, task_id, key, n, {"child": to_json(child), "status": status, "ended_at": tx.now, "begun": 0}
    )


def _set_child(tx: Tx, task_id: str, key: str, n: int, values: dict[str, Any]) -> None:
    tx.execute(
        "UPDATE items SET status = :status, result = :child, ended_at = :ended_at,"
        " attempts = attempts + :begun WHERE task_id = :task_id AND map_key = :key AND n = :n",
        task_id=task_id,
        key=key,
        n=n,
        **values,
    )


def children(tx: Tx, task_id: str, key: str) -> list[str | None]:
    """The child of each item, in order; `None` for one that was never started."""
    rows = tx.all(
        "SELECT status, result FROM items WHERE task_id = :task_id AND map_key = :key ORDER BY n",
        task_id=task_id,
        key=key,
    )
    return [
        None if row["status"] == "pending" else msgspec.json.decode(row["result"], type=str) for row in rows
    ]


def forget(tx: Tx, task_id: str, key: str) -> None:
    """Drop all items under a key: they are others now."""
    tx.execute("DELETE FROM items WHERE task_id = :task_id AND map_key = :key", task_id=task_id, key=key)


def inherit(tx: Tx, before: str, after: str, *, without: set[str]) -> None:
    """Copy the items of a task to the one that does its work again: finished ones stay so, the rest is tried anew.

    Those under the keys `without` are not.
    """
    finished = "status = 'succeeded'"
    tx.execute(
        "INSERT INTO items (task_id, map_key, n, item, status, attempts, result, ended_at)"
        f" SELECT :after, map_key, n, item, CASE WHEN {finished} THEN status ELSE 'pending' END,"
        f" CASE WHEN {finished} THEN attempts ELSE 0 END, result, CASE WHEN {finished} THEN ended_at END"
        " FROM items WHERE task_id = :before ON CONFLICT (task_id, map_key, n) DO NOTHING",
        before=before,
        after=after,
    )
    for key in without:
        forget(tx, after, key)


def _item(row: Row) -> Item:
    return Item(
        n=row["n"],
        item=msgspec.json.decode(row["item"]),
        status=row["status"],
        attempts=row["attempts"],
        result=None if row["result"] is None else msgspec.json.decode(row["result"]),
        error=None if row["error"] is None else msgspec.json.decode(row["error"]),
        ended_at=row["ended_at"],
    )
