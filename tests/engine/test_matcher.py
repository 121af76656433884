"""Events from outside: each starts its work once, whatever is sent again and whenever the process dies."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from tests.engine.test_scheduler import CONFIG, House, alerts

from tawny.app import App, open_app
from tawny.clock import HOUR, MINUTE, SECOND
from tawny.config import Home
from tawny.domain.selection import topic_fits
from tawny.domain.tasks import Status, Submission, Task
from tawny.engine import automations as orders
from tawny.engine import hooks
from tawny.engine.kinds import Context, Kind
from tawny.errors import Conflict, NotFound, Refused
from tawny.ledger import inbox, occurrences, tasks
from tawny.ledger.database import write_now
from tawny.ledger.submission import submit
from tawny.testing import FakeClock

MAIL = {"sender": "boss@example.org", "subject": "Invoice 7", "mailbox": "INBOX"}


def on(source: str, text: str = "{{ subject }} from {{ sender }}", *, policy: Any = None, **more: Any) -> Any:
    action = {"type": "remind", "parameters": {"text": text}}
    return {"name": "It", "on": {"source": source, **more}, "action": action, "policy": policy or {}}


@pytest.fixture
async def house(home: Home, clock: FakeClock) -> Any:
    async with House(home, clock) as house:
        yield house


async def send(house: House, source: str, event_id: str, data: dict[str, Any], **more: Any) -> bool:
    new = await house.app.ledger.write(lambda tx: inbox.accept(tx, source, event_id, data, **more))
    await house.settled()
    return new


async def made(house: House) -> list[Any]:
    page = await house.app.ledger.read(lambda tx: tasks.page(tx))
    return list(reversed(page.items))


async def test_an_event_starts_the_work_with_what_it_brought(house: House) -> None:
    automation = await house.add(on("email", filter='contains(lower(subject), "invoice")'))
    assert automation.spec.type == "event"
    assert await send(house, "email", "1", MAIL)
    assert await send(house, "email", "2", {**MAIL, "subject": "Lunch?"})
    (task,) = await made(house)
    assert task.params == {"text": "Invoice 7 from boss@example.org"}
    assert (task.origin.by, task.origin.trusted, task.status) == ("event", False, Status.SUCCEEDED)
    assert task.origin.detail["words"] == []
    assert [o.status for o in await house.slots(automation)] == ["ran"]


async def test_redelivered_three_times_across_a_restart_is_one_task(house: House) -> None:
    await house.add(on("email"))
    assert await send(house, "email", "m1", MAIL)
    assert not await send(house, "email", "m1", MAIL)
    await house.stop()
    await house.start()
    assert not await send(house, "email", "m1", MAIL)
    assert len(await made(house)) == 1


async def test_what_was_stored_before_the_process_died_is_matched_after_it(
    home: Home, clock: FakeClock
) -> None:
    async with House(home, clock) as house:
        await house.add(on("email"))
        store = house.app.ledger.store
    # as a door that died right after acknowledging: stored, not yet matched
    write_now(store, clock, lambda tx: inbox.accept(tx, "email", "m1", MAIL))
    async with House(home, clock) as again:
        await again.settled()
        assert len(await made(again)) == 1


async def test_several_events_at_once_each_run(house: House) -> None:
    automation = await house.add(on("email"))

    def three(tx: Any) -> None:
        for number in range(3):
            inbox.accept(tx, "email", f"m{number}", {**MAIL, "subject": f"S{number}"})

    await house.app.ledger.write(three)
    await house.settled()
    assert [task.params["text"][:2] for task in await made(house)] == ["S0", "S1", "S2"]
    assert len({o.slot for o in await house.slots(automation)}) == 3


async def test_a_filter_that_fails_alerts_once_and_stops_nothing_else(house: House) -> None:
    await house.add(on("email", filter="size > 10"))
    fine = await house.add({**on("email"), "name": "Fine"})
    for number in range(3):
        await send(house, "email", f"m{number}", {**MAIL, "size": "big"})
    assert len([line for line in await alerts(house) if line.status != "suppressed"]) == 1
    assert len(await house.slots(fine)) == 3


async def test_a_stale_event_is_dropped_and_said_so(house: House) -> None:
    automation = await house.add(on("email", policy={"max_age": "12h"}))
    await send(house, "email", "old", MAIL, time=house.clock.now() - 17 * HOUR)
    (only,) = await house.slots(automation)
    assert (only.status, only.task_id) == ("skipped", None)
    assert "17h old" in only.reason


async def test_senders_are_compared_by_address(house: House) -> None:
    await house.add(on("email", senders=["boss@example.org", "@trusted.example"]))
    await send(house, "email", "1", {**MAIL, "sender": "Boss@Example.org"})
    await send(house, "email", "2", {**MAIL, "sender": "x@trusted.example"})
    await send(
        house, "email", "3", {**MAIL, "sender": "evil@other.example", "sender_name": "boss@example.org"}
    )
    assert len(await made(house)) == 2


async def test_the_end_of_a_task_is_an_event(house: House) -> None:
    first = await house.add({"name": "First", "schedule": {"type": "after", "delay": "1m"},
                             "action": {"type": "remind", "parameters": {"text": "one"}}})  # fmt: skip
    await house.add(on("task", "{{ title }} {{ status }}", automation="First", status=["succeeded"]))
    await house.pass_time("2m")
    assert [task.params["text"] for task in await made(house)] == ["one", "First succeeded"]
    assert (await house.get(first)).status == "completed"


async def test_an_automation_does_not_set_itself_going(house: House) -> None:
    await house.add(on("task", "again"))
    await house.app.ledger.write(lambda tx: submit(tx, Submission(kind="remind", params={"text": "x"})))
    await house.settled()
    await house.pass_time("1h")
    assert len(await made(house)) == 2


class Nothing(msgspec.Struct, frozen=True):
    pass


async def _until(app: App, task_id: str, status: Status) -> Task:
    changed = app.ledger.bell.subscribe("events")
    async with asyncio.timeout(20):
        while (task := await app.ledger.read(lambda tx: tasks.get(tx, task_id))).status is not status:
            await changed.wait()
            changed.clear()
    return task


async def test_a_task_waits_for_its_event_over_a_restart(home: Home, clock: FakeClock) -> None:
    async def run(ctx: Context, _: Nothing) -> str:
        data = await ctx.wait_event("reply", "email", filter='subject == "yes"')
        return f"got {data['subject']}"

    kinds = {"waits": Kind(name="waits", params=Nothing, run=run)}
    async with open_app(home, CONFIG, clock=clock, kinds=kinds) as app:
        task = await app.ledger.write(lambda tx: submit(tx, Submission(kind="waits")))
        await _until(app, task.task_id, Status.WAITING)
    async with open_app(home, CONFIG, clock=clock, kinds=kinds) as app:
        for number, subject in enumerate(["no", "yes"]):
            await app.ledger.write(
                lambda tx, n=number, s=subject: inbox.accept(tx, "email", f"{n}", {"subject": s})
            )
        now = await _until(app, task.task_id, Status.SUCCEEDED)
        assert now.result == {"text": "got yes"}


async def test_test_on_the_last_event(house: House) -> None:
    automation = await house.add(on("email", filter="false"))
    with pytest.raises(Conflict, match="no event"):
        await house.app.ledger.write(lambda tx: orders.run_now(tx, "It", last_event=True))
    await send(house, "email", "m1", MAIL)
    await house.app.ledger.write(lambda tx: orders.run_now(tx, "It", last_event=True))
    (task,) = await made(house)
    assert task.params["text"] == "Invoice 7 from boss@example.org"
    assert (await house.slots(automation))[0].reason.startswith("by hand")
    assert (task.origin.by, task.origin.trusted, task.origin.detail["words"]) == ("event", False, [])


async def test_the_last_event_is_one_from_where_it_listens(house: House) -> None:
    for name in ("mine", "other"):
        hook = on("webhook", "it is {{ n }}", name=name, scheme="token", secret="env:HOOK")
        await house.add({**hook, "name": name})
    await send(house, "webhook", "other:1", {"hook": "other", "n": 1})
    with pytest.raises(Conflict, match="no event"):
        await house.app.ledger.write(lambda tx: orders.run_now(tx, "mine", last_event=True))
    await send(house, "webhook", "mine:1", {"hook": "mine", "n": 2})
    for n in range(101):
        await house.app.ledger.write(
            lambda tx, n=n: inbox.accept(tx, "webhook", f"far:{n}", {"hook": "far", "n": n})
        )
    await house.settled()
    task = await house.app.ledger.write(lambda tx: orders.run_now(tx, "mine", last_event=True))
    assert task.params == {"text": "it is 2"}


# --- /hooks/{name}

BODY = json.dumps({"id": "evt_9", "action": "opened", "number": 3}).encode()


def signed(secret: bytes = b"s3cret") -> dict[str, str]:
    digest = hmac.new(secret, BODY, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "x-github-delivery": "d1", "x-github-event": "issues"}


async def receive(house: House, name: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = await house.app.ledger.write(
        lambda tx: hooks.receive(tx, name, headers=headers, body=BODY, secret=lambda _: "s3cret")
    )
    await house.settled()
    return answer


async def test_a_signed_webhook_starts_its_work_once(house: House) -> None:
    document = on("webhook", "{{ action }} #{{ number }}", name="issues", scheme="github", secret="env:HOOK")
    document["on"]["filter"] = 'headers["x-github-event"] == "issues"'
    await house.add(document)
    other = on("webhook", "not me", name="else", scheme="github", secret="env:HOOK")
    await house.add({**other, "name": "Other"})
    assert await receive(house, "issues", signed()) == {"accepted": True, "duplicate": False}
    assert await receive(house, "issues", signed()) == {"accepted": True, "duplicate": True}
    assert [task.params["text"] for task in await made(house)] == ["opened #3"]


async def test_the_same_body_a_day_later_is_another_event(house: House) -> None:
    """Also where it has an `id`: in a stranger's body that may name a device."""
    await house.add(on("webhook", "it rang", name="bell", scheme="token", secret="env:HOOK"))
    token = {"x-webhook-token": "s3cret"}
    assert await receive(house, "bell", token) == {"accepted": True, "duplicate": False}
    assert await receive(house, "bell", token) == {"accepted": True, "duplicate": True}
    await house.pass_time("24h")
    assert await receive(house, "bell", token) == {"accepted": True, "duplicate": False}
    named = {**token, "idempotency-key": "k1"}
    assert (await receive(house, "bell", named))["duplicate"] is False
    await house.pass_time("24h")
    assert (await receive(house, "bell", named))["duplicate"] is True


