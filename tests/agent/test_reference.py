"""The pages name every command and every tool there is."""

from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from agent.conftest import OpenChat
from tawny.agent.prompt import OWN_WORDS_LIMIT, Workspace, pieces, render
from tawny.agent.toolbox import schema_of
from tawny.config import Exec, Home
from tawny.domain.permissions import OPERATIONS
from tawny.domain.sessions import COMMANDS
from tawny.sandbox.processes import Note
from tawny.tools.automations import Automations
from tawny.tools.registry import Tool

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_every_command_is_on_its_page() -> None:
    page = (DOCS / "commands.md").read_text()
    assert [name for name in COMMANDS if f"`/{name}" not in page] == []


PROBES: dict[str, list[dict[str, Any]]] = {
    "automations": [{"action": one} for one in get_args(get_type_hints(Automations)["action"])],
    "calendar_add": [{"title": "x", "start": "2026-12-01"}],
    "calendar_read": [{}],
    "exec": [{"command": "ls"}, {"command": "ls | sh"}],
    "finish": [{}],
    "flows": [{"action": one} for one in ("run", "check", "list")],
    "http_request": [
        {"method": one, "url": "https://example.org"}
        for one in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    ],
    "list_files": [{}],
    "mail_read": [{}],
    "mail_send": [{"to": "bob@x.org", "subject": "s", "body": "b"}],
    "memory_save": [{"text": "x"}],
    "memory_search": [{"query": "x"}],
    "process": [
        *({"action": one} for one in ("list", "poll", "log", "kill", "clear", "remove")),
        *(
            {"action": one, "sessionId": f"proc_{line}", "data": "x", "keys": ["x"]}
            for one in ("write", "submit", "paste", "send-keys")
            for line in ("cat", "bash")
        ),
    ],
    "read_file": [{"path": "x"}],
    "send_message": [{"channel": "telegram", "text": "x"}, {"channel": "telegram", "to": "1", "text": "x"}],
    "sessions": [{"action": one} for one in ("list", "history", "send")],
    "skills": [{}],
    "spawn": [{"task": "x"}, {"task": ["x", "y"]}],
    "tasks": [
        {"action": one} for one in ("run", "list", "show", "cancel", "pause", "resume", "retry", "kinds")
    ],
    "todo_add": [{"title": "x"}],
    "todo_read": [{}],
    "web_fetch": [{"url": "https://example.org"}],
    "web_search": [{"query": "x"}],
    "write_file": [{"path": "AGENTS.md", "content": ""}, {"path": "notes.txt", "content": ""}],
}
"""Calls of every tool that come, taken together, to everything it can do."""


def is_running(home: Home, line: str) -> None:
    """What is kept of a process that runs this line."""
    folder = home.run / "commands" / f"proc_{line}"
    folder.mkdir(parents=True)
    note = Note(
        conversation="main", session="main", task_id="t", line=line, cwd="/", fingerprint="", started_at=0
    )
    (folder / "note").write_bytes(msgspec.json.encode(note))


async def test_every_tool_has_its_level_its_schema_and_its_docs(chat: OpenChat, home: Home) -> None:
    page = (DOCS / "tools.md").read_text()
    async with chat(exec=Exec(allow=("ls",))) as talk:
        is_running(home, "cat")
        is_running(home, "bash")
        tools: dict[str, Tool] = dict(talk.app.agency.door.tools)
        assert tools.keys() == PROBES.keys()
        for name, tool in tools.items():
            section = page.partition(f"\n### {name}\n")[2].partition("\n##")[0]
            assert tool.description, name
            assert tool.description in section, name
            assert tool.params.__doc__, name
            schema = schema_of(tool)
            assert schema["type"] == "object", name
            assert schema["additionalProperties"] is False, name
            for parameter, kind in schema["properties"].items():
                assert kind.keys() & {"type", "anyOf", "enum", "$ref"}, (name, parameter)
                assert f"| `{parameter}` |" in section, (name, parameter)
            come_to = [tool.operation(msgspec.convert(call, tool.params)) for call in PROBES[name]]
            assert {one.name for one in come_to} == set(tool.rows), name
            for one in come_to:
                assert OPERATIONS[one.name].level == one.level, one.name
                assert f"{one.level} (`{one.name}`: " in section, one.name


def test_our_own_words_stay_under_six_kilobytes(tmp_path: Path) -> None:
    parts = pieces(name="Tawny", day="x", time="y", zone="z", workspace=Workspace(tmp_path), rules=["r"] * 5)
    own = [part for part in parts if part.name in ("own words", "background rules")]
    assert sum(part.size for part in own) <= OWN_WORDS_LIMIT


def test_clock_stands_last_so_that_a_provider_keeps_what_stands_before_it(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Be kind.")
    early, late = (
        render(
            pieces(
                name="Tawny", day="Friday", time=time, zone="UTC", workspace=Workspace(tmp_path), notes=["n"]
            )
        )
        for time in ("08:00", "08:01")
    )
    assert early.removesuffix("It is Friday, 08:00 in UTC.") == late.removesuffix(
        "It is Friday, 08:01 in UTC."
    )
