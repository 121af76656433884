"""A standing order's scope holds at the one door."""

import pytest

from tawny.domain import scope
from tawny.domain.origin import inherit
from tawny.domain.scope import Gate, Scope
from tawny.domain.tasks import Origin, Status
from tawny.engine.kinds import Kind
from tawny.tools.registry import Operation

from .conftest import Script, rules

NOTES = Scope(allow=("file.*", "mail.send"), deny=("file.delete",), targets=("bob@x.org",))


async def test_outside_its_scope_a_call_is_refused_whatever_a_rule_allows(runs, world):
    world.rules = rules(("level >= 1", "allow"))
    results = await runs.run(
        ("pay", {}),
        ("delete", {}),
        ("mail_send", {"to": "eve@x.org"}),
        ("notes", {}),
        origin=scope.bound(Origin(), NOTES),
    )
    assert [str(one).split(":")[0] for one in results[:3]] == ["refused"] * 3
    assert world.done == [("notes", "")]


async def test_a_gate_that_does_not_hold_refuses(runs, world):
    bounds = Scope(allow=("*",), gates=(Gate("level < 3", "deny"),))
    results = await runs.run(
        ("mail_send", {"to": "b@x.org"}), ("notes", {}), origin=scope.bound(Origin(), bounds)
    )
    assert str(results[0]).startswith("refused")
    assert world.done == [("notes", "")]


def test_what_a_run_starts_stays_in_its_scope():
    assert scope.of(inherit(scope.bound(Origin(), NOTES), {}, by="model")) == (NOTES,)


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        (Scope(allow=("command",)), Status.SUCCEEDED),
        (Scope(allow=("http",)), Status.FAILED),
        (Scope(allow=("command",), gates=(Gate("level < 1"),)), Status.WAITING),
    ],
)
async def test_the_kinds_that_are_no_tools_are_bound_too(runs, engine, bounds, verdict):
    async def run(context, params):
        operation = Operation(name="exec.allowed", operation="execute", level=1)
        await runs.door.permit(context, tool="command", operation=operation, arguments={}, key="run")
        return {}

    engine.app.kinds["script"] = Kind(name="script", params=Script, run=run)
    task = await runs.start(origin=scope.bound(Origin(by="automation", via="schedule"), bounds))
    task = await engine.until(task.task_id, Status.SUCCEEDED, Status.FAILED, Status.WAITING)
    assert task.status is verdict


def test_a_path_that_climbs_is_outside():
    assert scope.refusal((Scope(allow=("*",), targets=("papers/*",)),), ("file.read",), ("papers/../key",))
