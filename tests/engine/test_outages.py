"""A database that is away ends nothing: every loop outlives it. Damage ends the house, whichever loop meets it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conftest import CONFIG, Engine
from tests.damage import Remote, spoil

from tawny.app import open_app, open_gateway
from tawny.clock import MINUTE, SECOND
from tawny.config import Home
from tawny.domain.automations import On
from tawny.domain.tasks import Status
from tawny.engine import automations as orders
from tawny.engine.watches import Watches
from tawny.errors import StorageError
from tawny.ledger import automations, endings, events, inbox
from tawny.ledger.database import EVERYTHING
from tawny.sources.listening.host import Desk, Event, Listening
from tawny.testing import FakeClock


@asynccontextmanager
async def house(home: Home, clock: FakeClock, disk: Remote) -> AsyncGenerator[Engine]:
    """The whole always-on process but for its socket."""
    async with open_app(home, CONFIG, clock=clock, store=disk) as app, open_gateway(app):
        yield Engine(app, clock)


@pytest.fixture
def disk(home: Home) -> Remote:
    return Remote(home.database)


async def add(engine: Engine, document: dict[str, Any]) -> str:
    added = await engine.ledger.write(
        lambda tx: orders.add(tx, document, kinds=engine.app.kinds, timezone="UTC")
    )
    return added.automation_id


async def away(engine: Engine, disk: Remote) -> None:
    """The database goes, everybody looks (what is due by then, too), and finds nothing, twice."""
    disk.is_away = True
    for _ in range(2):
        engine.ledger.bell.ring([EVERYTHING])
        await settled(engine)
        engine.clock.pass_to(engine.clock.now() + MINUTE)
        await settled(engine)


async def settled(engine: Engine) -> None:
    for _ in range(5):
        await engine.clock.settle()
        while engine.ledger.unanswered:
            await asyncio.sleep(0.001)


async def back(engine: Engine, disk: Remote) -> None:
    disk.is_away = False
    for _ in range(10):
        engine.clock.pass_to(engine.clock.now() + SECOND)
        await settled(engine)


async def test_every_loop_outlives_an_outage_and_does_what_came_due_meanwhile(home, clock, disk, caplog):
    caplog.set_level(logging.WARNING)
    (home.workspace / "watched.txt").write_text("one")
    async with house(home, clock, disk) as engine:
        later = await engine.submit("remind", params={"text": "late"}, not_before="90s")
        action = {"type": "remind", "parameters": {"text": "x"}}
        every = await add(
            engine,
            {
                "name": "e",
                "type": "scheduled",
                "schedule": {"type": "every", "interval": "90s"},
                "action": action,
            },
        )
        watch = {"probe": {"type": "file", "path": "watched.txt"}, "every": "90s", "condition": "changed"}
        watching = await add(engine, {"name": "w", "type": "continuous", "watch": watch, "action": action})
        await settled(engine)
        for _ in range(2):  # the first look is the one that later ones compare with
            engine.clock.pass_to(engine.clock.now() + MINUTE)
            await settled(engine)
        (home.workspace / "watched.txt").write_text("two and more")

        await away(engine, disk)
        assert "waits for the database" in caplog.text
        with pytest.raises(StorageError, match="does not answer"):
            await engine.submit("remind", params={"text": "refused"})
        await back(engine, disk)

        assert (await engine.task(later.task_id)).status is Status.SUCCEEDED
        engine.clock.pass_to(engine.clock.now() + 2 * MINUTE)
        await settled(engine)
        for automation_id in (every, watching):
            found = await engine.ledger.read(lambda tx, a=automation_id: automations.get(tx, a))
            assert found.last_run is not None, found.name
        seen = await engine.ledger.read(lambda tx: events.after(tx, 0, limit=500))
        assert "task.succeeded" in {event.type for event in seen}
    # Nobody was started again from nothing, but for those who hold nothing in memory worth keeping.
    again = {record.facts["part"] for record in caplog.records if "begins again" in record.getMessage()}
    assert again <= {"Live", "gateway-feed", "gateway-keyring", "gateway-push", "gateway-config"}


TOPICS = (
    "queue",
    "timers",
    "approvals",
    endings.SETTLE_TOPIC,
    "intents",
    "outbox",
    automations.TOPIC,
    inbox.TOPIC,
)
TOPICS += (automations.SOURCES_TOPIC, "events", "credentials", "push")


@pytest.mark.parametrize("topic", TOPICS)
async def test_damage_ends_the_house_whoever_meets_it(home, clock, disk, topic):
    """No loop can swallow it: here only those look who wait for one topic."""
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the damage happens while it is open
        async with house(home, clock, disk) as engine:
            for _ in range(20):
                await engine.submit("remind", params={"text": "x" * 3000}, not_before="1h")
            await settled(engine)
            spoil(home.database)
            async with asyncio.timeout(20):
                while True:
                    engine.ledger.bell.ring([topic])
                    await asyncio.sleep(0.01)
    found = caught.value.split(StorageError)
    assert found[1] is None
    assert found[0] is not None
    assert "backup restore" in repr([error.hint for error in flat(found[0])])


def flat(group: BaseExceptionGroup[Any]) -> list[StorageError]:
    return [
        error
        for entry in group.exceptions
        for error in (flat(entry) if isinstance(entry, BaseExceptionGroup) else [entry])
    ]


async def test_what_a_watch_saw_is_written_when_the_database_is_back(home, clock, disk):
    async with house(home, clock, disk) as engine:
        watch = {"probe": {"type": "file", "path": "x"}, "every": "6h", "condition": "value == 5"}
        action = {"type": "remind", "parameters": {"text": "x"}}
        await add(engine, {"name": "w", "type": "continuous", "watch": watch, "action": action})
        (automation,) = await engine.ledger.read(automations.watching)

        async def five(_automation: object, _wanted: object) -> int:
            disk.is_away = True  # it goes while the probe is on its way
            return 5

        async with asyncio.TaskGroup() as group:
            look = group.create_task(Watches(engine.ledger, clock, five).look(automation))
            await settled(engine)
            assert not look.done()
            await back(engine, disk)
            await look
        found = await engine.ledger.read(lambda tx: automations.get(tx, automation.automation_id))
        assert found.last_run is not None


async def test_what_a_source_says_while_the_database_is_away_is_heard_again(home, clock, disk):
    heard: list[int] = []

    async def listen(on: On, desk: Desk) -> None:
        heard.append(desk.failures)
        disk.is_away = len(heard) < 5
        await desk.take([Event(event_id="only", data={"n": 1})])
        await asyncio.Event().wait()

    async with house(home, clock, disk) as engine, asyncio.TaskGroup() as group:
        action = {"type": "remind", "parameters": {"text": "x"}}
        await add(engine, {"name": "m", "type": "event", "on": {"source": "webhook"}, "action": action})
        running = group.create_task(Listening(engine.ledger, clock, {"webhook": listen}).run())
        async with asyncio.timeout(20):
            while len(heard) < 5:
                disk.is_away = False
                engine.clock.pass_to(engine.clock.now() + SECOND)
                await settled(engine)
        running.cancel()
        state = await engine.ledger.read(lambda tx: tx.all("SELECT failures FROM event_sources"))
        assert heard == [0] * 5
        assert [row["failures"] for row in state] == [0]
