"""The journal: one record a step, by explicit key and the hash of its input, never by position."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.tasks import Json
from tawny.ledger.database import Tx
from tawny.ledger.tasks import SIXTEEN, in_sixteens, to_json

UNDONE = ".compensate"
"""What the key of a step ends with that undoes another."""
_OF_TASKS = f"SELECT * FROM steps WHERE task_id IN ({SIXTEEN}) ORDER BY task_id, ordinal, started_at"
_canonical = msgspec.json.Encoder(order="deterministic").encode


class Step(msgspec.Struct, frozen=True):
    """One journaled part of a task. `status` is running, succeeded, failed or uncertain."""

    key: str
    name: str
    ordinal: int
    input_hash: str
    effect: str
    status: str
    attempts: int
    started_at: Instant
    ended_at: Instant | None
    result: Json
    error: Json

    def document(self) -> dict[str, Any]:
        """The step as on the wire."""
        return {
            "key": self.key,
            "name": self.name,
            "status": self.status,
            "effect": self.effect,
            "attempts": self.attempts,
            "started_at": iso(self.started_at),
            "ended_at": None if self.ended_at is None else iso(self.ended_at),
            "result": self.result,
            "error": self.error,
        }


def input_hash(value: Json) -> str:
    """The hash by which a changed input is noticed."""
    return hashlib.sha256(_canonical(value)).hexdigest()[:32]


def _step(row: Mapping[str, Any]) -> Step:
    return Step(
        key=row["step_key"],
        name=row["name"],
        ordinal=row["ordinal"],
        input_hash=row["input_hash"],
        effect=row["effect"],
        status=row["status"],
        attempts=row["attempts"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        result=msgspec.json.decode(row["result"]) if row["result"] is not None else None,
        error=msgspec.json.decode(row["error"]) if row["error"] is not None else None,
    )


def of_task(tx: Tx, task_id: str) -> list[Step]:
    """All steps of a task, in the order in which they were begun."""
    rows = tx.all(
        "SELECT * FROM steps WHERE task_id = :task_id ORDER BY ordinal, started_at", task_id=task_id
    )
    return [_step(row) for row in rows]


def of_tasks(tx: Tx, task_ids: Sequence[str]) -> dict[str, list[Step]]:
    """All steps of several tasks, by task id; each in the order in which they were begun."""
    found: dict[str, list[Step]] = {task_id: [] for task_id in task_ids}
    for names in in_sixteens(task_ids):
        for row in tx.all(_OF_TASKS, **names):
            found[row["task_id"]].append(_step(row))
    return found


def get(tx: Tx, task_id: str, key: str) -> Step | None:
    """One step, `None` where it was never begun."""
    row = tx.one("SELECT * FROM steps WHERE task_id = :task_id AND step_key = :key", task_id=task_id, key=key)
    return None if row is None else _step(row)


def begin(
    tx: Tx,
    task_id: str,
    key: str,
    *,
    name: str,
    ordinal: int,
    hashed: str,
    effect: str,
    result: Json = None,
) -> None:
    """Write that the step is under way (for `at_most_once`, this is the intent), and what is known of it by now."""
    tx.execute(
        "INSERT INTO steps (task_id, step_key, ordinal, name, input_hash, effect, status, attempts, started_at,"
        " result)"
        " VALUES (:task_id, :key, :ordinal, :name, :hash, :effect, 'running', 1, :now, :result)"
        " ON CONFLICT (task_id, step_key) DO UPDATE SET status = 'running', attempts = steps.attempts + 1,"
        " input_hash = excluded.input_hash, started_at = excluded.started_at, ended_at = NULL, error = NULL,"
        " result = excluded.result",
        task_id=task_id,
        key=key,
        ordinal=ordinal,
        name=name or key,
        hash=hashed,
        effect=effect,
        now=tx.now,
        result=None if result is None else to_json(result),
    )


def end(
    tx: Tx,
    task_id: str,
    key: str,
    *,
    name: str,
    ordinal: int,
    hashed: str,
    effect: str,
    status: str,
    started_at: Instant,
    result: Json = None,
    error: Json = None,
) -> None:
    """Write how the step ended."""
    tx.execute(
        "INSERT INTO steps (task_id, step_key, ordinal, name, input_hash, effect, status, attempts, started_at,"
        " ended_at, result, error)"
        " VALUES (:task_id, :key, :ordinal, :name, :hash, :effect, :status, 1, :started, :now, :result, :error)"
        " ON CONFLICT (task_id, step_key) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at,"
        " result = excluded.result, error = excluded.error,"
        " attempts = steps.attempts + CASE WHEN steps.status = 'running' THEN 0 ELSE 1 END",
        task_id=task_id,
        key=key,
        ordinal=ordinal,
        name=name or key,
        hash=hashed,
        effect=effect,
        status=status,
        started=started_at,
        now=tx.now,
        result=to_json(result),
        error=None if error is None else to_json(error),
    )


def settle(tx: Tx, task_id: str, key: str, *, status: str, result: Json = None, error: Json = None) -> bool:
    """Set the outcome of a step that stands as running or uncertain; whether there was one."""
    return bool(
        tx.execute(
            "UPDATE steps SET status = :status, ended_at = :now, result = :result, error = :error"
            " WHERE task_id = :task_id AND step_key = :key AND status IN ('running', 'uncertain')",
            task_id=task_id,
            key=key,
            status=status,
            now=tx.now,
            result=to_json(result),
            error=None if error is None else to_json(error),
        )
    )


def forget(tx: Tx, task_id: str, key: str) -> None:
    """Drop a step's record, so that it runs again."""
    tx.execute("DELETE FROM steps WHERE task_id = :task_id AND step_key = :key", task_id=task_id, key=key)


