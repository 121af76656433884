"""A yes holds for the program and the files that were there when it was given, not for what takes their name."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.tools.conftest import rules
from tests.tools.test_exec import Shop, pytestmark

from tawny.config import Home
from tawny.domain.commands import Mode
from tawny.sandbox.held import digest
from tawny.sandbox.identity import behind, files_among, find_binary

__all__ = ["pytestmark"]


@pytest.fixture
async def shop(home: Home) -> AsyncGenerator[Shop]:
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode = Mode.ASK
        yield await shop.open()


def script(shop: Shop, name: str, text: str) -> Path:
    place = shop.home.workspace / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


async def always(shop: Shop, **call: Any) -> Any:
    assert await shop.call("exec", **call) == "asked"
    return (await shop.runs.answer(always=True)).result["results"][0]


FIRST, SECOND = "#!/bin/sh\necho first\n", "#!/bin/sh\necho SECOND\n"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"command": "./tool"}, "tool"),
        ({"argv": ["./tool", "x"]}, "tool"),
        ({"command": "sh tool"}, "tool"),
        ({"command": "env A=1 ./tool"}, "tool"),
        ({"command": "echo go && ./tool"}, "tool"),
        ({"command": "echo go | sh ./tool"}, "tool"),
        ({"command": "sh 'a tool' | cat"}, "a tool"),
        ({"command": "sh ../tool", "workdir": "deep"}, "tool"),
    ],
)
async def test_a_standing_yes_is_for_the_content_that_was_there(
    shop: Shop, call: dict[str, Any], name: str
) -> None:
    (shop.home.workspace / "deep").mkdir(parents=True)
    place = script(shop, name, FIRST)
    assert "first" in (await always(shop, **call))["output"]
    assert "first" in (await shop.call("exec", **call))["output"]
    # In place: the same inode, another content.
    place.write_text(SECOND)
    assert await shop.call("exec", **call) == "asked"


async def test_a_standing_yes_sees_through_a_link_to_the_program(shop: Shop) -> None:
    script(shop, "one", FIRST)
    script(shop, "two", SECOND)
    link = shop.home.workspace / "tool"
    link.symlink_to("one")
    assert "first" in (await always(shop, command="./tool"))["output"]
    link.unlink()
    link.symlink_to("two")
    assert await shop.call("exec", command="./tool") == "asked"


async def test_a_copy_of_the_same_content_in_the_same_place_needs_no_second_yes(shop: Shop) -> None:
    place = script(shop, "tool", FIRST)
    await always(shop, command="./tool")
    place.unlink()
    script(shop, "tool", FIRST)
    assert "first" in (await shop.call("exec", command="./tool"))["output"]


@pytest.mark.parametrize("line", ["#!{folder}/interpreter", "#!/usr/bin/env -S A=1 {folder}/interpreter -x"])
@pytest.mark.parametrize("call", ["./tool", "echo go && ./tool", "env A=1 ./tool"])
async def test_a_yes_to_a_script_is_for_the_interpreter_its_first_line_names(
    shop: Shop, line: str, call: str
) -> None:
    interpreter = script(shop, "interpreter", FIRST)
    script(shop, "tool", line.replace("{folder}", str(interpreter.parent)) + "\n")
    assert "first" in (await always(shop, command=call))["output"]
    assert "first" in (await shop.call("exec", command=call))["output"]
    interpreter.write_text(SECOND)
    assert await shop.call("exec", command=call) == "asked"


def test_interpreters_of_interpreters_are_found_and_a_circle_ends(tmp_path: Path) -> None:
    for name, next_one in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / name).write_text(f"#!{tmp_path}/{next_one}\n")
    assert [Path(path).name for path, _ in behind(str(tmp_path / "a"), tmp_path)] == ["a", "b", "c"]
    (tmp_path / "plain").write_bytes(b"#!\n")
    (tmp_path / "odd").write_bytes(b"#!\xff\0x\n")
    for name in ("plain", "odd", "missing"):
        assert behind(str(tmp_path / name), tmp_path) == ()


async def test_what_is_exchanged_between_the_question_and_the_yes_is_not_run(shop: Shop) -> None:
    place = script(shop, "tool", FIRST)
    assert await shop.call("exec", command="./tool") == "asked"
    place.write_text(SECOND)
    refusal = (await shop.runs.answer()).result["results"][0]
    assert refusal.startswith("changed: exec: a program or file it names has changed")


async def test_the_question_says_what_a_yes_holds_for(shop: Shop) -> None:
    place = script(shop, "tool", FIRST)
    assert await shop.call("exec", command="sh tool") == "asked"
    [approval] = await shop.runs.pending()
    assert f"a yes holds for {find_binary('sh', place.parent).path} (sha256:" in approval.reason  # pyright: ignore[reportOptionalMemberAccess]
    assert f"{place} (sha256:{digest(str(place))[:16]})" in approval.reason


async def test_always_with_edited_arguments_holds_for_what_those_name(shop: Shop) -> None:
    script(shop, "tool", FIRST)
    other = script(shop, "other", SECOND)
    assert await shop.call("exec", command="./tool") == "asked"
    edited = await shop.runs.answer(always=True, arguments={"command": "./other"})
    assert "SECOND" in edited.result["results"][0]["output"]  # pyright: ignore[reportOptionalSubscript]
    assert "SECOND" in (await shop.call("exec", command="./other"))["output"]
    assert await shop.call("exec", command="./tool") == "asked"
    await shop.runs.answer("denied")
    other.write_text(FIRST)
    assert await shop.call("exec", command="./other") == "asked"


async def test_a_yes_that_a_rule_asks_for_is_for_the_content_too(home: Home) -> None:
    """Where the mode itself lets everything run."""
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.rules = Mode.FULL, rules(("operation == execute", "require_approval"))
        await shop.open()
        place = script(shop, "tool", FIRST)
        assert "first" in (await always(shop, command="./tool"))["output"]
        assert "first" in (await shop.call("exec", command="./tool"))["output"]
        place.write_text(SECOND)
        assert await shop.call("exec", command="./tool") == "asked"


async def test_an_allowed_script_that_was_rewritten_in_place_asks(home: Home) -> None:
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        tool, build = script(shop, "tool", FIRST), script(shop, "build.sh", FIRST)
        shop.mode, shop.allow = Mode.ASK, (f"{tool} x", "sh build.sh")
        await shop.open()
        assert "first" in (await shop.call("exec", argv=[str(tool), "x"]))["output"]
        assert "first" in (await shop.call("exec", command="sh build.sh"))["output"]
        tool.write_text(SECOND)
        assert await shop.call("exec", argv=[str(tool), "x"]) == "asked"
        await shop.runs.answer("denied")
        build.write_text(SECOND)
        assert await shop.call("exec", command="sh build.sh") == "asked"


def test_files_are_found_behind_an_option_and_not_in_the_air(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "d").mkdir()
    found = files_among(["--from=a", "a", "d", "nothing", "", "\0"], tmp_path)
    assert found == ((str(tmp_path / "a"), digest(str(tmp_path / "a"))),)


def test_a_file_too_large_to_hash_is_known_by_what_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tawny.sandbox.held._LARGEST", 10)
    place = tmp_path / "large"
    place.write_text("x" * 11)
    before = digest(str(place))
    assert before.startswith("unread:")
    assert digest(str(place)) == before
    place.unlink()
    place.write_text("y" * 11)
    assert digest(str(place)) != before
