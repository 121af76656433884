"""The pages name every command and every tool there is."""

from pathlib import Path

from agent.conftest import OpenChat
from tawny.agent.prompt import OWN_WORDS_LIMIT, Workspace, pieces, render
from tawny.domain.permissions import OPERATIONS
from tawny.domain.sessions import COMMANDS
from tawny.tools.registry import Tool

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_every_command_is_on_its_page() -> None:
    page = (DOCS / "commands.md").read_text()
    assert [name for name in COMMANDS if f"`/{name}" not in page] == []


async def test_every_tool_is_on_its_page_and_has_a_description(chat: OpenChat) -> None:
    page = (DOCS / "tools.md").read_text()
    async with chat() as talk:
        tools: dict[str, Tool] = dict(talk.app.agency.door.tools)
    assert [name for name in tools if f"`{name}`" not in page] == []
    assert all(tool.description for tool in tools.values())


async def test_operations_of_plain_calls_are_in_the_table_of_levels(chat: OpenChat) -> None:
    async with chat() as talk:
        tools = talk.app.agency.door.tools
        plain = {
            "read_file": {"path": "x"},
            "write_file": {"path": "AGENTS.md", "content": ""},
            "list_files": {},
            "web_fetch": {"url": "https://example.org"},
            "web_search": {"query": "x"},
            "http_request": {"method": "POST", "url": "https://example.org"},
            "send_message": {"channel": "telegram", "to": "1", "text": "x"},
            "mail_read": {},
            "calendar_read": {},
            "todo_read": {},
            "memory_save": {"text": "x"},
            "memory_search": {"query": "x"},
            "sessions": {"action": "send"},
            "tasks": {"action": "run"},
            "automations": {"action": "add"},
            "flows": {"action": "run"},
            "spawn": {"task": "x"},
            "finish": {},
        }
        import msgspec

        for name, arguments in plain.items():
            tool = tools[name]
            operation = tool.operation(msgspec.convert(arguments, tool.params))
            assert operation.name in OPERATIONS, operation.name
            assert OPERATIONS[operation.name].level == operation.level, operation.name


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
