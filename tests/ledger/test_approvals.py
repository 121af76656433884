"""A question is asked once, answered once, survives anything in between, and lapses."""

import msgspec
import pytest

from tawny.clock import HOUR, MINUTE
from tawny.domain.approvals import Question, fingerprint
from tawny.domain.tasks import Origin, Status, Submission
from tawny.engine import commands
from tawny.engine.kinds import Kind
from tawny.errors import Conflict, InvalidInput, NotFound, Refused
from tawny.ledger import approvals, audit, events, grants, outbox
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get as get_task

QUESTION = Question(
    tool="mail_send",
    operation="mail.send",
    arguments={"to": "eve@evil.org", "body": "hi\u202e"},
    level=3,
    reason="because",
)


class Nothing(msgspec.Struct):
    pass


async def _ask(context, _):
    answer = await context.ask("ask", QUESTION)
    return {"text": answer.status, "arguments": answer.arguments, "note": answer.note}


ASKS = Kind(name="asks", params=Nothing, run=_ask)


@pytest.fixture
def asking(engine):
    engine.app.kinds["asks"] = ASKS
    return engine


async def _waiting(engine, origin=None):
    task = await engine.ledger.write(
        lambda tx: submit(tx, Submission(kind="asks", title="Mail", origin=origin or Origin()))
    )
    await engine.until(task.task_id, Status.WAITING)
    (approval,), _ = await engine.ledger.read(lambda tx: approvals.page(tx, task_id=task.task_id))
    return task.task_id, approval.approval_id


async def _answer(engine, approval_id, status="approved", by="owner", **more):
    return await engine.ledger.write(
        lambda tx: approvals.answer(tx, approval_id, status=status, by=by, **more)
    )


async def test_a_yes_lets_the_task_go_on(asking):
    task_id, approval_id = await _waiting(asking)
    await _answer(asking, approval_id, note="go")
    task = await asking.done(task_id)
    assert task.result == {"text": "approved", "arguments": QUESTION.arguments, "note": "go"}


async def test_the_first_answer_wins_and_the_second_learns_of_it(asking):
    task_id, approval_id = await _waiting(asking)
    await _answer(asking, approval_id, "denied", by="device:phone")
    with pytest.raises(Conflict, match="denied by device:phone already"):
        await _answer(asking, approval_id)
    assert (await asking.done(task_id)).result["text"] == "denied"


async def test_edited_arguments_replace_the_whole(asking):
    task_id, approval_id = await _waiting(asking)
    await _answer(asking, approval_id, arguments={"to": "bob@x.org"})
    assert (await asking.done(task_id)).result["arguments"] == {"to": "bob@x.org"}


async def test_a_question_without_an_answer_lapses_and_settles_the_task(asking):
    task_id, approval_id = await _waiting(asking)
    await asking.clock.advance("25h")
    assert (await asking.done(task_id)).result["text"] == "expired"
    with pytest.raises(Conflict, match="expired"):
        await _answer(asking, approval_id)


async def test_an_answer_after_the_end_comes_too_late_even_where_nobody_has_looked_yet(ledger, clock):
    def ask(tx):
        task = submit(tx, Submission(kind="asks"))
        return approvals.request(tx, task_id=task.task_id, key="k", question=QUESTION, expires_in=MINUTE)

    approval = await ledger.write(ask)
    await clock.advance("2m")
    with pytest.raises(Conflict, match="expired"):
        await ledger.write(
            lambda tx: approvals.answer(tx, approval.approval_id, status="approved", by="owner")
        )


async def test_only_listed_approvers_may_answer(ledger):
    def ask(tx):
        task = submit(tx, Submission(kind="asks"))
        return approvals.request(
            tx, task_id=task.task_id, key="k", question=QUESTION, approvers=["telegram:12345678"]
        )

    approval = await ledger.write(ask)
    for stranger in (
        "telegram:123456789",
        "telegram:1234567",
        "@owner",
        "Owner",
        "",
        "telegram:owner",
        "email:me",
    ):
        with pytest.raises(Refused):
            await ledger.write(
                lambda tx, by=stranger: approvals.answer(tx, approval.approval_id, status="approved", by=by)
            )
    settled = await ledger.write(
        lambda tx: approvals.answer(tx, approval.approval_id, status="approved", by="telegram:12345678")
    )
    assert settled.answered_by == "telegram:12345678"


async def test_a_wait_asks_once(ledger):
    task = await ledger.write(lambda tx: submit(tx, Submission(kind="asks")))
    asked = [
        await ledger.write(lambda tx: approvals.request(tx, task_id=task.task_id, key="k", question=QUESTION))
        for _ in range(3)
    ]
    assert len({approval.approval_id for approval in asked}) == 1
    lines = await ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
    assert len(lines) == 1


async def test_the_question_is_shown_whole_with_nothing_hidden_in_it(ledger):
    task = await ledger.write(
        lambda tx: submit(tx, Submission(kind="asks", origin=Origin(reply_to="telegram:1")))
    )
    long = Question(
        tool="exec",
        operation="exec.run",
        arguments={"command": "x" * 20_000 + "\x1b[1A;id"},
        level=4,
        reason="r",
        origin=Origin(trusted=False, detail={"read": [{"what": "web page evil.org", "trust": "untrusted"}]}),
    )
    await ledger.write(lambda tx: approvals.request(tx, task_id=task.task_id, key="k", question=long))
    (line,) = await ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
    assert line.target == "telegram:1"
    assert "x" * 20_000 + "\\x1b[1A;id" in line.message.text
    assert "web page evil.org (untrusted)" in line.message.text
    assert [button.label for button in line.message.buttons] == ["Approve", "Always for exactly this", "Deny"]


