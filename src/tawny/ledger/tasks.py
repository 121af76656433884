"""Reading tasks. What changes them is in `submission.py`, `transitions.py`, `endings.py` and `particulars.py`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from tawny.domain.tasks import (
    Budget,
    Delivery,
    Effect,
    Failure,
    Notify,
    Origin,
    Priority,
    Progress,
    Retry,
    Runtime,
    Status,
    Task,
    Usage,
    WaitingFor,
)
from tawny.errors import Conflict, InvalidInput, NotFound
from tawny.ledger.database import Row, Tx
from tawny.ledger.search import LOOKED_THROUGH, STRIDE, Search

T = TypeVar("T")
MAX_LIMIT = 500
ACTIVE = "('queued', 'running', 'waiting', 'paused')"
"""The statuses of what has not ended, as SQL."""
COLUMNS = (
    "task_id, kind, params, title, runtime, owner, session, status, attempt, execution_id, automation_id, parent_id,"
    " flow_id, priority, notify, detached, lane, timeout, retry, failures, crashes, not_before, time_window,"
    " deadline, next_attempt_at, effect, intent, waiting_for, progress, estimated_completion, created_at, started_at,"
    " ended_at, ran_for, result, error, verdict, delivery, delivery_status, usage, budget, origin, merged_into"
)
"""What `from_row` reads of a row of `tasks`, as SQL: four fifths of it."""

_MANY = 16
_ENDED = "ended "
"""What the counters of tasks that have ended are called, before the status."""
SIXTEEN = ", ".join(f":id{n}" for n in range(_MANY))
"""The names of `in_sixteens`, as SQL."""
_SEVERAL = f"SELECT {COLUMNS} FROM tasks WHERE task_id IN ({SIXTEEN})"
_GET = f"SELECT {COLUMNS} FROM tasks WHERE task_id = :task_id"
# Most tasks have the same few of these, and they are values: one look-up instead of a document read again.
_delivery = lru_cache(256)(msgspec.json.Decoder(Delivery).decode)
_origin = lru_cache(256)(msgspec.json.Decoder(Origin).decode)
_retry = lru_cache(256)(msgspec.json.Decoder(Retry).decode)
_usage = lru_cache(256)(msgspec.json.Decoder(Usage).decode)
_runtimes = {runtime.value: runtime for runtime in Runtime}
_statuses = {status.value: status for status in Status}
_priorities = {priority.value: priority for priority in Priority}
_policies = {policy.value: policy for policy in Notify}
_failure = msgspec.json.Decoder(Failure).decode
_progress = msgspec.json.Decoder(Progress).decode
_waiting = msgspec.json.Decoder(WaitingFor).decode
_budget = msgspec.json.Decoder(Budget).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


_FIELDS = frozenset(Task.__struct_fields__)
_WRITTEN: dict[str, Callable[[str], Any]] = {
    "result": _decode,
    "error": _failure,
    "progress": _progress,
    "waiting_for": _waiting,
}
"""The columns with a document in them that go with a change of status; each by what reads it."""


def to_json(value: Any) -> str:
    """A value as the JSON text of a column."""
    return _encode(value).decode()


def position(cursor: str | None) -> int:
    """Where a listing by number goes on: before everything there is where no cursor is given.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    if not cursor:
        return 2**62
    try:
        value = int(cursor) if len(cursor) < 20 else -1
    except ValueError:
        value = -1
    if not 0 <= value <= 2**62:
        raise InvalidInput(f"cursor: {cursor[:40]!r} is none", hint="take next_cursor of the page before")
    return value


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a listing; `next_cursor` is `None` on the last."""

    items: list[T]
    next_cursor: str | None = None


def from_row(row: Mapping[str, Any]) -> Task:
    """The task in a row of `tasks`."""
    return Task(
        task_id=row["task_id"],
        kind=row["kind"],
        params=_decode(row["params"]),
        title=row["title"],
        runtime=_runtimes[row["runtime"]],
        owner=row["owner"],
        session=row["session"],
        status=_statuses[row["status"]],
        attempt=row["attempt"],
        execution_id=row["execution_id"],
        automation_id=row["automation_id"],
        parent_id=row["parent_id"],
        flow_id=row["flow_id"],
        priority=_priorities[row["priority"]],
        notify=_policies[row["notify"]],
        detached=bool(row["detached"]),
        lane=row["lane"],
        timeout=row["timeout"],
        retry=_retry(row["retry"]),
        failures=row["failures"],
        crashes=row["crashes"],
        not_before=row["not_before"],
        window=row["time_window"],
        deadline=row["deadline"],
        next_attempt_at=row["next_attempt_at"],
        effect=Effect(row["effect"]) if row["effect"] else None,
        intent=row["intent"],
        waiting_for=_waiting(row["waiting_for"]) if row["waiting_for"] else None,
        progress=_progress(row["progress"]),
        estimated_completion=row["estimated_completion"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        ran_for=row["ran_for"],
        result=_decode(row["result"]) if row["result"] else None,
        error=_failure(row["error"]) if row["error"] else None,
        verdict=row["verdict"],
        delivery=_delivery(row["delivery"]),
        delivery_status=row["delivery_status"],
        usage=_usage(row["usage"]),
        budget=_budget(row["budget"]) if row["budget"] else None,
        origin=_origin(row["origin"]),
        merged_into=row["merged_into"],
    )


def changed(task: Task, to: Status, *, ran: int, columns: Mapping[str, Any]) -> Task:
    """The task with another status, after a run of `ran` microseconds, and with columns as they were written."""
    fields: dict[str, Any] = {}
    for name, value in columns.items():
        if (read := _WRITTEN.get(name)) is not None and value is not None:
            fields[name] = read(value)
        elif name in _FIELDS:
            fields[name] = value
    return msgspec.structs.replace(task, status=to, ran_for=task.ran_for + ran, **fields)


def get(tx: Tx, task_id: str) -> Task:
    """The task with this id.

    Raises:
        NotFound: there is none.
    """
    row = tx.one(_GET, task_id=task_id)
    if row is None:
        raise NotFound(f"there is no task {task_id!r}", hint="'tawny tasks list' shows what there is")
    return from_row(row)


def several(tx: Tx, task_ids: Sequence[str]) -> dict[str, Task]:
    """Those of these tasks that there are, by id."""
    found: dict[str, Task] = {}
    for names in in_sixteens(task_ids):
        found |= {row["task_id"]: from_row(row) for row in tx.all(_SEVERAL, **names)}
    return found


def in_sixteens(task_ids: Sequence[str]) -> Iterator[dict[str, str]]:
    """Parameters `id0` to `id15`: always as many, so that there is one statement, whatever the number of tasks."""
    for start in range(0, len(task_ids), _MANY):
        part = [*task_ids[start : start + _MANY], *[""] * _MANY][:_MANY]
        yield {f"id{n}": task_id for n, task_id in enumerate(part)}


def find(tx: Tx, lookup: str) -> Task:
    """The task meant by an id, a unique prefix of one (with or without `task_`), an execution, a title, or a session.

    Of a session's tasks it is the one under way, or else the newest.

    Raises:
        NotFound: nothing matches.
        Conflict: several match; the message names them.
    """
    row = tx.one("SELECT * FROM tasks WHERE task_id = :lookup", lookup=lookup)
    if row is not None:
        return from_row(row)
    prefix = lookup if lookup.startswith("task_") else f"task_{lookup}"
    rows = tx.all(
        "SELECT * FROM tasks WHERE task_id >= :low AND task_id < :high ORDER BY task_id DESC LIMIT 3",
        low=prefix,
        high=prefix + "~",
    ) or tx.all(
        "SELECT * FROM tasks WHERE task_id = (SELECT task_id FROM executions WHERE execution_id = :lookup)",
        lookup=lookup,
    )
    rows = (
        rows
        or tx.all("SELECT * FROM tasks WHERE title = :title ORDER BY task_id DESC LIMIT 3", title=lookup)
        or _of_session(tx, lookup)
    )
    if not rows:
        raise NotFound(f"there is no task {lookup!r}", hint="'tawny tasks list' shows what there is")
    if len(rows) > 1:
        names = ", ".join(row["task_id"] for row in rows)
        raise Conflict(f"{lookup!r} could be several tasks: {names}", hint="give more of the id")
    return from_row(rows[0])


def _of_session(tx: Tx, session: str) -> Sequence[Row]:
    of_it = "SELECT * FROM tasks WHERE session = :session AND detached = 1"
    return tx.all(f"{of_it} AND status IN {ACTIVE} ORDER BY task_id DESC LIMIT 3", session=session) or tx.all(
        f"{of_it} ORDER BY task_id DESC LIMIT 1", session=session
    )


def page(
    tx: Tx,
    *,
    status: str | None = None,
    runtime: str | None = None,
    owner: str | None = None,
    session: str | None = None,
    automation_id: str | None = None,
    parent_id: str | None = None,
    kind: str | None = None,
    q: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    detached_only: bool = True,
) -> Page[Task]:
    """Tasks, newest first; interactive turns are left out unless asked for. `q` are words, as `search.py` finds them.

    Raises:
        InvalidInput: a filter or the limit is none we know.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit: {limit} is not within 1 and {MAX_LIMIT}", hint="give a smaller limit")
    conditions = ["detached = 1"] if detached_only else ["1 = 1"]
    values: dict[str, Any] = {}
    statuses = [part.strip() for part in status.split(",")] if status else []
    if unknown := [name for name in statuses if name not in {*Status}]:
        raise InvalidInput(f"status: {unknown[0]!r} is none", hint=f"one of {', '.join(Status)}")
    if runtime and runtime not in {*Runtime}:
        raise InvalidInput(f"runtime: {runtime!r} is none", hint=f"one of {', '.join(Runtime)}")
    if statuses:
        names = {f"status{n}": name for n, name in enumerate(statuses)}
        conditions.append(f"status IN ({', '.join(f':{name}' for name in names)})")
        values |= names
    filters = {
        "runtime": runtime,
        "owner": owner,
        "session": session,
        "automation_id": automation_id,
        "parent_id": parent_id,
        "kind": kind,
    }
    for column, value in filters.items():
        if value is not None:
            conditions.append(f"{column} = :{column}")
            values[column] = value
    if q and (search := Search(q)):
        return _searched(tx, search, conditions, values, limit=limit, cursor=cursor)
    if cursor is not None:
        conditions.append("task_id < :cursor")
        values["cursor"] = cursor
    rows = tx.all(
        f"SELECT * FROM tasks WHERE {' AND '.join(conditions)} ORDER BY task_id DESC LIMIT :limit",
        limit=limit + 1,
        **values,
    )
    more = len(rows) > limit
    items = [from_row(row) for row in rows[:limit]]
    return Page(items, items[-1].task_id if more else None)


