"""Time as the rest of the house sees it: an integer count of microseconds, handed out by a Clock."""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from weakref import WeakKeyDictionary

Instant = int
"""Microseconds since 1970-01-01T00:00:00Z."""

SECOND: int = 1_000_000
MINUTE: int = 60 * SECOND
HOUR: int = 60 * MINUTE
DAY: int = 24 * HOUR

# An alarm never naps longer than this: the wall clock may drift, or be slewed, without a leap.
_LONGEST_NAP = 30.0
# How often somebody looks whether the wall clock was set, or the machine suspended, while alarms wait.
_LOOKOUT = 1.0
_LEAP = SECOND // 10


Cancel = Callable[[], None]


class Clock(Protocol):
    """Where the time comes from: the wall clock for due times, the steady one for how long something takes.

    `tawny.testing.FakeClock` is the other implementation.
    """

    def now(self) -> Instant:
        """The wall clock in microseconds since the epoch; it may be set ahead or back at any time."""
        ...

    def steady(self) -> int:
        """Microseconds since some fixed moment, whatever becomes of the wall clock; for differences only.

        It stands still while the machine is suspended (Linux, macOS): a closed laptop ends no work.
        """
        ...

    async def sleep_until(self, due: Instant) -> None:
        """Return once `now() >= due`; never earlier."""
        ...

    def call_at(self, due: Instant, callback: Callable[[], None]) -> Cancel:
        """Call `callback` on the running loop once `now() >= due`; the returned function calls it off."""
        ...

    def call_steady(self, due: int, callback: Callable[[], None]) -> Cancel:
        """Call `callback` on the running loop once `steady() >= due`; the returned function calls it off."""
        ...


class Alarm:
    """One callback at one time of a clock that may be set, or run faster, meanwhile."""

    def __init__(
        self,
        read: Callable[[], int],
        due: int,
        callback: Callable[[], None],
        *,
        factor: float,
        lookout: "Lookout | None" = None,
    ) -> None:
        """`read` tells the time; a `lookout` is told of the alarm where that can be set."""
        self._read = read
        self._due = due
        self._callback = callback
        self._factor = factor
        self._lookout = lookout
        self._handle: asyncio.TimerHandle | None = None
        self._is_over = False
        if lookout is not None:
            lookout.add(self)
        self.look()

    def look(self) -> None:
        """Look at the clock, and ring or nap on; also when the clock was changed under a nap."""
        if self._is_over:
            return
        if self._handle is not None:
            self._handle.cancel()
        left = self._due - self._read()
        if left <= 0:
            self._handle = asyncio.get_running_loop().call_later(0, self._ring)
        else:
            nap = min(left / SECOND / self._factor, _LONGEST_NAP)
            self._handle = asyncio.get_running_loop().call_later(nap, self.look)

    def _ring(self) -> None:
        self._end()
        self._callback()

    def _end(self) -> None:
        self._is_over = True
        if self._lookout is not None:
            self._lookout.discard(self)

    def cancel(self) -> None:
        self._end()
        if self._handle is not None:
            self._handle.cancel()


class Lookout:
    """Notices within a second that a wall clock leapt (it was set, or the machine slept), and lets the alarms look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarms: set[Alarm] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._apart = 0

    def add(self, alarm: Alarm) -> None:
        """Keep an eye on the clock for this one too."""
        self._alarms.add(alarm)
        if self._handle is None:
            self._apart = self._clock.now() - self._clock.steady()
            self._handle = asyncio.get_running_loop().call_later(_LOOKOUT, self._look_out)

    def discard(self, alarm: Alarm) -> None:
        """It has rung, or was called off."""
        self._alarms.discard(alarm)

    def leapt(self) -> None:
        """The clock leapt: whatever is due by it rings now."""
        for alarm in list(self._alarms):
            alarm.look()

    def _look_out(self) -> None:
        self._handle = None
        if not self._alarms:
            return  # the next alarm begins anew
        apart = self._clock.now() - self._clock.steady()
        if abs(apart - self._apart) >= _LEAP:
            self.leapt()
        self._apart = apart
        self._handle = asyncio.get_running_loop().call_later(_LOOKOUT, self._look_out)


class SystemClock:
    """The machine's clocks."""

    factor = 1.0

    def __init__(self) -> None:
        self._lookouts: WeakKeyDictionary[asyncio.AbstractEventLoop, Lookout] = WeakKeyDictionary()

    def now(self) -> Instant:
        return time.time_ns() // 1000

    def steady(self) -> int:
        return time.monotonic_ns() // 1000

    def call_at(self, due: Instant, callback: Callable[[], None]) -> Cancel:
        loop = asyncio.get_running_loop()
        lookout = self._lookouts.get(loop)
        if lookout is None:
            lookout = self._lookouts[loop] = Lookout(self)
        return Alarm(self.now, due, callback, factor=self.factor, lookout=lookout).cancel

    def call_steady(self, due: int, callback: Callable[[], None]) -> Cancel:
        return Alarm(self.steady, due, callback, factor=self.factor).cancel

    def leapt(self) -> None:
        """Whoever changed what this clock says tells it here, on the loop; what is due by then rings."""
        for lookout in list(self._lookouts.values()):
            lookout.leapt()

    async def sleep_until(self, due: Instant) -> None:
        await wait_for(asyncio.Event(), self, due)


