"""For each code of the audit: seed a row, find it, mend it, and find it no more."""

import random

import msgspec
import pytest

from tawny.clock import DAY, HOUR, MINUTE
from tawny.domain.approvals import Question
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import Origin, Status, Submission
from tawny.engine import commands
from tawny.ledger import approvals, care, events, outbox, retention, stats, tasks
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get

KEEP = retention.Keep()

SEEDS = {
    "stale_queued": ("UPDATE tasks SET updated_at = :now - 3600000000", False),
    "stale_running": ("UPDATE tasks SET status = 'running', updated_at = :now - 3600000000", False),
    "lost": ("UPDATE tasks SET status = 'lost', ended_at = :now, started_at = created_at", True),
    "poison": (
        "UPDATE tasks SET status = 'failed', ended_at = :now,"
        ' error = \'{"kind":"permanent","message":"quarantined: 3"}\'',
        True,
    ),
    "overdue": ("UPDATE tasks SET runnable = 0, ready_at = :now - 600000000", True),
    "stale_waiting": (
        "UPDATE tasks SET status = 'waiting', wake_at = :now - 600000000,"
        ' waiting_for = \'{"kind":"timer","key":"k"}\'',
        True,
    ),
    "stale_blocked": (
        "UPDATE tasks SET status = 'waiting', updated_at = :now - 800000000000,"
        ' waiting_for = \'{"kind":"approval","key":"k"}\'',
        False,
    ),
    "budget_stop": (
        'UPDATE tasks SET status = \'waiting\', waiting_for = \'{"kind":"budget","key":"k"}\'',
        False,
    ),
    "cancel_stuck": (
        "UPDATE tasks SET status = 'paused', intent = 'cancel', updated_at = :now - 600000000",
        True,
    ),
    "blocked_task_missing": (
        "UPDATE tasks SET status = 'waiting', updated_at = :now - 600000000,"
        ' waiting_for = \'{"kind":"child","key":"k","detail":{"children":["task_gone"]}}\'',
        True,
    ),
    "missing_linked_tasks": ("UPDATE tasks SET flow_id = 'task_gone'", False),
    "inconsistent_timestamps": (
        "UPDATE tasks SET status = 'succeeded', started_at = created_at - 5, ended_at = created_at - 9",
        True,
    ),
    "missing_cleanup": ("UPDATE tasks SET status = 'failed', ended_at = :now - 700000000000000", True),
}


def seeded(sql: str):
    def seed(tx: Tx) -> str:
        task = submit(tx, Submission(kind="remind", params={"text": "x"}))
        tx.execute(sql, **({"now": tx.now} if ":now" in sql else {}))
        return task.task_id

    return seed


@pytest.mark.parametrize("code", SEEDS)
async def test_what_the_audit_calls_fixable_is_gone_after_maintenance(ledger, code):
    sql, fixable = SEEDS[code]
    await ledger.write(seeded(sql))

    found = {finding.code: finding for finding in await ledger.read(lambda tx: care.audit(tx, keep=KEEP))}
    assert code in found
    assert found[code].fixable is fixable

    await ledger.write(lambda tx: care.mend(tx, keep=KEEP))
    left = await ledger.read(lambda tx: care.audit(tx, keep=KEEP))
    assert [finding.code for finding in left if finding.fixable] == []
    assert (code in {finding.code for finding in left}) is not fixable


async def test_the_audit_tells_of_what_was_not_delivered(ledger, clock):
    """Failed with nothing in its place: told, for a person. Too old to be sent: told, and mended."""

    def owe(tx: Tx) -> tuple[str, str]:
        made: list[str] = []
        for target in ("failed", "old"):
            task = submit(tx, Submission(kind="remind", params={"text": "x"}))
            message = Outgoing(key="", text="the result")
            line = outbox.put(
                tx, task_id=task.task_id, transition="task.succeeded", target=target, message=message
            )
            assert line is not None
            made.append(line)
        return made[0], made[1]

    failed, old = await ledger.write(owe)

    def age(tx: Tx) -> None:
        tx.execute("UPDATE outbox SET status = 'failed' WHERE delivery_id = :id", id=failed)
        tx.execute("UPDATE outbox SET expires_at = :now - 1 WHERE delivery_id = :id", now=tx.now, id=old)

    await ledger.write(age)
    found = {finding.code: finding for finding in await ledger.read(lambda tx: care.audit(tx, keep=KEEP))}
    assert set(found) == {"delivery_failed", "undelivered"}
    assert (found["delivery_failed"].fixable, found["undelivered"].fixable) == (False, True)
    await ledger.write(lambda tx: care.mend(tx, keep=KEEP))
    left = await ledger.read(lambda tx: care.audit(tx, keep=KEEP))
    assert [finding.code for finding in left] == ["delivery_failed"]
    assert (await ledger.read(lambda tx: outbox.get(tx, old))).status == "expired"


