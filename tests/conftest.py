"""Real parts: SQLite in a temporary file, the real engine, a clock under the test's hand."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import servers
from homeserver import Homeserver, in_a_folder
from tawny import app
from tawny.app import App, open_app
from tawny.clock import SystemClock
from tawny.config import Config, Home, Limits
from tawny.domain.tasks import Status, Task
from tawny.engine.kinds import Kind
from tawny.engine.submit import parse_request
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.stores import open_store
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get
from tawny.testing import FakeClock


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own: the URL of its maintenance database."""
    with servers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def homeserver() -> Iterator[Homeserver]:
    """A Matrix server of our own; its start costs several seconds of a processor, so there is one for all."""
    with in_a_folder() as made:
        yield made


LIMITS = Limits(concurrency=8, max_running_per_owner=8, busy_load=0)
CONFIG = Config(limits=LIMITS)


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without a sandbox the tests that are not about it still read: as `parsers = "unconfined"` does."""
    if shutil.which("bwrap") is None:
        monkeypatch.setattr(app, "parsers_of", lambda *_: None)


@pytest.fixture
def config() -> Config:
    """The configuration of the engine; the suites of ledger and engine run it on both databases."""
    return CONFIG


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
async def ledger(home: Home, config: Config, clock: FakeClock) -> AsyncGenerator[Ledger]:
    store = open_store(home, config)
    migrate(store, clock)
    async with Ledger(store, clock) as ledger:
        yield ledger


class Watched:
    """A world outside whose changes a test waits for; who changes it sets `changed`."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


class Engine:
    """An open app with what tests do all the time."""

    def __init__(self, app: App, clock: FakeClock | SystemClock) -> None:
        self.app = app
        self.ledger = app.ledger
        self.clock = clock

    async def submit(self, kind: str, **body: Any) -> Task:
        submission = parse_request({"kind": kind, **body}, kinds=self.app.kinds, now=self.clock.now())
        return await self.ledger.write(lambda tx: submit(tx, submission, limits=self.app.limits))

    async def task(self, task_id: str) -> Task:
        return await self.ledger.read(lambda tx: get(tx, task_id))

    async def until(self, task_id: str, *statuses: Status, deadline: float = 10.0) -> Task:
        """Wait, in real time but without guessing, until the task has one of the statuses."""
        changed = self.ledger.bell.subscribe("events")
        async with asyncio.timeout(deadline):
            while (task := await self.task(task_id)).status not in statuses:
                await changed.wait()
                changed.clear()
        return task

    async def play(self, task_id: str, *, deadline: float = 20.0) -> Task:
        """Move the clock from due time to due time until the task has ended."""
        assert isinstance(self.clock, FakeClock)
        async with asyncio.timeout(deadline):
            while not (task := await self.task(task_id)).status.is_terminal:
                await self.clock.settle()
                due = self.clock.next_due()
                if due is not None and await self.task(task_id) == task:
                    self.clock.pass_to(due)
        return task

    async def done(self, task_id: str, *, deadline: float = 10.0) -> Task:
        return await self.until(
            task_id,
            Status.SUCCEEDED,
            Status.FAILED,
            Status.TIMED_OUT,
            Status.CANCELLED,
            Status.LOST,
            deadline=deadline,
        )


@pytest.fixture
def kinds() -> dict[str, Kind]:
    """More kinds for the engine; a test module overrides this."""
    return {}


@pytest.fixture
async def engine(
    home: Home, config: Config, clock: FakeClock, kinds: dict[str, Kind]
) -> AsyncGenerator[Engine]:
    """The real engine on a clock that stands still until it is moved."""
    async with open_app(home, config, clock=clock, kinds=kinds) as app:
        yield Engine(app, clock)


@pytest.fixture
async def live(home: Home, config: Config, kinds: dict[str, Kind]) -> AsyncGenerator[Engine]:
    """The real engine on the machine's clock."""
    async with open_app(home, config, kinds=kinds) as app:
        yield Engine(app, SystemClock())


class Crash(Exception):
    """Leaves an engine as a killed process would: nothing is released, nothing is told."""


OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def open_engine(home: Home, config: Config, clock: FakeClock, kinds: dict[str, Kind]) -> OpenEngine:
    """Opens the engine on the same home, again and again; raising `Crash` inside leaves it as a kill would."""

    @asynccontextmanager
    async def opened(changed: Config | None = None) -> AsyncGenerator[Engine]:
        try:
            async with open_app(home, changed or config, clock=clock, kinds=kinds) as app:
                yield Engine(app, clock)
        except BaseExceptionGroup as group:
            _, rest = group.split(Crash)
            if rest is not None:
                raise
        except Crash:
            return

    return opened
