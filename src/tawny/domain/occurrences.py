"""What becomes of each slot of a schedule: it ran, was caught up, was missed, or was skipped."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from tawny.clock import MINUTE, Instant, format_duration, iso
from tawny.domain.automations import Misfire

Status = Literal["ran", "caught_up", "missed", "skipped"]
LATE = MINUTE
"""A slot handled later than this was missed, and is caught up if its policy says so."""


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """One slot of an automation. Times are instants; `outcome` is how its task ended, once it has."""

    automation_id: str
    slot: Instant
    status: Status
    task_id: str | None = None
    reason: str = ""
    merged_into: Instant | None = None
    outcome: str | None = None

    def document(self) -> dict[str, str | None]:
        """The slot as on the wire."""
        return {
            "slot": iso(self.slot),
            "status": self.status,
            "task_id": self.task_id,
            "reason": self.reason,
            "merged_into": None if self.merged_into is None else iso(self.merged_into),
            "outcome": self.outcome,
        }


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about a slot; only `ran` and `caught_up` start work."""

    slot: Instant
    status: Status
    reason: str = ""
    merged_into: Instant | None = None


def decide(
    slots: Sequence[Instant],
    *,
    now: Instant,
    started_at: Instant,
    misfire: Misfire,
    one_shot: bool,
    retry_at: Instant | None = None,
    delay: int = 0,
) -> list[Decision]:
    """What becomes of the slots that are due (ascending), as of `now`.

    A slot is late when it passed before this process was ready (`started_at`), or over a minute ago. A one-shot runs
    however late it is. `retry_at` is the end of a wait after failures: of the slots within, the last one runs.
    `delay` (microseconds) is by how much later than its slot each is acted on, by a stagger.
    """
    if not slots:
        return []
    if one_shot:
        slot = slots[-1]
        late = _is_late(slot + delay, now, started_at)
        return [
            Decision(
                slot=slot, status="caught_up" if late else "ran", reason=_lateness(slot, now) if late else ""
            )
        ]
    if retry_at is not None and slots[-1] <= retry_at <= now and not _is_late(retry_at, now, started_at):
        waited = "it waits longer after failures"
        return [
            *(
                Decision(slot=slot, status="skipped", reason=waited, merged_into=slots[-1])
                for slot in slots[:-1]
            ),
            Decision(slot=slots[-1], status="ran", reason=f"{waited}, until {iso(retry_at)}"),
        ]
    late = [slot for slot in slots if _is_late(slot + delay, now, started_at)]
    timely = list(slots[len(late) :])
    decisions = _missed(late, now=now, misfire=misfire, before=timely[-1] if timely else None)
    # of several timely slots handled at once (the process was held up for a moment) the last one runs
    decisions += [
        Decision(slot=slot, status="missed", reason="the process was held up", merged_into=timely[-1])
        for slot in timely[:-1]
    ]
    decisions += [Decision(slot=slot, status="ran") for slot in timely[-1:]]
    return decisions


def _is_late(slot: Instant, now: Instant, started_at: Instant) -> bool:
    return slot < started_at or now - slot > LATE


def _lateness(slot: Instant, now: Instant) -> str:
    late = (now - slot) // 1_000_000
    said = f"{format_duration(late * 1_000_000)} late" if late else "less than a second late"
    return f"{said}: Tawny was not running"


def _missed(
    slots: list[Instant], *, now: Instant, misfire: Misfire, before: Instant | None
) -> list[Decision]:
    """Decisions about late slots; `before` is the timely slot that runs anyway."""
    within = [slot for slot in slots if misfire.window is None or now - slot <= misfire.window]
    window = format_duration(misfire.window) if misfire.window is not None else ""
    old = [
        Decision(slot=slot, status="missed", reason=f"missed longer ago than misfire_window ({window})")
        for slot in slots[: len(slots) - len(within)]
    ]
    if misfire.mode == "skip":
        reason = "missed while Tawny was not running; misfire is skip"
        return old + [Decision(slot=slot, status="missed", reason=reason) for slot in within]
    if misfire.mode == "run_all":
        kept = within[-misfire.most :] if misfire.most else []
        reason = f"missed; run_all catches up {misfire.most} at most"
        return [
            *old,
            *(
                Decision(slot=slot, status="missed", reason=reason)
                for slot in within[: len(within) - len(kept)]
            ),
            *(Decision(slot=slot, status="caught_up", reason=_lateness(slot, now)) for slot in kept),
        ]
    if not within:
        return old
    # run_once: what was missed is folded into one run, the timely one where there is one
    target = before if before is not None else within[-1]
    folded = [slot for slot in within if slot != target]
    reason = "missed while Tawny was not running; folded into one run"
    decisions = [Decision(slot=slot, status="missed", reason=reason, merged_into=target) for slot in folded]
    if before is None:
        decisions.append(Decision(slot=target, status="caught_up", reason=_lateness(target, now)))
    return old + decisions
