"""For operations that mean more than a schema can say: a request that is right, by the operation's name.

They stand in `openapi.json`, and the tests send each one. `body` and `query` are what is sent; `path` names what the
path's own parameters may be, where any is right.
"""

from typing import Any

import msgspec


class Example(msgspec.Struct, frozen=True):
    body: dict[str, Any] | None = None
    query: dict[str, str] = {}
    path: dict[str, str] = {}


_BRIEF: dict[str, Any] = {
    "name": "Morning brief",
    "type": "scheduled",
    "schedule": {"type": "cron", "expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"},
    "action": {
        "type": "generate_daily_brief",
        "parameters": {"include_calendar": True, "include_tasks": True, "format": "markdown"},
    },
    "policy": {"misfire": "run_once", "misfire_window": "12h", "overlap": "skip", "timeout": "10m"},
}
EXAMPLES: dict[str, Example] = {
    "tasks.run": Example(
        {
            "kind": "command",
            "params": {"argv": ["ls", "-l"]},
            "title": "What is in the workspace?",
            "priority": "normal",
            "timeout": "10m",
            "notify": "done_only",
        }
    ),
    "automations.add": Example(_BRIEF),
    "automations.edit": Example(
        {"name": "Late brief", "schedule": {**_BRIEF["schedule"], "expression": "0 9 * * 1-5"}}
    ),
    "automations.dry-run": Example(_BRIEF),
    "automations.preview": Example(
        {"schedule": {"type": "every", "interval": "6h"}, "n": 5, "timezone": "Europe/Berlin"}
    ),
    "automations.parse": Example({"text": "every weekday at 8", "timezone": "Europe/Berlin"}),
    "sessions.say": Example({"text": "What is on today?", "wait": False}, path={"key": "main"}),
    "events.accept": Example(
        {"event_id": "ring-17", "time": "2026-11-27T08:00:00Z", "data": {"button": "front door"}},
        path={"source": "doorbell"},
    ),
    "completions": Example(
        {"model": "tawny", "messages": [{"role": "user", "content": "What is on today?"}], "user": "main"}
    ),
    "stats": Example(query={"window": "7d"}),
    "calendar": Example(query={"from": "2026-11-27T00:00:00Z", "to": "2026-12-04T00:00:00Z"}),
    "config.change": Example({"set": {"limits.concurrency": 4}}),
}
