"""The event log as it happens, for every device: one reader of the ledger, any number of devices at their own pace.

A device is a place in the log and nothing more. What is new is read once, kept as bytes in a window, and sent to
all; who falls behind the window reads on from the ledger, so nothing is lost, repeated, or held in memory for the slow.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tawny.clock import Clock, iso
from tawny.ledger import events
from tawny.ledger.database import Ledger
from tawny.ledger.events import Event

TICK = 0.02
_WINDOW = 4096
_PAGE = 500
_LIVE = 2048
HEARTBEAT = 15.0
_encode = msgspec.json.Encoder().encode


class Frame(msgspec.Struct, frozen=True):
    """One event ready to be sent: its type and task for filtering, its document as JSON."""

    seq: int
    type: str
    task_id: str | None
    json: bytes

    @property
    def sse(self) -> bytes:
        """As a server-sent event; one with `seq` 0 is live only and has no id.

        The type stands in the document: an `event:` line would keep it from browsers' `onmessage`.
        """
        head = b"id: %d\n" % self.seq if self.seq else b""
        return head + b"data: %s\n\n" % self.json

    @property
    def socket(self) -> bytes:
        """As a frame of the WebSocket."""
        seq = b"%d" % self.seq if self.seq else b"null"
        return b'{"type":"event","event":"%s","payload":%s,"seq":%s}' % (self.type.encode(), self.json, seq)


def frame(event: Event) -> Frame:
    return Frame(event.seq, event.type, event.task_id, _encode(event.document()))


class Filter(msgspec.Struct, frozen=True):
    """What a device wants: `task` or `task.progress` and the like, all where empty; one task, or all."""

    topics: frozenset[str] = frozenset()
    task_id: str | None = None

    def wants(self, frame: Frame) -> bool:
        if self.task_id is not None and frame.task_id != self.task_id:
            return False
        if not self.topics or frame.type.startswith("system."):
            return True
        return frame.type in self.topics or frame.type.split(".", 1)[0] in self.topics


def filter_of(topics: str, task_id: str | None = None) -> Filter:
    """The filter for `topics=task,approval.answered`; `task.*` is accepted for `task`."""
    names = (name.strip().removesuffix(".*") for name in topics.split(","))
    return Filter(frozenset(name for name in names if name), task_id or None)


class Feed:
    """Reads the log once for all devices."""

    def __init__(self, ledger: Ledger, clock: Clock, *, tick: float = TICK, window: int = _WINDOW) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tick = tick
        self._window: deque[Frame] = deque(maxlen=window)
        self._live: deque[Frame] = deque(maxlen=_LIVE)
        self._live_count = 0
        self._batches: dict[tuple[int, Filter], bytes] = {}
        self._devices: set[Device] = set()
        self.last_seq = 0
        self.stopped = False

    async def load(self) -> None:
        """Begin where the log ends now."""
        self.last_seq = await self._ledger.read(events.last_seq)

    async def run(self) -> None:
        """Follow the log until cancelled. A burst is sent in lumps, one `tick` apart; the first goes at once."""
        bell = self._ledger.bell.subscribe("events")
        try:
            while True:
                await bell.wait()
                bell.clear()
                while fresh := await self._ledger.read(
                    lambda tx: events.after(tx, self.last_seq, limit=_PAGE)
                ):
                    self._window.extend(frame(event) for event in fresh)
                    self.last_seq = fresh[-1].seq
                    self._announce()
                await asyncio.sleep(self._tick)
        finally:
            self._ledger.bell.unsubscribe(bell)

    def whisper(
        self, type: str, data: dict[str, Any], *, task_id: str | None = None, session: str | None = None
    ) -> None:
        """Send something to whoever listens now, without a place in the log: `message.delta`."""
        document = {
            "seq": None,
            "time": iso(self._clock.now()),
            "type": type,
            "task_id": task_id,
            "session": session,
            "data": data,
        }
        self._live.append(Frame(0, type, task_id, _encode(document)))
        self._live_count += 1
        self._announce()

    @asynccontextmanager
    async def device(self, *, after: int | None, filter: Filter) -> AsyncGenerator["Device"]:
        """A place in the log: after `after`, or at its end."""
        device = Device(self, after=self.last_seq if after is None else after, filter=filter)
        if device.seq > self.last_seq:
            device.lost = device.seq > await self._ledger.read(events.last_seq)
        self._devices.add(device)
        try:
            yield device
        finally:
            self._devices.discard(device)

    @property
    def devices(self) -> int:
        """How many listen now."""
        return len(self._devices)

    def stop(self) -> None:
        """Let every device go, so that the gateway can end."""
        self.stopped = True
        for device in self._devices:
            device.close()

    def _announce(self) -> None:
        self._batches.clear()
        for device in self._devices:
            device.bell.set()

    # What devices ask of the feed.

    def covers(self, seq: int) -> bool:
        """Whether all that follows `seq` is in the window."""
        return seq >= self.last_seq or (bool(self._window) and self._window[0].seq <= seq + 1)

    def recent(self, seq: int) -> list[Frame]:
        """What follows `seq` in the window, oldest first."""
        missing = self.last_seq - seq
        if missing <= 0:
            return []
        window = self._window
        return [window[index] for index in range(len(window) - missing, len(window))]

    async def page(self, seq: int) -> list[Frame] | None:
        """What follows `seq` in the ledger; `None` where the log begins later."""

        def look(tx: Any) -> list[Event]:
            return events.after(tx, seq, limit=_PAGE)

        found = await self._ledger.read(look)
        if found and found[0].seq != seq + 1:
            return None
        return [frame(event) for event in found]

    def live_after(self, count: int) -> list[Frame]:
        missing = min(self._live_count - count, len(self._live))
        return (
            [self._live[index] for index in range(len(self._live) - missing, len(self._live))]
            if missing
            else []
        )

    @property
    def live_count(self) -> int:
        return self._live_count

    def batch(self, seq: int, filter: Filter) -> bytes:
        """The bytes all devices at the same place, with the same wishes, get; made once a lump."""
        known = self._batches.get((seq, filter))
        if known is None:
            known = b"".join(entry.sse for entry in self.recent(seq) if filter.wants(entry))
            self._batches[seq, filter] = known
        return known

    def snapshot(self) -> Frame:
        """What a device gets when the log no longer reaches back to its place: read the lists anew from here."""
        document = {
            "seq": self.last_seq,
            "time": iso(self._clock.now()),
            "type": "system.snapshot",
            "task_id": None,
            "session": None,
            "data": {"seq": self.last_seq, "reason": "the log no longer reaches back that far"},
        }
        return Frame(0, "system.snapshot", None, _encode(document))


class Device:
    """One listener's place in the log."""

    def __init__(self, feed: Feed, *, after: int, filter: Filter) -> None:
        self._feed = feed
        self.seq = after
        self.lost = False
        self.filter = filter
        self._live = feed.live_count
        self.bell = asyncio.Event()
        self.closed = feed.stopped

    def close(self) -> None:
        self.closed = True
        self.bell.set()

    def move(self, after: int | None, filter: Filter) -> None:
        """Go on elsewhere in the log, or with other wishes."""
        self.filter = filter
        if after is not None:
            self.seq = after
        self.bell.set()

    async def frames(self) -> list[Frame]:
        """What is new and wanted; waits for it, one heartbeat at most, and is empty then or when closed."""
        ready = await self._ready()
        if ready is None:
            return []
        live = self._take_live()
        if isinstance(ready, list):
            return live + ready
        fresh = self._feed.recent(self.seq)
        self.seq = max(self.seq, self._feed.last_seq)
        return live + [entry for entry in fresh if self.filter.wants(entry)]

    async def lump(self) -> bytes:
        """The same as server-sent events in one piece of bytes."""
        ready = await self._ready()
        if ready is None:
            return b""
        live = b"".join(entry.sse for entry in self._take_live())
        if isinstance(ready, list):
            return live + b"".join(entry.sse for entry in ready)
        lump = self._feed.batch(self.seq, self.filter)
        self.seq = max(self.seq, self._feed.last_seq)
        return live + lump

    async def _ready(self) -> list[Frame] | bool | None:
        """`True` when the window has what is new, a list when the ledger had to be read, `None` for nothing."""
        feed = self._feed
        while not self.closed:
            self.bell.clear()
            if self.lost or not feed.covers(self.seq):
                page = None if self.lost else await feed.page(self.seq)
                self.lost = False
                if page is None:
                    self.seq = feed.last_seq
                    return [feed.snapshot()]
                if page:
                    self.seq = page[-1].seq
                    return [entry for entry in page if self.filter.wants(entry)]
            elif self.seq < feed.last_seq or self._live < feed.live_count:
                return True
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self.bell.wait()
            except TimeoutError:
                return None
        return None

    def _take_live(self) -> list[Frame]:
        found = [entry for entry in self._feed.live_after(self._live) if self.filter.wants(entry)]
        self._live = self._feed.live_count
        return found
