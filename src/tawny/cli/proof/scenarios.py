"""What the crash proof kills: work of every kind, and the effects that the world must have seen exactly once."""

from collections.abc import Callable
from typing import Any

import msgspec


class Scenario(msgspec.Struct, frozen=True):
    """Work to hand in, and the effects the world must have seen exactly once: `{path: how many}`.

    `file` is one in the workspace to which an at-most-once effect adds one line: never two, and none only where the
    task waits for a person. `files` lie in the workspace beforehand; `calendar` is one of them that is a source.
    What arrives at `/told` must tell of a success. `loads` are heavy modules, loaded before the fork so that every life
    is quick.
    """

    name: str
    requests: Callable[[str], list[dict[str, Any]]]
    effects: dict[str, int]
    file: str = ""
    files: dict[str, str] = {}
    calendar: str = ""
    loads: tuple[str, ...] = ()

    @property
    def kinds(self) -> set[str]:
        """The kinds of task it runs, those of steps and items too."""
        return _kinds_in(self.requests(""))


def _kinds_in(document: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(document, dict):
        for key, value in document.items():  # pyright: ignore[reportUnknownVariableType]
            found |= {value} if key == "kind" and isinstance(value, str) else _kinds_in(value)
    elif isinstance(document, list):
        for part in document:  # pyright: ignore[reportUnknownVariableType]
            found |= _kinds_in(part)
    return found


def _told(kind: str, params: dict[str, Any], **more: Any) -> Scenario:
    """Work that only reads or writes at home: the world hears of its result, once."""
    return Scenario(
        kind,
        lambda sink: [{"kind": kind, "params": params, "delivery": {"channels": [f"webhook:{sink}/told"]}}],
        {"/told": 1},
        **more,
    )


_ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//proof//EN
BEGIN:VEVENT
UID:one
SUMMARY:Stand-up
DTSTAMP:20260301T000000Z
DTSTART:20260302T093000Z
DTEND:20260302T094500Z
END:VEVENT
END:VCALENDAR
"""
_SPEECH = '{"text": "x", "segments": [{"start": 0, "end": 2, "text": "Hello", "avg_logprob": -0.2}]}'


def scenarios() -> list[Scenario]:
    """Every kind of task there is to kill."""
    return [
        Scenario(
            "simulate",
            lambda sink: [
                {"kind": "simulate", "params": {"steps": 3, "step_seconds": 0, "effect_url": f"{sink}/step"}}
            ],
            {"/step": 3},
        ),
        Scenario(
            "http",
            lambda sink: [
                {"kind": "http", "params": {"method": "POST", "url": f"{sink}/http", "body": {"a": 1}}}
            ],
            {"/http": 1},
        ),
        Scenario(
            "batch",
            lambda sink: [
                {
                    "kind": "batch",
                    "params": {
                        "items": [1, 2, 3],
                        "concurrency": 1,
                        "action": {"kind": "http", "params": {"method": "POST", "url": sink + "/item{item}"}},
                    },
                }
            ],
            {"/item1": 1, "/item2": 1, "/item3": 1},
        ),
        Scenario(
            "flow",
            lambda sink: [
                {
                    "kind": "flow",
                    "params": {
                        "document": {
                            "steps": [
                                {"id": "a", "kind": "http", "params": {"method": "POST", "url": f"{sink}/a"}},
                                {"id": "nap", "wait_until": "50ms"},
                                {
                                    "id": "both",
                                    "parallel": [
                                        {
                                            "id": "b",
                                            "kind": "http",
                                            "params": {"method": "POST", "url": f"{sink}/b"},
                                        },
                                        {
                                            "id": "c",
                                            "kind": "http",
                                            "params": {"method": "POST", "url": f"{sink}/c"},
                                        },
                                    ],
                                },
                                {
                                    "id": "each",
                                    "map": {
                                        "items": "['d', 'e', 'f']",
                                        "concurrency": 2,
                                        "do": {
                                            "kind": "http",
                                            "params": {"method": "POST", "url": sink + "/{item}"},
                                        },
                                    },
                                },
                            ]
                        }
                    },
                }
            ],
            dict.fromkeys(("/a", "/b", "/c", "/d", "/e", "/f"), 1),
        ),
        Scenario(
            "delivery",
            lambda sink: [
                {
                    "kind": "remind",
                    "params": {"text": "done"},
                    "delivery": {"channels": [f"webhook:{sink}/told"]},
                }
            ],
            {"/told": 1},
        ),
        Scenario(
            "chain",
            lambda sink: [
                {"kind": "http", "params": {"method": "POST", "url": f"{sink}/first"}, "title": "first"},
                {
                    "kind": "http",
                    "params": {"method": "POST", "url": f"{sink}/second"},
                    "after": ["first"],
                    "not_before": "20ms",
                },
            ],
            {"/first": 1, "/second": 1},
        ),
        Scenario(
            "command",
            lambda _: [{"kind": "command", "params": {"argv": ["sh", "-c", "echo once >> effects.txt"]}}],
            {},
            file="effects.txt",
        ),
        Scenario(
            "make_subtitles",
            lambda sink: [
                {"kind": "make_subtitles", "params": {"file": "clip.json", "effect_url": f"{sink}/clip"}},
            ],
            {"/clip": 1},
            files={"clip.json": _SPEECH},
        ),
        _told(
            "read_calendar",
            {"from": "2026-03-02", "to": "2026-03-02"},
            files={"own.ics": _ICS},
            calendar="own.ics",
        ),
        _told("generate_daily_brief", {"date": "2026-03-02"}, files={"own.ics": _ICS}, calendar="own.ics"),
        _told(
            "digest_document",
            {"path": "plan.md"},
            files={"plan.md": "# Plan\n\nThe deadline is June 30.\n" * 20},
        ),
        _told("read_schedule", {"text": "every weekday at 8"}),
        _told("agent_turn", {"message": "hello"}, loads=("tawny.agent.turn", "tawny.models.demo")),
    ]
