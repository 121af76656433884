"""The children of a run: started anew, or taken over from the task whose work it does again."""

from collections.abc import Callable, Sequence

import msgspec

from tawny.domain.origin import of_child, with_keys_of
from tawny.domain.tasks import Json, Status, Submission, Task, WaitingFor
from tawny.ledger import items, steps, succession
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit
from tawny.ledger.tasks import several

Make = Callable[[Json, int], Submission]
"""What is to be done for an item, and for which number, from 0."""


def as_child(task: Task, wanted: Submission, *, awaited: bool) -> Submission:
    """A submission as a child's of this task."""
    return msgspec.structs.replace(
        wanted,
        parent_id=task.task_id,
        owner=task.owner,
        awaited=awaited,
        origin=of_child(task.origin, task.params, wanted.origin),
    )


def start(tx: Tx, task: Task, wanted: Submission, *, former: str | None = None) -> Task:
    """Start a child that its parent waits for.

    `former` did the work in the task whose work this one does again. Where it was the very same, what is finished of it
    is kept and what it may have done keeps its idempotency keys; other work begins at its beginning.
    """
    filled = as_child(task, wanted, awaited=False)
    before = None if former is None else several(tx, [former]).get(former)
    if before is not None and not _is_same(before, wanted):
        before = None
    if before is not None and before.status is Status.SUCCEEDED:
        return before
    if before is not None and not before.status.is_terminal:
        return succession.adopt(tx, before, task.task_id)
    if before is not None:
        filled = msgspec.structs.replace(filled, origin=with_keys_of(filled.origin, before))
    made = submit(tx, filled, actor=f"task:{task.task_id}", is_awaited=True)
    if before is not None and wanted.dedupe_key is None:
        return succession.take_over(tx, before, made)
    return made


def spread(
    tx: Tx, task: Task, key: str, make: Make, *, concurrency: int, max_failures: int | None
) -> WaitingFor | None:
    """Start as many of the items under `key` as may run; what is waited for then, `None` where all is done.

    Once more than `max_failures` have failed no further one is started, and those under way come to their end.
    """
    task_id = task.task_id
    under_way = items.under_way(tx, task_id, key)
    found = several(tx, [child for _, child in under_way])
    running: list[str] = []
    for n, child in under_way:
        if child in found and not found[child].status.is_terminal:
            running.append(child)
        else:
            items.settle_child(tx, task_id, key, n, child=child, status=_outcome(found.get(child)))
    failed = 0 if max_failures is None else items.failures(tx, task_id, key, most=max_failures + 1)
    while max_failures is None or failed <= max_failures:
        page = items.pending(tx, task_id, key, after=-1, limit=max(concurrency - len(running), 1))
        if not page or len(running) >= concurrency:
            is_more = bool(page)
            break
        for item in page:
            child = start(tx, task, make(item.item, item.n), former=item.result)
            if child.status.is_terminal:
                items.settle_child(tx, task_id, key, item.n, child=child.task_id, status=_outcome(child))
                failed += child.status is not Status.SUCCEEDED
            else:
                items.begin_child(tx, task_id, key, item.n, child.task_id)
                running.append(child.task_id)
    else:
        is_more = False
    if not running:
        return None
    # While items are left, the first of these that ends makes room for the next.
    return WaitingFor("child", key=key, detail={"children": list(running), "open": True, "any": is_more})


def hash_of(submissions: Sequence[Submission]) -> str:
    """The hash by which it is noticed that other children are asked for."""
    return steps.input_hash([[wanted.kind, wanted.params] for wanted in submissions])


def _is_same(before: Task, wanted: Submission) -> bool:
    return before.kind == wanted.kind and steps.input_hash(before.params) == steps.input_hash(wanted.params)


def _outcome(child: Task | None) -> str:
    return "succeeded" if child is not None and child.status is Status.SUCCEEDED else "failed"
