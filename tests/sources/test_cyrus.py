"""Mail by IDLE from a Cyrus, which tells of it in another way than Dovecot, and numbers made anew."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cyrus import Cyrus, cyrus
from tests.sources.test_listening import Noting, add, document, events, message, ready, until

from tawny.app import open_app, open_shelf
from tawny.config import Config, Home, Source, Sources
from tawny.domain.automations import On
from tawny.errors import PermanentError, TemporaryError
from tawny.ledger import inbox
from tawny.sources.listening.imap import Connection


@pytest.fixture(scope="module")
def server() -> Iterator[Cyrus]:
    with cyrus() as running:
        yield running


@pytest.fixture
def config(server: Cyrus, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("MAIL_PASSWORD", "pw")
    return Config(sources=Sources(mail=(Source(name="home", url=server.url, password="env:MAIL_PASSWORD"),)))


def subjects(tx: Any) -> list[str]:
    return [str(event.data["subject"]) for event in events(tx, "email")]


@pytest.mark.timeout(90)
async def test_mail_comes_by_idle_once_each_also_what_came_while_nobody_listened(
    home: Home, server: Cyrus, config: Config
) -> None:
    server.append(message(1))
    async with open_app(home, config) as app:
        await add(app, document("email", senders=["boss@example.org"]))
        await ready(app, "email")
        for number in (2, 3, 4):
            await asyncio.to_thread(server.append, message(number))
            await until(app, lambda tx, n=number: len(subjects(tx)) == n - 1, seconds=30)
    server.append(message(5))
    async with open_app(home, config) as app:
        found = await until(app, lambda tx: len(s := subjects(tx)) == 4 and s, seconds=30)
        assert found == ["Invoice 2", "Invoice 3", "Invoice 4", "Invoice 5"]
        tasks = await app.ledger.read(lambda tx: [bool(event.tasks) for event in events(tx, "email")])
        assert tasks[:3] == [True] * 3


@pytest.mark.timeout(90)
async def test_idle_alone_tells_of_each_mail_in_one_connection(
    home: Home, server: Cyrus, config: Config
) -> None:
    async with open_app(home, config) as app, asyncio.timeout(60):
        shelf = open_shelf(home, config)
        state = await app.ledger.read(lambda tx: inbox.source_state(tx, "email:key"))
        desk = Noting(app.ledger, app.clock, "email", "email:key", state)
        # without the second look, which would find by and by what IDLE has missed
        line = Connection(On(source="email"), desk, shelf, shelf.place("mail", "home"), settle=1500)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(line.run())
            await desk.changed.wait()
            for number in (1, 2, 3):
                desk.changed.clear()
                await asyncio.to_thread(server.append, message(number))
                while len(desk.heard) < number:
                    await desk.changed.wait()
                    desk.changed.clear()
            listening.cancel()
        await shelf.close()
    assert desk.heard == ["Invoice 1", "Invoice 2", "Invoice 3"]


@pytest.mark.timeout(90)
async def test_a_folder_made_anew_is_a_first_look_again(home: Home, server: Cyrus, config: Config) -> None:
    folder = "INBOX.Bills"
    server.make_anew(folder)
    before = server.validity(folder)
    async with open_app(home, config) as app:
        await add(app, document("email", mailbox=folder))
        await ready(app, "email")
        await asyncio.to_thread(server.append, message(1), mailbox=folder)
        await until(app, lambda tx: subjects(tx) == ["Invoice 1"], seconds=30)
    server.make_anew(folder)
    server.append(message(2), mailbox=folder)  # it has the number that the first one had
    async with open_app(home, config) as app:
        await until(app, lambda tx: _validity(tx) != before, seconds=30)
        await asyncio.to_thread(server.append, message(3), mailbox=folder)
        found = await until(app, lambda tx: len(s := subjects(tx)) == 2 and s, seconds=30)
        assert found == ["Invoice 1", "Invoice 3"]


@pytest.mark.timeout(90)
async def test_a_folder_made_anew_under_the_listener_is_noticed(
    home: Home, server: Cyrus, config: Config
) -> None:
    """The server says nothing, and what comes to the new folder would never be heard."""
    folder = "INBOX.Alarms"
    server.make_anew(folder)
    async with open_app(home, config) as app, asyncio.timeout(60):
        shelf = open_shelf(home, config)
        state = await app.ledger.read(lambda tx: inbox.source_state(tx, "email:key"))
        desk = Noting(app.ledger, app.clock, "email", "email:key", state)
        place = On(source="email", mailbox=folder)
        line = Connection(place, desk, shelf, shelf.place("mail", "home"), settle=0.2, renew=0.2)
        listening = asyncio.create_task(line.run())
        await desk.changed.wait()
        await asyncio.to_thread(server.append, message(1), mailbox=folder)
        while not desk.heard:
            desk.changed.clear()
            await desk.changed.wait()
        assert not listening.done()
        await asyncio.to_thread(server.make_anew, folder)
        # between its end and its beginning the folder is not there at all
        with pytest.raises((TemporaryError, PermanentError), match=r"was made anew|does not exist"):
            await listening
        await shelf.close()


def _validity(tx: Any) -> int:
    (state,) = inbox.source_states(tx)
    return int(state.cursor["validity"])