async def test_the_audit_tells_of_a_question_that_ran_out_unseen(ledger, clock):
    def ask(tx: Tx) -> None:
        task = submit(tx, Submission(kind="remind", params={"text": "x"}))
        question = Question(
            tool="exec", operation="exec", arguments={}, level=4, reason="why", origin=Origin()
        )
        approvals.request(tx, task_id=task.task_id, key="k", question=question, expires_in=HOUR, approvers=())
        tx.execute(
            "UPDATE tasks SET status = 'waiting', waiting_for = :waiting WHERE task_id = :id",
            waiting='{"kind":"approval","key":"k"}',
            id=task.task_id,
        )

    await ledger.write(ask)
    clock.set(clock.now() + 2 * HOUR - MINUTE)
    assert "approval_expired" not in await codes(ledger)
    clock.set(clock.now() + 2 * MINUTE)
    assert "approval_expired" in await codes(ledger)


ELSEWHERE = {"delivery_failed", "undelivered", "approval_expired"}
"""Codes about other rows than those of a task; each has a test of its own."""


def test_every_code_is_seeded() -> None:
    assert {check.code for check in care._CHECKS} | {"missing_cleanup"} == set(SEEDS) | ELSEWHERE


@pytest.mark.parametrize("seed", range(24))
async def test_whatever_is_wrong_together_maintenance_clears_what_is_fixable(ledger, seed):
    """Many faults in one ledger, among parents and children, some of which still owe a message."""
    chance = random.Random(seed)
    codes_made = [chance.choice(sorted(SEEDS)) for _ in range(14)]

    def make(tx: Tx) -> None:
        made: list[str] = []
        for _ in codes_made:
            parent = chance.choice([None, *made])
            task = submit(tx, Submission(kind="remind", params={"text": "x"}, parent_id=parent))
            if chance.random() < 0.3:
                message = Outgoing(key="", text="the result")
                outbox.put(tx, task_id=task.task_id, transition="t", target="inbox", message=message)
            made.append(task.task_id)
        for task_id, code in zip(made, codes_made, strict=True):
            sql = SEEDS[code][0]
            tx.execute(f"{sql} WHERE task_id = :id", id=task_id, **({"now": tx.now} if ":now" in sql else {}))

    await ledger.write(make)
    await ledger.write(lambda tx: care.mend(tx, keep=KEEP))
    left = await ledger.read(lambda tx: care.audit(tx, keep=KEEP))
    assert [finding for finding in left if finding.fixable] == [], codes_made


async def test_maintenance_mends_all_there_is_of_a_kind(ledger):
    def lose(tx: Tx) -> None:
        for _ in range(1_100):
            submit(tx, Submission(kind="remind", params={"text": "x"}))
        tx.execute(SEEDS["lost"][0], now=tx.now)

    await ledger.write(lose)
    mended = await ledger.write(lambda tx: care.mend(tx, keep=KEEP))
    assert len(mended) == 1_100
    assert await codes(ledger) == set()


async def test_maintenance_ends_though_a_mend_does_not_take(ledger, monkeypatch):
    tried: list[str] = []
    (lost,) = [check for check in care._CHECKS if check.code == "lost"]
    in_vain = msgspec.structs.replace(lost, mend=lambda tx, task_id: tried.append(task_id))
    monkeypatch.setattr(care, "_CHECKS", (in_vain,))
    task_id = await ledger.write(seeded(SEEDS["lost"][0]))
    await ledger.write(lambda tx: care.mend(tx, keep=KEEP))
    assert tried == [task_id]


async def codes(ledger) -> set[str]:
    return {finding.code for finding in await ledger.read(lambda tx: care.audit(tx, keep=KEEP))}


async def test_a_healthy_ledger_has_no_findings(ledger):
    await ledger.write(lambda tx: submit(tx, Submission(kind="remind", params={"text": "x"})))

    assert await ledger.read(lambda tx: care.audit(tx, keep=KEEP)) == []


async def test_results_outlive_details_and_both_end(ledger, clock):
    async def make(result: str | None) -> str:
        task_id = await ledger.write(seeded("SELECT 1"))
        await ledger.write(
            lambda tx: tx.execute(
                "UPDATE tasks SET status = 'succeeded', ended_at = :now, result = :result WHERE task_id = :id",
                now=tx.now,
                result=result,
                id=task_id,
            )
        )
        await ledger.write(
            lambda tx: tx.execute(
                "INSERT INTO executions (execution_id, task_id, attempt, worker, started_at)"
                " VALUES (:e, :id, 1, 'w', :now)",
                e=f"exec_{task_id}",
                id=task_id,
                now=tx.now,
            )
        )
        return task_id

    with_result, without = await make('{"text":"kept"}'), await make(None)
    clock.set(clock.now() + 8 * DAY)
    await ledger.write(lambda tx: retention.prune(tx, KEEP))

    rows = await ledger.read(lambda tx: tx.all("SELECT task_id FROM tasks"))
    assert [row["task_id"] for row in rows] == [with_result]
    assert await ledger.read(lambda tx: tx.all("SELECT * FROM executions")) == []

    clock.set(clock.now() + 23 * DAY)
    await ledger.write(lambda tx: retention.prune(tx, KEEP))
    assert (
        await ledger.read(lambda tx: tx.all("SELECT task_id FROM tasks WHERE task_id = :id", id=without))
        == []
    )
    assert await ledger.read(lambda tx: tx.all("SELECT task_id FROM tasks")) == []


