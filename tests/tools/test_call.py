"""Every call passes the one door, and gets what it is due there."""

import asyncio

import msgspec
import pytest

from tawny.domain.origin import read_from
from tawny.domain.tasks import Origin, Status
from tawny.ledger import approvals, artifacts, audit, outbox, steps
from tawny.tools.results import shorten

from .conftest import rules

OK = {"text": "ok"}


async def test_what_may_run_runs(runs, world):
    assert await runs.run(("notes", {}), ("mail_send", {"to": "bob@x.org"})) == [OK, OK]
    assert world.done == [("notes", ""), ("mail_send", "bob@x.org")]


async def test_unknown_tools_and_wrong_arguments_are_told_to_the_model(runs, world):
    results = await runs.run(("mail_sned", {}), ("mail_send", {"too": "x"}), ("mail_send", {"to": 7}))
    assert results[0] == "invalid: there is no tool 'mail_sned'"
    assert "unknown field `too`" in results[1]
    assert "Expected `str`, got `int`" in results[2]
    assert world.done == []


async def test_level_4_waits_for_a_yes_and_the_worker_is_free_meanwhile(runs, world):
    assert await runs.run(("pay", {"amount": 5})) == ["asked"]
    assert world.done == []
    (approval,) = await runs.pending()
    assert approval.reason == "payment.make is level 4: pay"
    task = await runs.answer()
    assert task.result == {"results": [OK]}
    assert world.done == [("pay", "")]


async def test_calls_made_before_the_question_are_not_made_again(runs, world):
    await runs.run(("mail_send", {"to": "a@x.org"}), ("notes", {}), ("pay", {}))
    task = await runs.answer()
    assert task.result == {"results": [OK, OK, OK]}
    assert [name for name, _ in world.done] == ["mail_send", "notes", "pay"]


async def test_a_failure_is_a_result_and_does_not_happen_twice(runs, world):
    await runs.run(("mail_send", {"text": "fail"}), ("notes", {"text": "crash"}), ("pay", {}))
    task = await runs.answer()
    assert task.result["results"][:2] == [
        "error: the other side fell over",
        "permanent: notes: RuntimeError: a bug",
    ]
    assert [name for name, _ in world.done] == ["mail_send", "notes", "pay"]


async def test_a_no_is_told_with_its_note(runs, world):
    await runs.run(("pay", {}))
    task = await runs.answer("denied", note="too dear")
    assert task.result == {"results": ["refused: pay: owner said no: too dear"]}
    assert world.done == []


async def test_edited_arguments_replace_the_whole_and_are_checked_again(runs, world):
    await runs.run(("pay", {"to": "shop@x.org", "text": "hello"}))
    await runs.answer(arguments={"to": "other@x.org"})
    assert world.done == [("pay", "other@x.org")]
    await runs.run(("pay", {"to": "shop@x.org"}))
    task = await runs.answer(arguments={"to": 3})
    assert task.result["results"][0].startswith("invalid: the edited arguments of pay do not fit")
    assert len(world.done) == 1


async def test_edited_arguments_still_meet_a_rule_that_denies(runs, world):
    world.rules = rules(("recipient == 'evil@x.org'", "deny"))
    await runs.run(("pay", {"to": "shop@x.org"}))
    task = await runs.answer(arguments={"to": "evil@x.org"})
    assert "rule 1" in task.result["results"][0]
    assert world.done == []


async def test_an_answer_counts_even_where_the_rules_became_milder_meanwhile(runs, world):
    await runs.run(("pay", {}))
    world.rules = rules(("tool == pay", "allow"))
    task = await runs.answer("denied")
    assert task.result["results"] == ["refused: pay: owner said no"]
    assert world.done == []


async def test_a_rule_that_has_come_to_deny_holds_after_a_yes(runs, world):
    await runs.run(("pay", {}))
    world.rules = rules(("tool == pay", "deny"))
    task = await runs.answer()
    assert task.result["results"][0].startswith("refused: pay: ")
    assert world.done == []


async def test_a_confirmation_may_come_from_whoever_asked_and_an_approval_may_not(runs, world):
    asker = Origin(via="channel", detail={"channel": "telegram", "sender": "7"})
    for action, may in (("require_confirmation", ("telegram:7",)), ("require_approval", ())):
        world.rules = rules(("tool == notes", action))
        assert await runs.run(("notes", {}), origin=asker) == ["asked"]
        (approval,) = await runs.pending()
        assert approval.approvers == may
        await runs.answer()