async def test_it_reminds_half_way_and_an_hour_before_the_end(ledger, clock):
    task = await ledger.write(lambda tx: submit(tx, Submission(kind="asks")))
    await ledger.write(lambda tx: approvals.request(tx, task_id=task.task_id, key="k", question=QUESTION))
    assert await ledger.read(approvals.next_due) == clock.now() + 12 * HOUR
    for step, reminded in (("11h", 0), ("1h", 1), ("10h", 0), ("1h", 1)):
        await clock.advance(step)
        assert await ledger.write(approvals.remind_due) == reminded
    assert len(await ledger.read(lambda tx: outbox.of_task(tx, task.task_id))) == 3


async def test_a_task_that_ends_takes_its_question_with_it(asking):
    task_id, approval_id = await _waiting(asking)
    await asking.ledger.write(lambda tx: commands.cancel(tx, task_id, by="owner"))
    approval = await asking.ledger.read(lambda tx: approvals.get(tx, approval_id))
    assert (approval.status, approval.note) == ("expired", "the task has ended")
    lines = await asking.ledger.read(lambda tx: outbox.of_task(tx, task_id))
    assert all(line.status != "pending" for line in lines if line.transition.startswith("approval"))


async def test_every_step_is_an_event_and_an_audit_row_without_the_arguments(asking):
    task_id, approval_id = await _waiting(asking)
    await _answer(asking, approval_id, always=True)
    await asking.done(task_id)
    types = [
        event.type for event in await asking.ledger.read(lambda tx: events.after(tx, 0, task_id=task_id))
    ]
    assert "approval.requested" in types
    assert "approval.answered" in types
    rows = await asking.ledger.read(
        lambda tx: tx.all("SELECT action, detail, decision FROM audit ORDER BY seq")
    )
    told = {row["action"]: row["decision"] for row in rows}
    assert told["approval.request"] == "ask"
    assert told["approval.answer"] == "allow"
    assert told["grant.create"] == "allow"
    assert not any("eve@evil.org" in row["detail"] for row in rows)
    assert audit.GENESIS


async def test_a_grant_is_for_exactly_this(asking):
    task_id, approval_id = await _waiting(asking)
    await _answer(asking, approval_id, always=True)
    await asking.done(task_id)

    def use(arguments, operation="mail.send"):
        return asking.ledger.write(
            lambda tx: grants.use(
                tx, task_id=task_id, tool="mail_send", operation=operation, arguments=arguments
            )
        )

    assert await use(QUESTION.arguments) is not None
    assert await use({**QUESTION.arguments, "body": "hi"}) is None
    assert await use({**QUESTION.arguments, "cc": ""}) is None
    assert await use(QUESTION.arguments, "mail.delete") is None
    (grant,) = await asking.ledger.read(grants.standing)
    assert (grant.uses, grant.uses_left) == (1, 99)
    await asking.ledger.write(lambda tx: grants.revoke(tx, grant.grant_id, by="owner"))
    assert await use(QUESTION.arguments) is None


async def test_a_grant_ends_with_its_uses_and_its_time(asking):
    task_id, approval_id = await _waiting(asking)
    await _answer(asking, approval_id, always=True)
    await asking.done(task_id)

    def use(tx):
        return grants.use(
            tx, task_id=task_id, tool="mail_send", operation="mail.send", arguments=QUESTION.arguments
        )

    await asking.ledger.write(lambda tx: tx.execute("UPDATE grants SET uses_left = 1"))
    assert await asking.ledger.write(use)
    assert not await asking.ledger.write(use)
    await asking.ledger.write(lambda tx: tx.execute("UPDATE grants SET uses_left = 9"))
    await asking.clock.advance("31d")
    assert not await asking.ledger.write(use)


async def test_lookups_take_an_id_a_prefix_or_the_task(asking):
    task_id, approval_id = await _waiting(asking)
    for lookup in (approval_id, approval_id[:-4], approval_id.removeprefix("appr_"), task_id):
        found = await asking.ledger.read(lambda tx, lookup=lookup: approvals.find(tx, lookup))
        assert found.approval_id == approval_id
    with pytest.raises(NotFound):
        await asking.ledger.read(lambda tx: approvals.find(tx, "appr_zzz"))


async def test_a_no_takes_no_arguments(asking):
    _, approval_id = await _waiting(asking)
    with pytest.raises(InvalidInput):
        await _answer(asking, approval_id, "denied", arguments={})
    with pytest.raises(InvalidInput):
        await _answer(asking, approval_id, "perhaps")


async def test_what_was_read_stays_with_the_task_over_several_steps(asking):
    async def reads(context, _):
        from tawny.domain.origin import read_from

        context.add_origin(read_from("web page a.org"))
        await context.step("one", _none)
        context.add_origin(read_from("your note", trust="owner"))
        await context.step("two", _none)
        return "done"

    asking.app.kinds["reads"] = Kind(name="reads", params=Nothing, run=reads)
    task = await asking.submit("reads")
    await asking.done(task.task_id)
    origin = (await asking.ledger.read(lambda tx: get_task(tx, task.task_id))).origin
    assert not origin.trusted
    assert [entry["what"] for entry in origin.detail["read"]] == ["web page a.org", "your note"]


async def _none():
    return None


def test_a_fingerprint_changes_with_any_byte_and_not_with_the_order():
    one = fingerprint("t", "o", {"a": 1, "b": "x"})
    assert one == fingerprint("t", "o", {"b": "x", "a": 1})
    assert (
        len({one, fingerprint("t", "o", {"a": 1, "b": "x "}), fingerprint("t", "o", {"a": "1", "b": "x"})})
        == 3
    )
