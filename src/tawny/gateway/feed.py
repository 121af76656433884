"""The event log as it happens, for every device: one reader of the ledger, any number of devices at their own pace.

A device is a place in the log and nothing more. What is new is read once, kept as bytes in a window, and sent to
all. Who comes back with an old place reads on from the ledger, at its own pace; who was up to date and has stopped
reading gets a snapshot once the window has passed it, and goes on from there. Nothing is held in memory for the slow.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
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
_LUMP = 256 * 1024
_BATCHES = 64
HEARTBEAT = 15.0
STALL = 300.0
"""Seconds after which a device that takes nothing at all is cut off. It holds one lump until then."""
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
        """As a frame of the WebSocket, head included: a server masks nothing, so it is the same for all."""
        seq = b"%d" % self.seq if self.seq else b"null"
        text = b'{"type":"event","event":"%s","payload":%s,"seq":%s}' % (self.type.encode(), self.json, seq)
        size = len(text)
        if size < 126:
            return bytes((0x81, size)) + text
        if size < 65536:
            return b"\x81\x7e" + size.to_bytes(2, "big") + text
        return b"\x81\x7f" + size.to_bytes(8, "big") + text


Form = Callable[[Frame], bytes]


def as_sse(frame: Frame) -> bytes:
    return frame.sse


def as_socket(frame: Frame) -> bytes:
    return frame.socket


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
        self._batches: dict[tuple[int, Filter, Form], tuple[bytes, int]] = {}
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
                while fresh := await self._ledger.tail.after(self.last_seq, limit=_PAGE):
                    self._window.extend(frame(event) for event in fresh)
                    self.last_seq = fresh[-1].seq
                    self._announce()
                    if len(fresh) < _PAGE:
                        break
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
        end = await self._ledger.read(events.last_seq)  # this feed may be a moment behind
        device = Device(self, after=end if after is None else after, end=end, filter=filter)
        self._devices.add(device)
        try:
            yield device
        finally:
            self._devices.discard(device)
            device.rest()

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

    def batch(self, seq: int, filter: Filter, form: Form) -> tuple[bytes, int]:
        """The bytes all devices at the same place, with the same wishes, get, and their new place; made once a lump."""
        known = self._batches.get((seq, filter, form))
        if known is None:
            known = _joined(self.recent(seq), filter, form) or (b"", seq)
            if len(self._batches) < _BATCHES:
                self._batches[seq, filter, form] = known
        return known

    def snapshot(self, place: int, reason: str) -> Frame:
        """For a device that did not take (`slow`) or cannot have (`forgotten`, `unknown`) what followed its place.

        It reads the lists anew and goes on from `seq`; or, slow, asks again with `after` for what it left out.
        """
        document = {
            "seq": self.last_seq,
            "time": iso(self._clock.now()),
            "type": "system.snapshot",
            "task_id": None,
            "session": None,
            "data": {"seq": self.last_seq, "after": place, "reason": reason},
        }
        return Frame(0, "system.snapshot", None, _encode(document))


def _joined(frames: Iterable[Frame], filter: Filter, form: Form) -> tuple[bytes, int] | None:
    """The wanted of the frames, as many as a lump holds, and the place after them; `None` without any frame."""
    pieces: list[bytes] = []
    size = seq = 0
    for entry in frames:
        seq = entry.seq
        if filter.wants(entry):
            pieces.append(piece := form(entry))
            if (size := size + len(piece)) >= _LUMP:
                break
    return (b"".join(pieces), seq) if seq else None


class Device:
    """One listener's place in the log."""

    def __init__(self, feed: Feed, *, after: int, end: int, filter: Filter) -> None:
        """`end` is where the log ends now: who has not come that far reads on, however far the window is."""
        self._feed = feed
        self.seq = after
        self._end = end
        self._lost = after > end
        self.filter = filter
        self._follows = False
        self._live = feed.live_count
        self.bell = asyncio.Event()
        self.closed = feed.stopped
        self._loop = asyncio.get_running_loop()
        self._told_at = self._loop.time()
        self._timer = self._loop.call_later(HEARTBEAT, self._beat)

    def close(self) -> None:
        self.closed = True
        self.bell.set()

    def rest(self) -> None:
        """No more heartbeats."""
        self._timer.cancel()

    def move(self, after: int | None, filter: Filter) -> None:
        """Go on elsewhere in the log, or with other wishes."""
        self.filter = filter
        if after is not None:
            self.seq = after
            self._end = self._feed.last_seq
            self._follows = False
        self.bell.set()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(HEARTBEAT, self._beat)
        self.bell.set()

    async def frames(self) -> list[Frame]:
        """What is new and wanted, for a reader inside: all of it, however far behind. May wake with nothing."""
        feed = self._feed
        self.bell.clear()
        if self.seq >= feed.last_seq and not self.closed:
            await self.bell.wait()
        if self.seq >= feed.last_seq or self.closed:
            return []
        found = feed.recent(self.seq) if feed.covers(self.seq) else await feed.page(self.seq)
        self.seq = found[-1].seq if found else feed.last_seq
        return [entry for entry in found or () if self.filter.wants(entry)]

    async def lump(self, form: Form) -> bytes:
        """What is new and wanted, written in one piece; waits for it. Empty after a quiet heartbeat, or when closed."""
        while not self.closed:
            self.bell.clear()
            live = self._take_live()
            lump = b"".join(map(form, live)) if live else b""
            lump += await self._next(form)
            if lump:
                self._told_at = self._loop.time()
                return lump
            if self.seq < self._feed.last_seq:
                continue
            if self._loop.time() - self._told_at >= HEARTBEAT * 0.9:
                self._told_at = self._loop.time()
                return b""
            await self.bell.wait()
        return b""

    async def _next(self, form: Form) -> bytes:
        """One step on in the log."""
        feed = self._feed
        if self._lost:
            self._lost = False
            return self._leap(form, "unknown")
        if feed.covers(self.seq):
            self._follows = self._follows or self.seq >= self._end
            if self.seq >= feed.last_seq:
                return b""
            lump, self.seq = feed.batch(self.seq, self.filter, form)
            return lump
        if self._follows:
            return self._leap(form, "slow")
        page = await feed.page(self.seq)
        if page is None:
            return self._leap(form, "forgotten")
        lump, self.seq = _joined(page, self.filter, form) or (b"", self.seq)
        return lump

    def _leap(self, form: Form, reason: str) -> bytes:
        snapshot = self._feed.snapshot(self.seq, reason)
        self.seq = self._feed.last_seq
        self._follows = True
        return form(snapshot)

    def _take_live(self) -> list[Frame]:
        if self._live == self._feed.live_count:
            return []
        found = [entry for entry in self._feed.live_after(self._live) if self.filter.wants(entry)]
        self._live = self._feed.live_count
        return found