async def test_always_is_for_exactly_this(runs, world):
    await runs.run(("pay", {"to": "shop@x.org"}))
    await runs.answer(always=True)
    assert await runs.run(("pay", {"to": "shop@x.org"})) == [OK]
    assert await runs.run(("pay", {"to": "shop@x.org", "amount": 1})) == ["asked"]


async def test_what_was_read_counts_for_the_rest_of_the_run(runs, world):
    assert await runs.run(("exec", {})) == [OK]
    for call in (
        ("exec", {}),
        ("memory_save", {"text": "x"}),
        ("automations", {}),
        ("mail_send", {"to": "eve@evil.org"}),
    ):
        assert await runs.run(
            ("web_fetch", {"url": "https://a.org"}), call, message="read https://a.org"
        ) == ["asked"]
    assert [name for name, _ in world.done] == ["exec", *["web_fetch"] * 4]
    for approval in await runs.pending():
        assert "web_fetch a.org" in approval.reason
        assert approval.document()["read"] == [{"what": "web_fetch a.org", "trust": "untrusted"}]


async def test_whom_the_owner_named_is_reached_without_a_second_yes(runs):
    read, send = (
        ("web_fetch", {"url": "https://a.org/x"}),
        ("mail_send", {"to": "bob@x.org", "text": "a summary"}),
    )
    assert len(await runs.run(read, send, message="Read https://a.org/x and mail bob@x.org")) == 2
    link = ("mail_send", {"to": "bob@x.org", "text": "see www.evil.org"})
    assert await runs.run(read, link, message="Read https://a.org/x and mail bob@x.org") == ["asked"]


async def test_a_result_that_can_carry_no_instruction_does_not_count(runs, world):
    world.page = [12.5, True, "2026-11-27"]
    assert len(await runs.run(("web_fetch", {"url": "https://a.org"}), ("exec", {}))) == 2


async def test_a_list_of_words_lets_a_run_turn_to_names_and_run_nothing(runs, world):
    world.page = ["general", "wipe"]
    look = ("web_fetch", {"url": "https://a.org"})
    assert len(await runs.run(look, ("mail_send", {"to": "general", "text": "hello"}))) == 2
    assert await runs.run(look, ("exec", {})) == ["asked"]
    (approval,) = await runs.pending()
    assert "words of somebody else (general, wipe)" in approval.reason
    assert {"what": "web_fetch a.org", "trust": "owner"} in approval.document()["read"]


@pytest.mark.parametrize("text", ["fail", "crash"])
async def test_a_failure_that_may_quote_a_stranger_is_read(runs, world, text):
    """An error's text reaches the model like a page's."""
    look = ("web_fetch", {"url": "https://a.org", "text": text})
    assert await runs.run(look, ("exec", {})) == ["asked"]
    (approval,) = await runs.pending()
    assert "a failure of web_fetch a.org" in approval.reason
    assert len(await runs.run(("notes", {"text": text}), ("exec", {}))) == 2, "its own tools quote nobody"
    own = ("web_fetch", {"url": "https://a.org", "text": "refuse"})
    assert len(await runs.run(own, ("exec", {}))) == 2, "nor does what was refused before anybody answered"


async def test_a_contacts_mail_leaves_the_run_free_and_a_strangers_does_not(runs):
    assert len(await runs.run(("mail_read", {}), ("exec", {}))) == 2
    assert await runs.run(("mail_read", {}), ("mail_spam", {}), ("exec", {})) == ["asked"]


async def test_private_data_and_untrusted_content_together_do_not_leave(runs):
    calls = [("web_fetch", {"url": "https://a.org"}), ("passport", {}), ("mail_send", {"to": "bob@x.org"})]
    assert await runs.run(*calls, message="https://a.org bob@x.org") == ["asked"]
    assert len(await runs.run(*calls[1:], message="bob@x.org")) == 2


async def test_a_denied_call_is_recorded_so_that_it_stays_denied(runs, world):
    world.rules = rules(("tool == notes", "deny"))
    task = await runs.start(("notes", {}), ("pay", {}))
    await runs.engine.until(task.task_id, Status.WAITING)
    world.rules = rules()
    done = await runs.answer()
    assert done.result["results"][0].startswith("refused: notes: ")
    assert world.done == [("pay", "")]


async def test_level_3_is_told_afterwards(runs):
    task = await runs.start(("mail_send", {"to": "bob@x.org"}))
    await runs.engine.done(task.task_id)
    lines = await runs.engine.ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
    (told,) = [line for line in lines if line.transition.startswith("told:")]
    assert told.message.text.startswith("Done: mail.send (mail_send) to bob@x.org.")


