"""Progress that never falls, and an honest estimate of the end."""

import msgspec

from tawny.clock import DAY, SECOND, Instant
from tawny.domain.tasks import Progress

_SMOOTHING = 0.3
_MIN_ELAPSED = SECOND // 2
_FURTHEST = 3650 * DAY
"""Beyond ten years nobody knows."""


class Pace(msgspec.Struct, frozen=True):
    """The smoothed rate of one execution: share of the whole per microsecond of a clock that nobody can set."""

    share: float = 0.0
    at: int | None = None
    since: int = 0
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


def estimate(pace: Pace, progress: Progress, *, steady: int, now: Instant) -> tuple[Pace, Instant | None]:
    """The new pace and when, on the wall, the work will be done; `None` while nobody can know.

    `steady` is the time by which the pace is taken: the wall's may be set meanwhile.
    """
    if not progress.total or progress.total <= 0:
        return pace, None
    share = max(0.0, min(1.0, progress.current / progress.total))
    if pace.at is None:
        return Pace(share=share, at=steady, since=steady), None
    gained, elapsed = share - pace.share, steady - pace.at
    # Two readings at the very start say next to nothing about the rest.
    is_known = steady - pace.since >= _MIN_ELAPSED
    if gained <= 0 or elapsed <= 0:
        return pace, _end(pace.rate, share, now) if is_known else None
    fresh = gained / elapsed
    rate = fresh if pace.rate is None else _SMOOTHING * fresh + (1 - _SMOOTHING) * pace.rate
    after = Pace(share=share, at=steady, since=pace.since, rate=rate)
    return after, _end(rate, share, now) if is_known else None


def _end(rate: float | None, share: float, now: Instant) -> Instant | None:
    left = (1 - share) / rate if rate else _FURTHEST
    return None if left >= _FURTHEST else now + int(left)
