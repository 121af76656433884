"""SIGTERM, SIGSTOP and SIGCONT of real processes: effects are asked about, not repeated; a stale word is refused."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.team.conftest import CLOCK, Lone, Sink, Team, until
from tests.team.till import PAY, install

from tawny.domain.tasks import Status, Task
from tawny.engine import commands
from tawny.ledger import tasks
from tawny.ledger.database import Store, read_now, write_now

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


class Book:
    """What was paid, as the world wrote it down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def let_go(self) -> None:
        self.path.with_suffix(".go").touch()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "paid.txt")


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return install(tmp_path / "plugins")


@pytest.fixture
def payers(team: Team, plugins: Path) -> Team:
    """A team whose processes know how to pay."""
    team.plugins = plugins
    team.kinds["pay"] = PAY
    return team


@pytest.fixture
def lone(tmp_path: Path, plugins: Path, sink: Sink) -> Iterator[Lone]:
    with contextlib.closing(Lone(tmp_path / "lone", plugins, sink)) as made:
        yield made


def task(store: Store, task_id: str) -> Task:
    return read_now(store, CLOCK, lambda tx: tasks.get(tx, task_id))


def asked(store: Store, task_id: str) -> bool:
    waiting = task(store, task_id).waiting_for
    return waiting is not None and waiting.kind == "reconcile"


def say(store: Store, task_id: str, answer: str) -> None:
    write_now(store, CLOCK, lambda tx: commands.reconcile(tx, task_id, answer, result="seen"))


def test_a_gateway_told_to_stop_asks_about_what_it_cut_off(lone: Lone, book: Book) -> None:
    gateway = lone.start().ready()
    task_id = lone.submit(gateway, "pay", {"book": str(book.path)})
    until(book.lines, "it has paid")
    assert gateway.stop() == 0

    assert asked(lone.store, task_id), task(lone.store, task_id)
    book.let_go()
    gateway = lone.start().ready()
    other = lone.submit(gateway, "remind", {"text": "x"})
    until(lambda: task(lone.store, other).status is Status.SUCCEEDED, "other work goes on")
    assert (asked(lone.store, task_id), book.lines()) == (True, ["paid 1"])
    assert gateway.stop() == 0
    say(lone.store, task_id, "redo")
    lone.start().ready()
    until(lambda: task(lone.store, task_id).status is Status.SUCCEEDED, "done over at a person's word")
    assert book.lines() == ["paid 1", "paid 2"]


def test_a_worker_told_to_stop_asks_about_what_it_cut_off(payers: Team, book: Book) -> None:
    payers.gateway().ready().stop()
    worker = payers.worker("one").ready()
    task_id = payers.submit("pay", params={"book": str(book.path)})
    until(book.lines, "it has paid")
    assert worker.stop() == 0

    assert asked(payers.store, task_id), task(payers.store, task_id)
    book.let_go()
    payers.worker("two").ready()
    other = payers.submit("remind", params={"text": "x"})
    until(lambda: not payers.unfinished([other]), "other work goes on")
    assert (asked(payers.store, task_id), book.lines()) == (True, ["paid 1"])
    say(payers.store, task_id, "done")
    until(lambda: not payers.unfinished([task_id]), "ended at a person's word")
    assert (payers.task(task_id).result, book.lines()) == ({"text": "seen"}, ["paid 1"])


def test_what_a_frozen_worker_says_late_is_refused_and_its_effect_not_repeated(
    payers: Team, book: Book
) -> None:
    payers.gateway().ready().stop()
    frozen = payers.worker("one").ready()
    task_id = payers.submit("pay", params={"book": str(book.path)})
    until(book.lines, "it has paid")
    frozen.freeze()
    payers.worker("two").ready()
    until(lambda: asked(payers.store, task_id), "asked by those who see it gone")

    book.let_go()
    frozen.thaw()
    until(lambda: "taken for gone" in frozen.log(), "it learns of it")
    until(lambda: "report refused" in frozen.log() or not payers.running_on(frozen), "its word is refused")
    more = [payers.submit("remind", params={"text": "x"}) for _ in range(8)]
    until(lambda: not payers.unfinished(more), "both go on")
    assert (asked(payers.store, task_id), book.lines()) == (True, ["paid 1"])
    say(payers.store, task_id, "done")
    until(lambda: not payers.unfinished([task_id]), "ended at a person's word")
    assert (payers.task(task_id).result, book.lines()) == ({"text": "seen"}, ["paid 1"])
    ended = payers.rows("SELECT seq FROM events WHERE type = 'task.succeeded' AND task_id = :id", id=task_id)
    assert len(ended) == 1


def test_a_frozen_gateway_is_put_out_and_its_effect_not_repeated(payers: Team, book: Book) -> None:
    frozen = payers.gateway("first").ready()
    standby = payers.gateway("second", "--standby")
    task_id = payers.submit("pay", params={"book": str(book.path)})
    until(book.lines, "it has paid")
    until(lambda: "standing by" in standby.log(), "standing by")
    frozen.freeze()
    standby.ready()
    until(lambda: asked(payers.store, task_id), "asked by the one that leads now")

    book.let_go()
    frozen.thaw()
    assert frozen.popen.wait(60) == 1
    assert (asked(payers.store, task_id), book.lines()) == (True, ["paid 1"])
    say(payers.store, task_id, "redo")
    until(lambda: not payers.unfinished([task_id]), "done over at a person's word")
    assert len(book.lines()) == 2


def test_a_frozen_gateway_of_its_own_keeps_its_home_and_goes_on(lone: Lone, sink: Sink) -> None:
    """Nobody can take over a file: a second one is refused within a second, and the first goes on where it was."""
    gateway = lone.start().ready()
    params = {"steps": 3, "step_seconds": 0.5, "effect_url": f"{sink.url}/step"}
    wanted = [lone.submit(gateway, "simulate", params) for _ in range(3)]
    until(lambda: sink.entries("/step"), "in the middle")
    gateway.freeze()
    second = lone.start()
    assert second.popen.wait(60) == 1
    assert "in use" in second.errors()
    assert read_now(lone.store, CLOCK, lambda tx: tx.value("SELECT COUNT(*) AS n FROM tasks")) == 3
    gateway.thaw()
    until(lambda: all(task(lone.store, task_id).status is Status.SUCCEEDED for task_id in wanted), "all done")
    found = sink.check(wanted, steps=3)
    assert (found.lost, found.repeated) == ([], [])
    assert {task(lone.store, task_id).attempt for task_id in wanted} == {1}
    assert len(sink.entries("/step")) == 9