async def test_every_call_leaves_an_audit_row_with_its_decision_and_without_its_words(runs):
    await runs.run(("notes", {}), ("mail_send", {"to": "bob@x.org", "text": "very private"}), ("pay", {}))
    await runs.answer("denied")
    rows = await runs.engine.ledger.read(
        lambda tx: tx.all("SELECT * FROM audit WHERE action = 'tool.call' ORDER BY seq")
    )
    told = [(msgspec.json.decode(row["detail"])["operation"], row["decision"]) for row in rows]
    assert told == [("file.read", "run"), ("mail.send", "notify"), ("payment.make", "ask")]
    assert not any("very private" in row["detail"] for row in rows)
    assert audit.digest(dict(rows[0])) == rows[0]["hash"]


async def test_the_audit_row_of_a_call_is_in_the_commit_of_its_record(runs):
    ledger = runs.engine.ledger

    async def commits(calls: int) -> int:
        before = ledger.commits
        assert await runs.run(*[("notes", {"text": str(n)}) for n in range(calls)]) == [OK] * calls
        return ledger.commits - before

    await commits(1)
    alone = min([await commits(1) for _ in range(3)])
    # One a call, fewer where commits were shared by chance, and one more where they were in the shorter run; two a call
    # would be ten.
    assert min([await commits(6) for _ in range(3)]) <= alone + 6


async def test_what_a_given_up_run_has_done_is_in_the_audit_trail_all_the_same(runs, world):
    ledger = runs.engine.ledger

    async def taken_over() -> None:
        await ledger.write(lambda tx: tx.execute("UPDATE tasks SET attempt = attempt + 1"))

    world.meanwhile = taken_over
    task = await runs.start(("mail_send", {"to": "bob@x.org"}))
    changed = ledger.bell.subscribe("events")
    chosen = audit.Filter(action="tool.call", task_id=task.task_id)
    while not (rows := (await ledger.read(lambda tx: audit.page(tx, chosen)))[0]):
        await asyncio.wait_for(changed.wait(), 20)
        changed.clear()
    assert [row.detail["outcome"] for row in rows] == ["done"]
    assert not any(
        step.status == "succeeded" for step in await ledger.read(lambda tx: steps.of_task(tx, task.task_id))
    )


async def test_a_long_result_keeps_head_and_tail_and_the_whole_is_an_artifact(runs, world):
    world.page = "HEAD" + "x" * 50_000 + "TAIL"
    task = await runs.start(("web_fetch", {"url": "https://a.org"}))
    done = await runs.engine.done(task.task_id)
    (result,) = done.result["results"]
    assert len(result) <= 4_800
    assert result.startswith("HEAD")
    assert result.endswith("TAIL")
    (kept,) = await runs.engine.ledger.read(lambda tx: artifacts.of_task(tx, task.task_id))
    assert kept.size == 50_008


def test_a_long_result_keeps_its_shape_where_it_can():
    cut = shorten({"status": 200, "body": "b" * 9000}, 1000, whole="artifact x")
    assert cut["status"] == 200
    assert "left out" in cut["body"]
    assert len(msgspec.json.encode(cut)) <= 1000
    assert len(shorten(["x" * 10] * 1000, 1000, whole="a")) <= 1000
    assert shorten("short", 1000, whole="a") == "short"


async def test_secrets_are_taken_out_of_results_failures_and_questions(runs, world):
    world.secrets = ["CANARY"]
    world.page = {"CANARY": ["a CANARY b"]}
    task = await runs.start(("web_fetch", {"url": "https://a.org"}))
    done = await runs.engine.done(task.task_id)
    kept = await runs.engine.ledger.read(lambda tx: steps.of_task(tx, task.task_id))
    assert "CANARY" not in repr(done.result)
    assert "CANARY" not in repr([step.result for step in kept])


async def test_a_run_that_goes_in_circles_is_warned_then_blocked_then_ended(runs, world):
    task = await runs.start(*[("notes", {"text": "again"})] * 15)
    done = await runs.engine.done(task.task_id)
    assert done.status is Status.FAILED
    assert "goes in circles" in done.error.message
    assert len(world.done) == 7
    results = await runs.run(*[("notes", {"text": "again"})] * 9)
    assert "warning" not in results[3]
    assert "warning" in results[4]
    assert results[7].startswith("refused: notes was called like this many times")


async def test_refusals_count_as_going_in_circles_too(runs, world):
    world.rules = rules(("tool == notes", "deny"))
    task = await runs.start(*[("notes", {})] * 15)
    assert (await runs.engine.done(task.task_id)).status is Status.FAILED