async def test_a_child_is_kept_as_long_as_its_parent_may_ask_for_it(ledger, clock):
    parent = await ledger.write(lambda tx: submit(tx, Submission(kind="work")))
    child = await ledger.write(
        lambda tx: submit(tx, Submission(kind="work", parent_id=parent.task_id, awaited=False))
    )
    await ledger.write(lambda tx: commands.cancel(tx, child.task_id))
    clock.set(clock.now() + 31 * DAY)
    await ledger.write(lambda tx: retention.prune(tx, KEEP))
    assert (await ledger.read(lambda tx: get(tx, child.task_id))).status is Status.CANCELLED

    await ledger.write(lambda tx: commands.cancel(tx, parent.task_id))
    await ledger.write(lambda tx: retention.prune(tx, KEEP))
    assert (
        await ledger.read(
            lambda tx: tx.all("SELECT task_id FROM tasks WHERE task_id = :id", id=child.task_id)
        )
        == []
    )


async def test_a_revision_outlives_the_events_it_was_counted_by(ledger, clock):
    task = await ledger.write(lambda tx: submit(tx, Submission(kind="flow")))
    other = await ledger.write(lambda tx: submit(tx, Submission(kind="work")))
    await ledger.write(lambda tx: commands.pause(tx, task.task_id))
    before = await ledger.read(lambda tx: events.revision(tx, task.task_id))
    assert before > 0

    clock.set(clock.now() + 31 * DAY)
    assert (await ledger.write(lambda tx: retention.prune(tx, KEEP)))["events"] >= 3
    assert await ledger.read(lambda tx: events.after(tx, 0, task_id=task.task_id)) == []
    assert await ledger.read(lambda tx: events.revision(tx, task.task_id)) == before
    assert 0 < await ledger.read(lambda tx: events.revision(tx, other.task_id)) < before

    await ledger.write(lambda tx: commands.resume(tx, task.task_id))
    after = await ledger.read(lambda tx: events.revision(tx, task.task_id))
    assert after > before
    clock.set(clock.now() + 31 * DAY)
    await ledger.write(lambda tx: retention.prune(tx, KEEP))
    await ledger.write(lambda tx: retention.prune(tx, KEEP))
    assert await ledger.read(lambda tx: events.revision(tx, task.task_id)) == after


async def test_what_has_ended_is_counted_until_it_is_let_go(ledger, clock):
    ended = await ledger.write(lambda tx: submit(tx, Submission(kind="work")))
    kept = await ledger.write(lambda tx: submit(tx, Submission(kind="work")))
    await ledger.write(lambda tx: submit(tx, Submission(kind="turn", detached=False)))
    await ledger.write(lambda tx: commands.cancel(tx, ended.task_id))
    assert await ledger.read(tasks.counts) == {"queued": 1, "cancelled": 1}

    clock.set(clock.now() + 8 * DAY)
    await ledger.write(lambda tx: commands.cancel(tx, kept.task_id))
    assert await ledger.read(tasks.counts) == {"cancelled": 2}
    await ledger.write(lambda tx: retention.prune(tx, KEEP))
    assert await ledger.read(tasks.counts) == {"cancelled": 1}


async def test_stats_are_exact_for_a_made_up_ledger(ledger):
    def make(tx: Tx) -> None:
        for n in range(1, 21):
            task = submit(tx, Submission(kind="report"))
            tx.execute(
                "UPDATE tasks SET status = :status, created_at = :created, started_at = :started, ended_at = :now,"
                " ran_for = :ran WHERE task_id = :id",
                status="failed" if n == 20 else "succeeded",
                created=tx.now - HOUR,
                started=tx.now - HOUR + n * MINUTE,
                now=tx.now,
                ran=n * 1_000_000,
                id=task.task_id,
            )

    await ledger.write(make)
    (figures,) = (await ledger.read(stats.by_kind))["kinds"]

    assert figures["ended"] == 20
    assert figures["success_rate"] == 0.95
    assert (figures["run_p50"], figures["run_p95"]) == (10.0, 19.0)
    assert (figures["wait_p50"], figures["wait_p95"]) == (600.0, 1140.0)


async def test_an_acknowledged_loss_stays_on_record(ledger):
    task_id = await ledger.write(seeded(SEEDS["lost"][0]))
    await ledger.write(lambda tx: care.mend(tx, keep=KEEP))

    assert (await ledger.read(lambda tx: get(tx, task_id))).status is Status.LOST