def uncertain(tx: Tx, task_id: str) -> list[Step]:
    """Steps whose at-most-once effect was begun by an execution that is gone: nobody knows whether it happened."""
    rows = tx.all(
        "SELECT * FROM steps WHERE task_id = :task_id AND effect = 'at_most_once'"
        " AND status IN ('running', 'uncertain') ORDER BY ordinal",
        task_id=task_id,
    )
    return [_step(row) for row in rows]


def undone(tx: Tx, task_id: str) -> set[str]:
    """The keys of the steps that something else has undone, or has tried to."""
    return {step.key.removesuffix(UNDONE) for step in of_task(tx, task_id) if step.key.endswith(UNDONE)}


def inherit(tx: Tx, before: str, after: str, *, undone: set[str]) -> list[str]:
    """Copy the finished steps of a task to the one that does its work again; other waits begin anew.

    Children that have all succeeded stand for their step; others are named there, so that whoever asks for them again
    goes on with what they have done. What is `undone` is not copied. Copied are also the at-most-once steps that were
    cut off; their keys are returned, as only a person can say what became of them.
    """
    doubtful = uncertain(tx, before)
    for step in doubtful:
        begin(
            tx,
            after,
            step.key,
            name=step.name,
            ordinal=step.ordinal,
            hashed=step.input_hash,
            effect=step.effect,
        )
    tx.execute(
        "INSERT INTO steps (task_id, step_key, ordinal, name, input_hash, effect, status, attempts, started_at,"
        " ended_at, result, error)"
        " SELECT :after, step_key, ordinal, name, input_hash, effect, status, attempts, started_at, ended_at,"
        " result, error FROM steps WHERE task_id = :before AND status = 'succeeded' AND name NOT LIKE 'wait: %'"
        " ON CONFLICT (task_id, step_key) DO NOTHING",
        before=before,
        after=after,
    )
    for step in of_task(tx, before):
        if step.name == "wait: child" and step.key not in undone and not step.key.endswith(UNDONE):
            is_whole = step.status == "succeeded" and not undone and _have_succeeded(tx, step.result)
            _copy(tx, step, after, "succeeded" if is_whole else "failed")
    return [step.key for step in doubtful]


def _have_succeeded(tx: Tx, result: Json) -> bool:
    """Whether nothing has failed: of the children of a step by their ids, of those of many items by their numbers."""
    if isinstance(result, dict):
        return list(cast("dict[str, int]", result)) == ["succeeded"]
    return all(
        tx.value("SELECT status FROM tasks WHERE task_id = :id", id=child) == "succeeded"
        for child in cast("list[str]", result)
    )


def _copy(tx: Tx, step: Step, task_id: str, status: str) -> None:
    end(
        tx,
        task_id,
        step.key,
        name=step.name,
        ordinal=step.ordinal,
        hashed=step.input_hash,
        effect=step.effect,
        status=status,
        started_at=step.started_at,
        result=step.result,
    )
