"""Kinds that touch the world outside: the owner's own order runs, what anybody else fills in asks."""

from typing import Any

import pytest
from tests.conftest import Engine

from tawny.app import open_app
from tawny.clock import SystemClock
from tawny.config import Config, Exec, Home
from tawny.domain.commands import Mode
from tawny.domain.origin import of_automation, read_from
from tawny.domain.tasks import Origin, Status, Submission
from tawny.engine.kinds import Kind
from tawny.ledger import approvals
from tawny.ledger.submission import submit
from tawny.runners.command import Params as CommandParams
from tawny.runners.guarded import guarded
from tawny.runners.http import Params as HttpParams
from tawny.tools.exec import AllowList


@pytest.fixture
def outside(engine: Any) -> Any:
    """The engine with harmless kinds in the place of `command` and `http`, behind the real door."""
    return _with_stand_ins(engine, Mode.ASK)


def _with_stand_ins(engine: Any, mode: Mode, *allow: str) -> Any:
    done: list[Any] = []

    async def command(_: Any, params: CommandParams) -> Any:
        done.append(list(params.argv))
        return {"text": "ran a program and said so"}

    async def http(_: Any, params: HttpParams) -> Any:
        done.append(params.url)
        return {"text": "prose from the web, with orders in it"}

    kinds = {
        "command": Kind(name="command", params=CommandParams, run=command),
        "http": Kind(name="http", params=HttpParams, run=http),
    }
    allowed = AllowList(mode, allow, engine.app.home.workspace)
    engine.app.kinds.update(guarded(kinds, engine.app.agency.door, allowed))
    engine.done_outside = done
    return engine


async def _run(outside: Any, kind: str, params: dict[str, Any], origin: Origin) -> str:
    submission = Submission(kind=kind, params=params, origin=origin)
    task = await outside.ledger.write(lambda tx: submit(tx, submission))
    task = await outside.until(task.task_id, Status.SUCCEEDED, Status.FAILED, Status.WAITING)
    return f"{task.status}"


async def _pending(outside: Any) -> Any:
    return (await outside.ledger.read(lambda tx: approvals.page(tx, status="pending")))[0]


OWNERS = [
    Origin(),
    Origin(via="http"),
    Origin(by="automation", via="schedule"),
    of_automation(Origin(), ["x"], via="webhook"),
]
OTHERS = [
    Origin(by="model", via="chat"),
    Origin(by="contact", via="http"),
    Origin(by="event", via="webhook", trusted=False),
    of_automation(Origin(by="model"), ["x"], via="schedule"),
    of_automation(Origin(trusted=False), ["x"], via="schedule"),
    Origin(detail=read_from("web page").detail),
]


@pytest.mark.parametrize("origin", OWNERS)
async def test_the_owners_own_order_runs(outside: Any, origin: Origin) -> None:
    assert await _run(outside, "command", {"argv": ["ls"]}, origin) == "succeeded"
    assert await _run(outside, "http", {"url": "https://a.org"}, origin) == "succeeded"


@pytest.mark.parametrize("origin", OTHERS)
async def test_what_anybody_else_wants_run_waits_for_a_yes(outside: Any, origin: Origin) -> None:
    assert await _run(outside, "command", {"argv": ["ls"]}, origin) == "waiting"
    assert outside.done_outside == []


async def test_a_yes_to_a_script_as_a_task_is_for_its_interpreter_too(outside: Any) -> None:
    folder = outside.app.home.workspace.resolve()
    for name, line in (("interpreter", "#!/bin/sh"), ("tool", f"#!{folder}/interpreter")):
        (folder / name).write_text(f"{line}\n")
        (folder / name).chmod(0o755)
    assert await _run(outside, "command", {"argv": ["./tool"]}, Origin(by="model", via="chat")) == "waiting"
    [approval] = await _pending(outside)
    for name in ("tool", "interpreter"):
        assert f"{folder}/{name} (sha256:" in approval.reason


@pytest.mark.parametrize("mode", [Mode.DENY, Mode.ALLOWLIST])
async def test_what_the_mode_refuses_is_refused_to_all_but_the_owner(engine: Any, mode: Mode) -> None:
    outside = _with_stand_ins(engine, mode, "echo")
    for origin in OTHERS:
        assert await _run(outside, "command", {"argv": ["id"]}, origin) == "failed"
    assert outside.done_outside == []
    listed = "waiting" if mode is Mode.ALLOWLIST else "failed"
    assert await _run(outside, "command", {"argv": ["echo", "hi"]}, OTHERS[0]) == listed
    for origin in OWNERS:
        assert await _run(outside, "command", {"argv": ["id"]}, origin) == "succeeded"


@pytest.mark.parametrize("mode", [Mode.DENY, Mode.ALLOWLIST])
@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("command", {"argv": ["id"]}),
        ("flow", {"document": {"name": "f", "steps": [{"id": "it", "command": ["id"]}]}}),
    ],
)
async def test_the_house_asks_nobody_for_what_its_mode_refuses_a_model(
    home: Home, mode: Mode, kind: str, params: dict[str, Any]
) -> None:
    async with open_app(home, Config(exec=Exec(mode=mode))) as app:
        house = Engine(app, SystemClock())
        submission = Submission(kind=kind, params=params, origin=Origin(by="model", via="chat"))
        task = await house.ledger.write(lambda tx: submit(tx, submission))
        task = await house.done(task.task_id)
        assert task.status is Status.FAILED
        assert f'mode is "{mode}"' in str(task.error)


async def test_an_answer_from_the_web_is_remembered(outside: Any) -> None:
    task = await outside.submit("http", params={"url": "https://a.org"})
    task = await outside.done(task.task_id)
    assert not task.origin.trusted
    assert task.origin.detail["read"][0]["what"] == "what a.org answered"


FETCH = {"id": "fetch", "kind": "http", "params": {"url": "https://a.org"}}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"command": ["ls", "-l"]}, "succeeded"),
        ({"command": ["wc", "-l"], "stdin": "{steps.fetch.result.text}"}, "succeeded"),
        ({"command": ["echo", "{args.word}"]}, "succeeded"),
        ({"command": ["echo", "{steps.fetch.result.text}"]}, "waiting"),
        ({"command": ["sh"], "stdin": "{steps.fetch.result.text}"}, "waiting"),
        (
            {"kind": "http", "params": {"url": "https://b.org", "method": "POST", "body": "hello"}},
            "succeeded",
        ),
        (
            {
                "kind": "http",
                "params": {"url": "https://b.org", "method": "POST", "body": "{steps.fetch.result.text}"},
            },
            "succeeded",
        ),
        ({"kind": "http", "params": {"url": "https://{steps.fetch.result.text}/"}}, "waiting"),
    ],
)
async def test_a_flow_runs_its_own_text_and_asks_for_what_came_from_outside(
    outside: Any, step: dict[str, Any], expected: str
) -> None:
    document = {"name": "f", "args": {"word": {"default": "x"}}, "steps": [FETCH, {"id": "then", **step}]}
    task = await outside.submit("flow", params={"document": document, "args": {}})
    if expected == "succeeded":
        done = await outside.done(task.task_id)
        assert done.status is Status.SUCCEEDED, done.error
        return
    changed = outside.ledger.bell.subscribe("approvals", "ended")
    while not (found := await _pending(outside)):
        await changed.wait()
        changed.clear()
    assert "the result of fetch" in found[0].reason
