"""Progress that never falls, and an honest estimate of the end."""

import msgspec

from tawny.clock import SECOND, Instant
from tawny.domain.tasks import Progress

_SMOOTHING = 0.3
_MIN_ELAPSED = SECOND // 2


class Pace(msgspec.Struct, frozen=True):
    """The smoothed rate of one execution: share of the whole per microsecond."""

    share: float = 0.0
    at: Instant = 0
    since: Instant = 0
    rate: float | None = None


def advance(
    before: Progress,
    *,
    current: float,
    total: float | None,
    unit: str | None = None,
    message: str | None = None,
) -> Progress:
    """The next progress. The percentage is that of `current` in `total`, and never less than before."""
    percentage = before.percentage
    if total is not None and total > 0:
        now = max(0, min(100, int(current * 100 / total)))
        percentage = now if percentage is None else max(percentage, now)
    return Progress(
        current=current,
        total=total,
        percentage=percentage,
        unit=unit if unit is not None else before.unit,
        message=message if message is not None else before.message,
    )


def estimate(pace: Pace, progress: Progress, *, now: Instant) -> tuple[Pace, Instant | None]:
    """The new pace and when the work will be done; `None` while nobody can know."""
    if not progress.total or progress.total <= 0:
        return pace, None
    share = max(0.0, min(1.0, progress.current / progress.total))
    if pace.at == 0:
        return Pace(share=share, at=now, since=now), None
    gained, elapsed = share - pace.share, now - pace.at
    if gained <= 0 or elapsed <= 0:
        return pace, _end(pace.rate, share, now) if now - pace.since >= _MIN_ELAPSED else None
    fresh = gained / elapsed
    rate = fresh if pace.rate is None else _SMOOTHING * fresh + (1 - _SMOOTHING) * pace.rate
    after = Pace(share=share, at=now, since=pace.since, rate=rate)
    # Two readings at the very start say next to nothing about the rest.
    return after, _end(rate, share, now) if now - pace.since >= _MIN_ELAPSED else None


def _end(rate: float | None, share: float, now: Instant) -> Instant | None:
    return None if not rate else now + int((1 - share) / rate)
