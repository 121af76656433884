"""A batch of twenty thousand items over five kills: each item finished once, and memory flat."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.team.conftest import CLOCK, Lone, Process, Sink, until
from tests.team.till import install

from tawny.domain.tasks import Status
from tawny.ledger import items, tasks
from tawny.ledger.database import read_now

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
ITEMS, KILLS, AT_ONCE = 20_000, 5, 32
MEGABYTE = 1024 * 1024


@pytest.fixture
def lone(tmp_path: Path, sink: Sink) -> Iterator[Lone]:
    with contextlib.closing(Lone(tmp_path / "lone", install(tmp_path / "plugins"), sink)) as made:
        yield made


def memory(gateway: Process) -> float:
    return psutil.Process(gateway.popen.pid).memory_info().rss / MEGABYTE


def test_twenty_thousand_items_and_five_kills(lone: Lone, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    gateway = lone.start().ready()
    action = {"kind": "tick", "params": {"book": str(book), "n": "{item}"}}
    params = {"items": list(range(ITEMS)), "action": action, "concurrency": AT_ONCE}
    task_id = lone.submit(gateway, "batch", params)

    def done() -> int:
        return read_now(lone.store, CLOCK, lambda tx: items.counts(tx, task_id, "items")).get("succeeded", 0)

    early = 0.0
    for kill in range(KILLS):
        goal = (kill + 1) * ITEMS // (KILLS + 2)
        until(lambda goal=goal: done() >= goal, f"{goal} items done", seconds=200)
        if not early:
            early = memory(gateway)
        gateway.kill()
        gateway = lone.start().ready()
    begun = done()
    until(lambda: done() >= begun + 500, "the last life at work", seconds=200)
    first = memory(gateway)
    until(lambda: done() >= ITEMS - 500, "nearly all done", seconds=200)
    last = memory(gateway)
    until(
        lambda: read_now(lone.store, CLOCK, lambda tx: tasks.get(tx, task_id)).status is Status.SUCCEEDED,
        "the batch ended",
        seconds=200,
    )

    noted = Counter(int(line) for line in book.read_text().splitlines())
    assert set(noted) == set(range(ITEMS)), "an item was lost"
    again = {n: count for n, count in noted.items() if count > 1}
    # Only what was in flight at a kill comes again, with the key its receiver knows.
    assert len(again) <= KILLS * AT_ONCE, again
    assert max(noted.values()) <= 1 + KILLS
    rows = read_now(
        lone.store,
        CLOCK,
        lambda tx: tx.all("SELECT n FROM items WHERE status = 'succeeded' AND task_id = :t", t=task_id),
    )
    assert len(rows) == ITEMS
    assert last - first < 24, f"memory grew from {first:.0f} to {last:.0f} MB over one life"
    assert last < early + 48, f"from {early:.0f} MB in the first life to {last:.0f} in the last"
