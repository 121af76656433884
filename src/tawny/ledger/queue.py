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
_MARGIN = 10
# The first of its lane: nobody of the lane runs, and nobody before it waits for a start of its own.
_FIRST = (
    "(lane IS NULL OR NOT EXISTS (SELECT 1 FROM tasks AS other WHERE other.lane = tasks.lane"
    " AND other.status IN ('queued', 'running') AND other.task_id <> tasks.task_id"
    " AND (other.status = 'running' OR (other.task_id < tasks.task_id AND other.blocked_by = 0))))"
)


_RUNNABLE = "SELECT {what} FROM tasks WHERE status = 'queued' AND runnable = 1"
_OWNER = _RUNNABLE.format(what="owner") + " AND detached = {detached}"
_NEXT_OWNERS = {
    detached: _OWNER.format(detached=int(detached)) + " AND owner > :last ORDER BY owner LIMIT 1"
    for detached in (False, True)
}
# The first and the last owner of each sort, and how much there is up to a bound: one look, which mostly is enough.
_AT_A_GLANCE = (
    "SELECT "
    + ", ".join(
        f"({_OWNER.format(detached=detached)} ORDER BY owner {order} LIMIT 1) AS {end}_{detached}"
        for detached in (0, 1)
        for end, order in (("first", "ASC"), ("last", "DESC"))
    )
    + f", (SELECT COUNT(*) FROM ({_RUNNABLE.format(what='1 AS one')} LIMIT :bound) AS few) AS runnable"
)


class Slots(msgspec.Struct, frozen=True):
    """How much may start now: free background and interactive places, and bounds per owner and class.

    `per_owner` and `per_class` count what runs in this process; fairness between owners counts what runs anywhere.
    `busy` is how much runs in the background of this process at most, where that is known.
    While `held`, nothing starts in the background but what somebody sits and waits for.
    """

    background: int
    interactive: int
    per_owner: int
    per_class: dict[str, int] = {}
    busy: int | None = None
    low: bool = True
    held: bool = False
    zone: str = "UTC"
    only: tuple[str, ...] = ()


class _Running(msgspec.Struct):
    """What runs: by owner on all machines, and by owner and by class in this process."""

    anywhere: Counter[str]
    here: Counter[str]
    classes: Counter[str]


def claim(tx: Tx, slots: Slots, *, worker: str, lease_until: Instant) -> tuple[list[Task], bool]:
    """Claim what may start: fair between owners, by rank within one, in strict order within a lane.

    Also says whether anything runnable is left. What still follows others takes no place in its lane: those could be
    waiting for somebody behind it, for ever.
    """
    # More than can be taken now, so that what is left shows.
    bound = max(slots.background, 0) + max(slots.interactive, 0) + _MARGIN
    glance = tx.one(_AT_A_GLANCE, bound=bound)
    assert glance is not None
    chosen: list[tuple[str, int]] = []
    held = 0
    for detached, free in ((False, slots.interactive), (True, slots.background)):
        first, last = glance[f"first_{int(detached)}"], glance[f"last_{int(detached)}"]
        if first is not None and free > 0:
            some, shut = _choose(tx, slots, free, (first, last), detached=detached, worker=worker)
            chosen += some
            held += shut
    is_left = glance["runnable"] == bound or glance["runnable"] > len(chosen) + held
    return (start(tx, chosen, worker=worker, lease_until=lease_until) if chosen else []), is_left


def _choose(
    tx: Tx, slots: Slots, free: int, ends: tuple[str, str], *, detached: bool, worker: str
) -> tuple[list[tuple[str, int]], int]:
    """What of one sort may start, by id and attempt; and how many were put off to the opening of their window."""
    running = _Running(Counter(), Counter(), Counter())
    if not _is_free_for_all(slots, ends, detached=detached):
        running = _running(tx, worker, detached=detached)
    full = [name for name, most in slots.per_class.items() if detached and running.classes[name] >= most]
    queues = {
        owner: _candidates(tx, owner, slots, full, detached=detached)
        for owner in _owners(tx, ends, detached=detached)
    }
    chosen: dict[str, int] = {}
    lanes: set[str] = set()
    held = 0
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
        if row["lane"] in lanes:
            continue
        if not _may_start(tx, row, slots):
            held += 1
            continue
        if detached and running.classes[row["priority"]] >= slots.per_class.get(row["priority"], _SCAN):
            continue
        if row["lane"] is not None:
            lanes.add(row["lane"])
        chosen[row["task_id"]] = row["attempt"]
        running.anywhere[owner] += 1
        running.here[owner] += 1
        running.classes[row["priority"]] += 1
    return list(chosen.items()), held


def _is_free_for_all(slots: Slots, ends: tuple[str, str], *, detached: bool) -> bool:
    """Whether what runs is no matter: nobody to share with, and no bound that could be reached."""
    if ends[0] != ends[1]:
        return False
    if not detached:
        return True
    return not slots.per_class and slots.busy is not None and slots.busy + slots.background <= slots.per_owner


def _owners(tx: Tx, ends: tuple[str, str], *, detached: bool) -> list[str]:
    """The owners who have something runnable, from the first to the last: one index seek each for those between."""
    owners = [ends[0]]
    while owners[-1] != ends[1] and (row := tx.one(_NEXT_OWNERS[detached], last=owners[-1])) is not None:
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