def _searched(
    tx: Tx,
    search: Search,
    conditions: list[str],
    values: Mapping[str, Any],
    *,
    limit: int,
    cursor: str | None,
) -> Page[Task]:
    """What a search finds, stride after stride, until the page is full or enough was looked through."""
    condition, words = search.condition()
    of_stride = f"{' AND '.join([*conditions, condition])} AND task_id < :cursor AND task_id >= :floor"
    found: list[Task] = []
    at = cursor if cursor is not None else "task_~"
    for _ in range(LOOKED_THROUGH // STRIDE):
        floor = tx.value(
            "SELECT task_id FROM tasks WHERE task_id < :cursor ORDER BY task_id DESC LIMIT 1 OFFSET :stride",
            cursor=at,
            stride=STRIDE - 1,
        )
        rows = tx.all(
            f"SELECT * FROM tasks WHERE {of_stride} ORDER BY task_id DESC LIMIT {MAX_LIMIT}",
            cursor=at,
            floor=floor or "",
            **words,
            **values,
        )
        found += [task for row in rows if search.finds(task := from_row(row))]
        if len(found) > limit:
            return Page(found[:limit], found[limit - 1].task_id)
        if len(rows) == MAX_LIMIT:
            at = rows[-1]["task_id"]
        elif floor is None:
            return Page(found)
        else:
            at = floor
    return Page(found, at)


def counts(tx: Tx) -> dict[str, int]:
    """How many detached tasks there are, by status: what has ended is counted as it ends, not here."""
    rows = tx.all(
        f"SELECT status, COUNT(*) AS n FROM tasks WHERE detached = 1 AND status IN {ACTIVE} GROUP BY status"
    )
    ended = tx.all("SELECT name, value FROM counters WHERE name LIKE 'ended %' AND value > 0")
    return {row["status"]: int(row["n"]) for row in rows} | {
        row["name"].removeprefix(_ENDED): int(row["value"]) for row in ended
    }


def tally(tx: Tx, status: str, n: int) -> None:
    """Count detached tasks that have ended so, or, with less than 0, are let go."""
    name = _ENDED + status
    tx.numbers.put(name, tx.numbers.take(name)[0] + n)


def logs(tx: Tx, task_id: str, *, limit: int = 1000) -> list[dict[str, Any]]:
    """The newest lines of a task's log, oldest first: `time` is an instant."""
    rows = tx.all(
        "SELECT n, time, level, message FROM task_logs WHERE task_id = :task_id ORDER BY n DESC LIMIT :limit",
        task_id=task_id,
        limit=limit,
    )
    return [dict(row) for row in reversed(rows)]


def executions(tx: Tx, task_id: str) -> list[dict[str, Any]]:
    """The executions of a task, in order of their attempts."""
    return [
        dict(row)
        for row in tx.all(
            "SELECT * FROM executions WHERE task_id = :task_id ORDER BY attempt", task_id=task_id
        )
    ]


def children(tx: Tx, task_id: str) -> list[Task]:
    """The children of a task, oldest first."""
    rows = tx.all("SELECT * FROM tasks WHERE parent_id = :task_id ORDER BY task_id", task_id=task_id)
    return [from_row(row) for row in rows]


def owed(tx: Tx) -> int:
    """How many messages are still to be sent."""
    return int(tx.value("SELECT COUNT(*) AS n FROM outbox WHERE status IN ('pending', 'sending')"))
