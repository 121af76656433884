"""Whatever people, workers and crashes do to tasks in whatever order, the written table holds.

The oracle is the table of docs/concepts.md, read from the page, and a memory of what the world has been told; never
the code's own table. Every failure is one seed.
"""

import contextlib
import os
import random
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.domain.test_states import table

from tawny.clock import MINUTE, SECOND
from tawny.domain.tasks import After, Effect, Failure, Notify, Status, Submission, Task, WaitingFor
from tawny.engine import commands
from tawny.errors import Conflict, InvalidInput, TawnyError
from tawny.ledger import audit, endings, events, queue, recovery, steps, transitions
from tawny.ledger.database import read_now, write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import submit
from tawny.ledger.tasks import counts, get
from tawny.testing import FakeClock

SEEDS = 4000 if os.environ.get("TAWNY_TEST_PROFILE") == "long" else 120
MOVES = 60
KINDS = {"work"}


class Simulation:
    """One seeded life of a ledger: two workers, one person, and processes that die."""

    def __init__(self, path: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.store = SqliteStore(path)
        migrate(self.store, self.clock)
        self.table = table()
        self.worker = "worker-0"
        self.running: dict[str, int] = {}
        self.ended: dict[str, Status] = {}
        self.last: dict[str, Status] = {}
        self.attempts: dict[str, int] = {}
        self.effects: dict[tuple[str, str], int] = {}
        self.ids: list[str] = []

    def write(self, fn):
        def compared(tx):
            made = fn(tx)
            for task in made if isinstance(made, list) else [made]:
                if isinstance(task, Task):
                    # What is owed to people for it is written last of all.
                    stored = replace(get(tx, task.task_id), delivery_status=task.delivery_status)
                    assert task == stored, "what was handed back is not what is stored"
            return made

        return write_now(self.store, self.clock, compared)

    def read(self, fn):
        return read_now(self.store, self.clock, fn)

    def move(self) -> None:
        moves = [
            (self.submit, 5),
            (self.claim, 6),
            (self.effect, 5),
            (self.finish, 4),
            (self.fail, 2),
            (self.sleep, 2),
            (self.tick, 4),
            (self.cancel, 2),
            (self.pause, 2),
            (self.resume, 3),
            (self.reconcile, 2),
            (self.crash, 2),
            (self.stale_report, 2),
        ]
        chosen = self.chance.choices([move for move, _ in moves], [weight for _, weight in moves])[0]
        chosen()
        self.check()

    # --- what can happen

    def submit(self) -> None:
        parent = self.chance.choice([None, None, *self.running]) if self.running else None
        after = self.chance.choice(self.ids) if self.ids and self.chance.random() < 0.2 else None
        wanted = Submission(
            kind="work",
            owner=self.chance.choice(["ann", "bob"]),
            lane=self.chance.choice([None, None, "lane"]),
            parent_id=parent,
            merge_key=self.chance.choice([None, None, None, "same"]),
            notify=self.chance.choice(list(Notify)),
            not_before=self.clock.now() + self.chance.choice([0, 0, 30 * SECOND]),
            after=() if after is None else (After(after, "any"),),
        )
        try:
            self.ids.append(self.write(lambda tx: submit(tx, wanted)).task_id)
        except InvalidInput as error:
            if "waits for this child" not in error.message:
                raise

    def claim(self) -> None:
        slots = queue.Slots(background=2, interactive=1, per_owner=2)
        lease = self.clock.now() + MINUTE
        claimed, _ = self.write(lambda tx: queue.claim(tx, slots, worker=self.worker, lease_until=lease))
        for task in claimed:
            assert task.task_id not in self.running, "claimed twice"
            self.running[task.task_id] = task.attempt

    def effect(self) -> None:
        """An at-most-once step: the intent, the effect in the world, and its record, with a death possible between."""
        task_id = self.any_running()
        if task_id is None:
            return None
        key = f"step-{self.chance.randrange(3)}"
        known = self.read(lambda tx: steps.get(tx, task_id, key))
        if known is not None and known.status == "succeeded":
            return None
        mark = {"name": key, "ordinal": 1, "hashed": "h", "effect": Effect.AT_MOST_ONCE}
        self.write(lambda tx: steps.begin(tx, task_id, key, **mark))
        if self.chance.random() < 0.2:
            return self.crash()
        self.effects[task_id, key] = self.effects.get((task_id, key), 0) + 1
        if self.chance.random() < 0.2:
            return self.crash()
        self.write(lambda tx: steps.end(tx, task_id, key, status="succeeded", started_at=tx.now, **mark))
        return None

    def finish(self) -> None:
        task_id = self.any_running()
        if task_id is not None:
            to = self.chance.choice([Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT])
            error = None if to is Status.SUCCEEDED else Failure("permanent", "no")
            self.report(
                task_id, lambda tx, task: endings.finish(tx, task, to, result={"text": "r"}, error=error)
            )

    def fail(self) -> None:
        task_id = self.any_running()
        if task_id is not None:

            def again(tx, task):
                transitions.end_execution(tx, task, "retry")
                return transitions.requeue(
                    tx,
                    task,
                    event="retry_scheduled",
                    ready_at=tx.now + 2 * SECOND,
                    failures=task.failures + 1,
                )

            self.report(task_id, again)

    def sleep(self) -> None:
        task_id = self.any_running()
        if task_id is not None:
            waiting = WaitingFor("timer", key="nap", until=self.clock.now() + 20 * SECOND)
            self.report(task_id, lambda tx, task: transitions.wait(tx, task, waiting))

    def tick(self) -> None:
        self.clock.set(self.clock.now() + self.chance.choice([SECOND, 30 * SECOND]))
        self.write(queue.release_due)

    def cancel(self) -> None:
        self.order(commands.cancel)
        self.stop_cancelled()

    def pause(self) -> None:
        self.order(commands.pause)
        for task_id in list(self.running):
            if self.task(task_id).intent == "pause" and self.chance.random() < 0.7:

                def stop(tx, task):
                    transitions.end_execution(tx, task, "paused")
                    return transitions.advance(tx, task, Status.PAUSED, event="paused", intent=None)

                self.report(task_id, stop)

    def resume(self) -> None:
        self.order(commands.resume)

    def reconcile(self) -> None:
        waiting = [
            i for i in self.ids if (w := self.task(i).waiting_for) is not None and w.kind == "reconcile"
        ]
        if waiting:
            task_id = self.chance.choice(waiting)
            answer = self.chance.choice(["done", "redo", "give_up"])
            keys = [step.key for step in self.read(lambda tx: steps.uncertain(tx, task_id))]
            try:
                self.write(lambda tx: commands.reconcile(tx, task_id, answer))
            except Conflict:
                return
            if answer == "redo":
                for key in keys:
                    self.effects.pop((task_id, key), None)

    def crash(self) -> None:
        """The process dies and the next one starts."""
        self.running.clear()
        self.worker = f"worker-{self.chance.randrange(10**9)}"
        self.write(
            lambda tx: recovery.recover(
                tx, gone=lambda owner: owner != self.worker, known=KINDS, resumable=KINDS
            )
        )

    def stale_report(self) -> None:
        """An execution that was given up still speaks: nothing may change."""
        if not self.ids:
            return
        task = self.task(self.chance.choice(self.ids))
        old = max(0, task.attempt - 1)
        ghost = replace(task, status=Status.RUNNING, attempt=old)
        with pytest.raises(TawnyError):
            self.write(lambda tx: transitions.advance(tx, ghost, Status.SUCCEEDED, event="succeeded"))

    # --- helpers

    def any_running(self) -> str | None:
        return self.chance.choice(sorted(self.running)) if self.running else None

    def task(self, task_id: str):
        return self.read(lambda tx: get(tx, task_id))

    def report(self, task_id: str, fn) -> None:
        attempt = self.running.pop(task_id)

        def fenced(tx):
            task = get(tx, task_id)
            assert (task.status, task.attempt) == (Status.RUNNING, attempt), "a live claim was taken away"
            if task.intent == "cancel":
                return endings.finish(tx, task, Status.CANCELLED, error=Failure("cancelled", "asked"))
            return fn(tx, task)

        self.write(fenced)

    def order(self, command) -> None:
        if self.ids:
            task_id = self.chance.choice(self.ids)
            with contextlib.suppress(Conflict):
                self.write(lambda tx: command(tx, task_id))

    def stop_cancelled(self) -> None:
        for task_id in list(self.running):
            if self.task(task_id).intent == "cancel":
                self.report(task_id, lambda tx, task: task)

    # --- what must hold

    def check(self) -> None:
        for task_id in self.ids:
            task = self.task(task_id)
            assert task.attempt >= self.attempts.get(task_id, 0)
            self.attempts[task_id] = task.attempt
            if task_id in self.ended:
                assert task.status is self.ended[task_id], "terminal is final"
            if task.status.is_terminal:
                self.ended[task_id] = task.status
                assert task.ended_at is not None
        assert all(count == 1 for count in self.effects.values()), (
            f"an effect was repeated unasked: {self.effects}"
        )

    def close(self) -> None:
        """Let everything go on to its end, and look at the whole record."""
        for _ in range(400):
            self.tick()
            self.claim()
            for task_id in list(self.running):
                self.report(
                    task_id,
                    lambda tx, task: endings.finish(tx, task, Status.SUCCEEDED, result={"text": "r"}),
                )
            for task_id in self.ids:
                task = self.task(task_id)
                if task.status is Status.PAUSED:
                    self.write(lambda tx, i=task_id: commands.resume(tx, i))
                elif task.waiting_for is not None and task.waiting_for.kind == "reconcile":
                    self.write(lambda tx, i=task_id: commands.reconcile(tx, i, "done"))
            if all(self.task(task_id).status.is_terminal for task_id in self.ids):
                break
        stuck = [self.task(i) for i in self.ids if not self.task(i).status.is_terminal]
        assert not stuck, f"stuck: {[(t.status, t.waiting_for, t.intent) for t in stuck]}"
        self.check_log()
        self.check_chain()
        self.check_counts()

    def check_counts(self) -> None:
        rows = self.read(lambda tx: tx.all("SELECT status, COUNT(*) AS n FROM tasks GROUP BY status"))
        assert self.read(counts) == {row["status"]: row["n"] for row in rows}, "counted wrongly"

    def check_log(self) -> None:
        log = self.read(lambda tx: events.after(tx, 0, limit=1_000_000))
        assert [event.seq for event in log] == list(range(1, len(log) + 1)), "the sequence has gaps"
        seen: dict[str, Status] = {}
        for event in log:
            if event.task_id is None or "status" not in event.data:
                continue
            after = Status(event.data["status"])
            before = seen.get(event.task_id)
            if before is not None and before is not after:
                assert after in self.table[before], f"{before} became {after}"
            seen[event.task_id] = after

    def check_chain(self) -> None:
        previous = audit.GENESIS
        for row in self.read(lambda tx: tx.all("SELECT * FROM audit ORDER BY seq")):
            assert row["previous"] == previous
            assert audit.digest(dict(row)) == row["hash"]
            previous = row["hash"]


@pytest.mark.timeout(SEEDS)  # seconds
@pytest.mark.parametrize("block", range(8))
def test_whatever_happens_in_whatever_order_the_table_holds(tmp_path, block):
    for seed in range(block * SEEDS // 8, (block + 1) * SEEDS // 8):
        simulation = Simulation(tmp_path / f"{seed}.db", seed)
        try:
            for _ in range(MOVES):
                simulation.move()
            simulation.close()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        (tmp_path / f"{seed}.db").unlink()
