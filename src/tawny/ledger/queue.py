"""The queue: what may start next, in which order, and when something held becomes ready."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from tawny.clock import Instant
from tawny.domain.tasks import Task
from tawny.domain.windows import next_opening
from tawny.ledger.database import Row, Tx
from tawny.ledger.transitions import start, wake

_SCAN = 1000
# The first of its lane: nobody of the lane runs, and nobody before it waits for a start of its own.
_FIRST = (
    "(lane IS NULL OR NOT EXISTS (SELECT 1 FROM tasks AS other WHERE other.lane = tasks.lane"
    " AND other.status IN ('queued', 'running') AND other.task_id <> tasks.task_id"
    " AND (other.status = 'running' OR (other.task_id < tasks.task_id AND other.blocked_by = 0))))"
)


_NEXT_OWNER = (
    "SELECT owner FROM tasks WHERE status = 'queued' AND runnable = 1 AND detached = {detached}"
    " AND owner > :last ORDER BY owner LIMIT 1"
)
_NEXT_OWNERS = {detached: _NEXT_OWNER.format(detached=int(detached)) for detached in (False, True)}
_FIRST_OWNERS = f"SELECT ({_NEXT_OWNERS[False]}) AS attended, ({_NEXT_OWNERS[True]}) AS detached"


class Slots(msgspec.Struct, frozen=True):
    """How much may start now: free background and interactive places, and bounds per owner and class.

    `per_owner` and `per_class` count what runs in this process; fairness between owners counts what runs anywhere.
    While `held`, nothing starts in the background but what somebody sits and waits for.
    """

    background: int
    interactive: int
    per_owner: int
    per_class: dict[str, int] = {}
    low: bool = True
    held: bool = False
    zone: str = "UTC"
    only: tuple[str, ...] = ()


class _Running(msgspec.Struct):
    """What runs: by owner on all machines, and by owner and by class in this process."""

    anywhere: Counter[str]
    here: Counter[str]
    classes: Counter[str]


def claim(tx: Tx, slots: Slots, *, worker: str, lease_until: Instant) -> list[Task]:
    """Claim what may start: fair between owners, by rank within one, in strict order within a lane.

    What still follows others takes no place in its lane: those could be waiting for somebody behind it, for ever.
    """
    first = tx.one(_FIRST_OWNERS, last="")
    assert first is not None
    chosen: list[tuple[str, int]] = []
    if first["attended"] is not None and slots.interactive > 0:
        chosen += _choose(tx, slots, slots.interactive, first["attended"], detached=False, worker=worker)
    if first["detached"] is not None and slots.background > 0:
        chosen += _choose(tx, slots, slots.background, first["detached"], detached=True, worker=worker)
    return start(tx, chosen, worker=worker, lease_until=lease_until) if chosen else []


def _choose(
    tx: Tx, slots: Slots, free: int, first_owner: str, *, detached: bool, worker: str
) -> list[tuple[str, int]]:
    """What of one sort may start, by id and attempt."""
    running = _running(tx, worker, detached=detached)
    full = [name for name, most in slots.per_class.items() if detached and running.classes[name] >= most]
    queues = {
        owner: _candidates(tx, owner, slots, full, detached=detached)
        for owner in _owners(tx, first_owner, detached=detached)
    }
    chosen: dict[str, int] = {}
    lanes: set[str] = set()
    while len(chosen) < free and queues:
        # The owner with the fewest running comes first; between equals, the longest waiting task.
        owner = min(
            queues,
            key=lambda name: (running.anywhere[name], queues[name][0]["queue_rank"] if queues[name] else 0),
        )
        if not queues[owner] or (detached and running.here[owner] >= slots.per_owner):
            del queues[owner]
            continue
        row = queues[owner].pop(0)
        if row["lane"] in lanes or not _may_start(tx, row, slots):
            continue
        if detached and running.classes[row["priority"]] >= slots.per_class.get(row["priority"], _SCAN):
            continue
        if row["lane"] is not None:
            lanes.add(row["lane"])
        chosen[row["task_id"]] = row["attempt"]
        running.anywhere[owner] += 1
        running.here[owner] += 1
        running.classes[row["priority"]] += 1
    return list(chosen.items())


def _owners(tx: Tx, first: str, *, detached: bool) -> list[str]:
    """The owners who have something runnable, from the first on: one index seek each."""
    owners = [first]
    while (row := tx.one(_NEXT_OWNERS[detached], last=owners[-1])) is not None:
        owners.append(row["owner"])
    return owners


def _candidates(tx: Tx, owner: str, slots: Slots, full: Sequence[str], *, detached: bool) -> list[Row]:
    """What may start, first come: nothing that its lane, kind or class holds back, as it would hide what is behind."""
    low = "" if slots.low else " AND (priority NOT IN ('low', 'idle') OR queue_rank <= :now)"
    if detached and slots.held:
        low += " AND priority = 'interactive'"
    kinds = {f"kind{n}": kind for n, kind in enumerate(slots.only)}
    only = f" AND kind IN ({', '.join(f':{name}' for name in kinds)})" if kinds else ""
    classes = {f"class{n}": name for n, name in enumerate(full)}
    held = f" AND priority NOT IN ({', '.join(f':{name}' for name in classes)})" if classes else ""
    return list(
        tx.all(
            "SELECT task_id, attempt, lane, priority, queue_rank, time_window, deadline FROM tasks"
            f" WHERE status = 'queued' AND runnable = 1 AND detached = {int(detached)} AND owner = :owner"
            f"{low}{only}{held} AND {_FIRST} ORDER BY queue_rank, task_id LIMIT :limit",
            owner=owner,
            limit=min(_SCAN, 2 * (slots.background if detached else slots.interactive) + 50),
            **({} if slots.low else {"now": tx.now}),
            **kinds,
            **classes,
        )
    )


def _may_start(tx: Tx, row: Row, slots: Slots) -> bool:
    if row["time_window"] is not None and (row["deadline"] is None or row["deadline"] > tx.now):
        opening = next_opening(row["time_window"], zone=slots.zone, now=tx.now)
        if opening > tx.now:
            opening = min(opening, row["deadline"] or opening)
            tx.execute(
                "UPDATE tasks SET runnable = 0, ready_at = :opening WHERE task_id = :task_id",
                opening=opening,
                task_id=row["task_id"],
            )
            tx.wake("timers")
            return False
    return True


def _running(tx: Tx, worker: str, *, detached: bool) -> _Running:
    running = _Running(Counter(), Counter(), Counter())
    for row in tx.all(
        "SELECT owner, priority, COUNT(*) AS n, SUM(CASE WHEN lease_owner = :worker THEN 1 ELSE 0 END) AS here"
        f" FROM tasks WHERE status = 'running' AND detached = {int(detached)} GROUP BY owner, priority",
        worker=worker,
    ):
        running.anywhere[row["owner"]] += int(row["n"])
        running.here[row["owner"]] += int(row["here"])
        running.classes[row["priority"]] += int(row["here"])
    return running


def has_runnable(tx: Tx) -> bool:
    """Whether anything waits for a free place only."""
    return tx.one("SELECT 1 AS one FROM tasks WHERE status = 'queued' AND runnable = 1 LIMIT 1") is not None


def release_due(tx: Tx) -> int:
    """Make held tasks runnable whose time has come, and wake waits whose time is up; how many."""
    released = tx.execute(
        "UPDATE tasks SET runnable = 1, next_attempt_at = NULL WHERE status = 'queued' AND runnable = 0"
        " AND blocked_by = 0 AND ready_at <= :now",
        now=tx.now,
    )
    if released:
        tx.wake("queue")
    rows = tx.all(
        "SELECT task_id, waiting_for FROM tasks WHERE status = 'waiting' AND wake_at <= :now LIMIT 1000",
        now=tx.now,
    )
    for row in rows:
        waiting = msgspec.json.decode(row["waiting_for"])
        released += wake(tx, row["task_id"], waiting["key"], None)
    return released


def next_due(tx: Tx) -> Instant | None:
    """When the next held task or timed wait is due."""
    held = tx.value(
        "SELECT ready_at FROM tasks WHERE status = 'queued' AND runnable = 0 AND blocked_by = 0"
        " AND ready_at IS NOT NULL ORDER BY ready_at LIMIT 1"
    )
    waits = tx.value(
        "SELECT wake_at FROM tasks WHERE status = 'waiting' AND wake_at IS NOT NULL ORDER BY wake_at LIMIT 1"
    )
    due = [instant for instant in (held, waits) if instant is not None]
    return min(due) if due else None


def intents(tx: Tx, worker: str) -> dict[str, tuple[int, str]]:
    """What is wanted of a worker's running tasks: task id → (attempt, intent)."""
    rows = tx.all(
        "SELECT task_id, attempt, intent FROM tasks WHERE status = 'running' AND lease_owner = :worker"
        " AND intent IS NOT NULL",
        worker=worker,
    )
    return {row["task_id"]: (row["attempt"], row["intent"]) for row in rows}


def position(tx: Tx, task: Task) -> int:
    """How many runnable tasks of the same owner stand before this one."""
    return int(
        tx.value(
            "SELECT COUNT(*) AS n FROM tasks AS other, tasks AS own WHERE own.task_id = :task_id"
            " AND other.status = 'queued' AND other.runnable = 1 AND other.detached = own.detached"
            " AND other.owner = own.owner"
            " AND other.queue_rank < own.queue_rank",
            task_id=task.task_id,
        )
    )
