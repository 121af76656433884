"""Keeps a listener running for every place that an active automation listens to, over failures and restarts.

Two automations on the same place share one listener. A place that stops answering is told to the person, once.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from tawny.clock import MINUTE, SECOND, Clock, Instant, sleep
from tawny.domain.automations import On
from tawny.domain.tasks import Json
from tawny.engine import firing
from tawny.errors import StorageError, TawnyError
from tawny.ledger import automations, inbox, outbox
from tawny.ledger.automations import Automation
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import outlast, rounds
from tawny.log import Log

T = TypeVar("T")
_log = Log("sources.listening")
TOLD_AFTER = 3
_LONGEST = 5 * MINUTE
_FIELDS = ("source", "account", "mailbox", "path", "url", "topic", "before", "argv", "every")
"""What tells one place from another; filters, senders and the like are the automations' own."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something heard. `event_id` is unique within the source for good; `time` is when it happened."""

    event_id: str
    data: dict[str, Json]
    time: Instant | None = None


class Desk:
    """A listener's side of the house: where it left off, and where it puts what it hears."""

    def __init__(self, ledger: Ledger, clock: Clock, source: str, key: str, state: inbox.SourceState) -> None:
        self._ledger = ledger
        self.clock = clock
        self._source = source
        self._key = key
        self.cursor = state.cursor
        self.failures = state.failures

    async def take(self, events: list[Event], cursor: Mapping[str, Json] | None = None) -> None:
        """Store events and where the source stands, in one commit: only then may they be acknowledged."""
        kept = dict(self.cursor if cursor is None else cursor)
        if not events and kept == self.cursor and not self.failures:
            return
        recovered = self.failures >= TOLD_AFTER

        def store(tx: Tx) -> None:
            for event in events:
                inbox.accept(tx, self._source, event.event_id, event.data, time=event.time)
            inbox.keep_source(tx, self._key, cursor=kept)
            if recovered:
                for automation in _listeners(tx, self._key):
                    outbox.close_incident(tx, f"automation:{automation.automation_id}:source")

        await self._ledger.write(store)
        self.cursor, self.failures = kept, 0


Listener = Callable[[On, Desk], Awaitable[None]]
"""Listens at one place until it fails (raising) or has nothing more to hear (returning)."""


def key_of(on: On) -> str:
    """The name of a place."""
    fields: dict[str, Any] = {name: msgspec.to_builtins(getattr(on, name)) for name in _FIELDS}
    return f"{on.source}:{hashlib.sha256(msgspec.json.encode(fields)).hexdigest()[:16]}"


def _listeners(tx: Tx, key: str) -> list[Automation]:
    return [
        automation
        for automation in automations.of_source(tx, key.partition(":")[0])
        if automation.spec.on is not None and key_of(automation.spec.on) == key
    ]


class Listening:
    """Runs the listeners that are wanted."""

    def __init__(self, ledger: Ledger, clock: Clock, listeners: Mapping[str, Listener]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._listeners = listeners
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: set[str] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        changed = self._ledger.bell.subscribe(automations.SOURCES_TOPIC)
        async with asyncio.TaskGroup() as group:
            await rounds(self._clock, changed, lambda: self._follow(group), name="listening")

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Start and end listeners as the automations want them."""
        wanted = await self._ledger.read(self._wanted)
        for key in self._running.keys() - wanted.keys():
            self._running.pop(key).cancel()
        self._ended &= wanted.keys()
        for key in wanted.keys() - self._running.keys() - self._ended:
            self._running[key] = group.create_task(self._keep(key, wanted[key]), name=key)

    @property
    def places(self) -> set[str]:
        """The places that are listened to now."""
        return set(self._running)

    def _wanted(self, tx: Tx) -> dict[str, On]:
        found: dict[str, On] = {}
        for source in self._listeners:
            for automation in automations.of_source(tx, source):
                if automation.spec.on is not None:
                    found.setdefault(key_of(automation.spec.on), automation.spec.on)
        return found

    async def _keep(self, key: str, on: On) -> None:
        """Listen, and again after every failure, ever more patiently."""
        while True:
            state = await self._outlast(lambda: self._ledger.read(lambda tx: inbox.source_state(tx, key)))
            desk = Desk(self._ledger, self._clock, on.source, key, state)
            try:
                await self._listeners[on.source](on, desk)
            except StorageError as error:
                # Not the place has failed: what it said is heard again once it can be kept.
                _log.warning("what a source says waits for the disk", source=key, error=error.message)
                await sleep(self._clock, 1)
                continue
            except TawnyError as error:
                problem = error.message
            except Exception as error:  # noqa: BLE001 - a stranger's server or library; the failure is recorded
                _log.warning("a source failed", source=key, error=f"{type(error).__name__}: {error}")
                problem = f"{type(error).__name__}: {error}"
            else:
                self._running.pop(key, None)
                self._ended.add(key)
                return
            failures = desk.failures + 1
            await self._outlast(
                lambda d=desk, n=failures, p=problem: self._ledger.write(
                    lambda tx: _failed(tx, key, d.cursor, n, p)
                )
            )
            wait = min(SECOND * 2 ** min(failures, 9), _LONGEST)
            await self._clock.sleep_until(self._clock.now() + wait)

    async def _outlast(self, work: Callable[[], Awaitable[T]]) -> T:
        return await outlast(self._clock, work, name="listening")


def _failed(tx: Tx, key: str, cursor: dict[str, Json], failures: int, problem: str) -> None:
    inbox.keep_source(tx, key, cursor=cursor, failures=failures, error=problem)
    if failures == TOLD_AFTER:
        for automation in _listeners(tx, key):
            text = f"its source does not answer, {failures} times in a row: {problem}"
            firing.alert(tx, automation, text, cause="source")