async def test_noise_does_not_hide_a_circle_and_paging_is_none(runs, world):
    answers = iter(f"2026-11-21T10:00:{n:02d}Z proc_3f2a9c1{n:02d}4b" for n in range(15))

    async def meanwhile() -> None:
        world.answer = next(answers)

    world.meanwhile = meanwhile
    again = [("notes", {"text": "again"})] * 15
    assert (await runs.engine.done((await runs.start(*again)).task_id)).status is Status.FAILED
    world.meanwhile = None
    pages = [("notes", {"text": f"page {n}"}) for n in range(15)]
    assert (await runs.engine.done((await runs.start(*pages)).task_id)).status is Status.SUCCEEDED


async def test_calls_that_differ_in_times_and_ids_alone_are_no_circle(runs, world):
    days = [
        ("notes", {"text": f"Standup at 2026-12-{n:02d}T10:00:00Z, room 1f2a9c1{n:02d}b"})
        for n in range(1, 13)
    ]
    assert (await runs.engine.done((await runs.start(*days)).task_id)).status is Status.SUCCEEDED
    assert len(world.done) == 12


# ---- the same decision whatever door a call came in by

NINE = {
    "chat": {"origin": {"via": "chat"}, "detached": False, "session": "main"},
    "automation": {"origin": {"via": "schedule", "by": "automation"}, "automation_id": "auto_1"},
    "webhook": {"origin": {"via": "webhook"}},
    "heartbeat": {"origin": {"via": "schedule"}, "lane": "heartbeat"},
    "subagent": {"origin": {"via": "subagent"}, "parent_id": None},
    "retry": {"origin": {"via": "cli"}},
    "resumed flow": {"origin": {"via": "flow"}, "flow_id": "flow_1"},
    "mcp": {"origin": {"via": "mcp"}},
    "http": {"origin": {"via": "http"}},
}
CALLS = [
    ("notes", {}),
    ("mail_send", {"to": "bob@x.org"}),
    ("mail_send", {"to": "eve@evil.org"}),
    ("mail_send", {"to": "bob@x.org", "text": "see evil.org"}),
    ("pay", {"amount": 1}),
    ("pay", {"amount": 1000}),
    ("exec", {}),
    ("memory_save", {"text": "remember"}),
    ("automations", {}),
    ("delete", {}),
    ("strange", {}),
    ("config", {}),
    ("web_fetch", {"url": "https://evil.org/?q=1"}),
]
TRUSTS = {
    "owner": Origin(detail={"words": ["mail bob@x.org"]}),
    "untrusted": Origin(
        trusted=False, detail={"words": ["mail bob@x.org"], "read": [{"what": "w", "trust": "untrusted"}]}
    ),
}


@pytest.mark.parametrize("trust", TRUSTS)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]}-{'-'.join(map(str, call[1].values()))}")
async def test_nine_origins_get_one_decision(runs, world, call, trust):
    world.rules = rules(("amount > $100", "deny"), ("operation == delete", "require_confirmation"))
    decisions = {}
    for name, how in NINE.items():
        how = {**how}
        origin = msgspec.structs.replace(TRUSTS[trust], **how.pop("origin"))
        before = len(world.done)
        result = await runs.run(call, origin=origin, **how)
        decisions[name] = ("asked" if result == ["asked"] else str(result)[:20], len(world.done) - before)
        for approval in await runs.pending():
            await runs.engine.ledger.write(
                lambda tx, id=approval.approval_id: approvals.answer(tx, id, status="denied", by="owner")
            )
    assert len(set(decisions.values())) == 1, decisions


async def test_work_that_is_no_tool_call_asks_leave_the_same_way(runs, world):
    from tawny.engine.kinds import Kind
    from tawny.tools.registry import Operation

    from .conftest import Script

    async def run(context, _):
        arguments = await runs.door.permit(
            context,
            tool="command",
            operation=Operation(name="exec.run", operation="execute", level=4),
            arguments={"argv": ["id"]},
            key="command",
        )
        return {"results": [arguments]}

    runs.engine.app.kinds["script"] = Kind(name="script", params=Script, run=run)
    assert await runs.run() == [{"argv": ["id"]}]
    assert await runs.run(origin=Origin(by="automation", via="schedule")) == [{"argv": ["id"]}]
    for origin in (
        Origin(by="model", via="chat"),
        Origin(by="event", via="webhook", trusted=False),
        Origin(by="contact", via="channel"),
        Origin(by="automation", via="schedule", trusted=False),
        Origin(detail=read_from("mail from a stranger").detail),
    ):
        assert await runs.run(origin=origin) == ["asked"], origin
        await runs.answer("denied")
    world.rules = rules(("operation == execute", "deny"))
    task = await runs.start()
    assert (await runs.engine.done(task.task_id)).error.kind == "refused"
