"""What the crash proof kills: work of every kind, and the effects that the world must have seen exactly once."""

from collections.abc import Callable
from typing import Any

import msgspec


class Scenario(msgspec.Struct, frozen=True):
    """Work to hand in, and the effects the world must have seen exactly once: `{path: how many}`.

    `file` is one in the workspace to which an at-most-once effect adds one line: never two, and none only where the
    task waits for a person.
    """

    name: str
    requests: Callable[[str], list[dict[str, Any]]]
    effects: dict[str, int]
    file: str = ""


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
                            ]
                        }
                    },
                }
            ],
            {"/a": 1, "/b": 1, "/c": 1},
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
    ]