async def test_stripes_events_count_by_their_id_however_late_they_are_sent_again(house: House) -> None:
    await house.add(on("webhook", "paid", name="till", scheme="stripe", secret="env:HOOK"))
    found: list[bool] = []
    for _ in range(2):
        stamp = str(house.clock.now() // SECOND)
        mark = hmac.new(b"s3cret", f"{stamp}.".encode() + BODY, hashlib.sha256).hexdigest()
        found.append(
            (await receive(house, "till", {"stripe-signature": f"t={stamp},v1={mark}"}))["duplicate"]
        )
        await house.pass_time("1h")
    assert found == [False, True]


async def test_an_unsigned_webhook_is_refused_and_leaves_nothing(house: House) -> None:
    await house.add(on("webhook", "x", name="issues", scheme="github", secret="env:HOOK"))
    for headers in ({}, signed(b"wrong")):
        with pytest.raises(Refused):
            await receive(house, "issues", headers)
    with pytest.raises(NotFound):
        await receive(house, "nowhere", signed())
    assert (await house.app.ledger.read(lambda tx: inbox.page(tx))).items == []


async def test_a_ping_address_keeps_an_expectation_quiet(house: House) -> None:
    automation = await house.add({"name": "Backup", "expect": {"every": "1h", "grace": "5m"}})
    assert automation.hook is not None
    for _ in range(5):
        await house.pass_time("55m")
        await receive(house, automation.hook, {})
    assert await alerts(house) == []
    await house.pass_time("70m")
    assert len(await alerts(house)) == 1


async def test_events_are_known_again_for_thirty_days_and_forgotten_after(house: House) -> None:
    start = house.clock.now()
    await send(house, "email", "m1", MAIL)
    house.clock.set(start + 29 * 24 * HOUR)
    await send(house, "email", "other", MAIL)  # with what is new the old is forgotten
    await send(house, "email", "m1", MAIL)  # redelivered: no second event
    page = await house.app.ledger.read(lambda tx: inbox.page(tx))
    assert [event.received_at for event in page.items if event.event_id == "m1"] == [start]
    house.clock.set(start + 31 * 24 * HOUR)
    await send(house, "email", "m2", MAIL)
    page = await house.app.ledger.read(lambda tx: inbox.page(tx))
    assert [event.event_id for event in page.items] == ["m2", "other"]


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("a/b", "a/b", True), ("a/+", "a/b", True), ("a/+", "a/b/c", False), ("a/#", "a/b/c", True),
        ("a/#", "a", True), ("#", "$SYS/x", False), ("a/b", "a/c", False), ("+/b", "a/b", True),
    ],
)  # fmt: skip
def test_mqtt_topics_fit_as_the_standard_says(pattern: str, topic: str, fits: bool) -> None:
    assert topic_fits(pattern, topic) is fits


async def test_event_rows_are_occurrences_too(house: House) -> None:
    automation = await house.add(on("email"))
    await send(house, "email", "m1", MAIL)
    page = await house.app.ledger.read(lambda tx: occurrences.page(tx, automation.automation_id))
    assert page.items[0].outcome == "succeeded"
    assert house.clock.now() - page.items[0].slot < MINUTE
