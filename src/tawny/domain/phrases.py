"""Natural phrases to schedules: "every weekday at 8", "in 30 minutes", "明天上午8点".

A small grammar for English (`phrases_en`) and one for Chinese (`phrases_zh`). The answer is a schedule's document,
never an action: whoever asked shows it with the next three times and lets the person confirm.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain import phrases_en, phrases_zh, schedule, zones
from tawny.errors import InvalidInput

HINT = "for example 'every weekday at 8', 'in 30 minutes', 'tomorrow at 9am', '明天上午8点'"
_LONGEST = 200


class NotUnderstood(InvalidInput):
    """The grammar does not know the phrase: a model may. What it knows and refuses is no model's business."""


class Phrase(msgspec.Struct, frozen=True):
    """A phrase understood: the schedule's document and the next times (at most three). `by` is who read it."""

    schedule: dict[str, Any]
    next: tuple[Instant, ...]
    by: str = "grammar"

    def document(self) -> dict[str, Any]:
        return {"schedule": self.schedule, "next": [iso(instant) for instant in self.next], "by": self.by}


def parse(text: str, *, now: Instant, timezone: str) -> Phrase:
    """Understand a phrase, as of `now` in `timezone`.

    Raises:
        NotUnderstood: the grammar does not know it.
        InvalidInput: it could mean several things, or names no time to come.
    """
    wall = zones.wall(now, zones.load(timezone))
    if len(text) > _LONGEST:
        raise InvalidInput(f"a phrase has {_LONGEST} characters at most, not {len(text)}", hint=HINT)
    grammar = phrases_zh if re.search(r"[\u4e00-\u9fff]", text) else phrases_en
    try:
        reading = grammar.read(text, wall)
    except OverflowError as error:
        raise InvalidInput(f"{text!r} names no time that a calendar has", hint=HINT) from error
    if reading is None:
        raise NotUnderstood(f"{text!r} is not understood as a time", hint=HINT)
    return of_document(reading.document(timezone), now=now, timezone=timezone)


def of_document(document: Mapping[str, Any], *, now: Instant, timezone: str, by: str = "grammar") -> Phrase:
    """A schedule's document with its next times, checked.

    Raises:
        InvalidInput: it is no schedule, or has no time to come.
    """
    plan = schedule.compile(document, now=now, timezone=timezone)
    # what is due this very minute has a time, too
    return Phrase(dict(document), tuple(schedule.first_slots(plan, 0 if plan.one_shot else now, 3)), by)