async def wait_for(event: asyncio.Event, clock: Clock, due: Instant | None) -> None:
    """Return when `event` is set, or `due` is reached, whichever is first; the event is cleared."""
    await _either(event, clock.call_at(due, event.set) if due is not None else None)


async def wait_steady(event: asyncio.Event, clock: Clock, due: int | None) -> None:
    """Like `wait_for`, with `due` a time of the steady clock."""
    await _either(event, clock.call_steady(due, event.set) if due is not None else None)


async def _either(event: asyncio.Event, cancel: Cancel | None) -> None:
    try:
        await event.wait()
    finally:
        if cancel is not None:
            cancel()
        event.clear()


async def sleep(clock: Clock, seconds: float) -> None:
    """Sleep for `seconds`, whoever sets the wall clock meanwhile."""
    await wait_steady(asyncio.Event(), clock, clock.steady() + int(seconds * SECOND))


def to_datetime(instant: Instant, zone: tzinfo = UTC) -> datetime:
    """The instant as an aware datetime in `zone`."""
    seconds, micros = divmod(instant, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros).astimezone(zone)


def from_datetime(moment: datetime) -> Instant:
    """The aware datetime as an instant.

    Raises:
        ValueError: `moment` has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def iso(instant: Instant) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as on the wire."""
    moment = to_datetime(instant)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def stopwatch() -> Callable[[], float]:
    """Start measuring; the returned function tells the seconds since (monotonic)."""
    started = time.perf_counter()
    return lambda: time.perf_counter() - started


_UNITS = {"ms": 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_LONGEST = 36_501 * DAY
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration(text: str | float) -> int:
    """`90s`, `10m`, `1h30m`, `7d`, or a number of seconds, as microseconds.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(text, int | float):
        if not 0 <= text * SECOND < _LONGEST:
            raise ValueError(f"{text!r} is no duration; write it like 90s, 10m, 2h or 7d")
        return int(text * SECOND)
    parts = _DURATION.findall(text.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip().lower():
        raise ValueError(f"{text!r} is no duration; write it like 90s, 10m, 2h or 7d")
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total >= _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than anybody waits; 36500d is the most")
    return sum(int(float(number) * _UNITS[unit]) for number, unit in parts)


def format_duration(micros: int) -> str:
    """The shortest of `7d`, `2h`, `10m`, `90s`, `250ms` that says it exactly to the millisecond."""
    for unit in ("d", "h", "m", "s"):
        if micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    return f"{micros // 1000}ms"


_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")


def parse_span(text: str) -> tuple[int, int]:
    """Start and end of a span of the day such as `22:00-07:00`, in minutes after midnight.

    Raises:
        ValueError: it is none.
    """
    match = _SPAN.fullmatch(text.strip())
    numbers = [int(part) for part in match.groups()] if match else []
    if not numbers or numbers[0] > 23 or numbers[2] > 23 or numbers[1] > 59 or numbers[3] > 59:
        raise ValueError(f"{text!r} is no span of the day; write it like 22:00-07:00")
    return numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]


def parse_time(text: str | float, *, now: Instant) -> Instant:
    """A point in time: ISO 8601 with a zone, or a duration from now such as `30m`.

    Raises:
        ValueError: it is neither, or has no zone.
    """
    try:
        return now + parse_duration(text)
    except ValueError:
        if not isinstance(text, str):
            raise
    try:
        return from_datetime(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time; write it like 2026-12-01T08:00:00Z, or a duration from now like 30m"
        ) from error
