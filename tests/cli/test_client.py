"""The Python client against the real gateway; and what plugins make with `tawny.api`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import servers
from tawny.api import (
    AsyncClient,
    Client,
    Context,
    NotFound,
    Reading,
    TemporaryError,
    Todo,
    ToolContext,
    action,
    hookimpl,
    source,
    tool,
)
from tawny.app import open_app
from tawny.config import Config, Home, Source, Sources
from tawny.domain.permissions import SENSITIVE
from tawny.plugins import find
from tawny.sources.place import Place, TodoQuery
from tawny.sources.shelf import Shelf


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    root = str(tmp_path / "home")
    port = servers.free_port()
    argv = [sys.executable, "-m", "tawny", "--home", root, "gateway", "run", "--port", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready ")
    try:
        yield root
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def test_client_runs_and_waits_without_being_told_where(gateway: str):
    with Client(home=gateway) as client:
        task = client.run(
            "simulate", {"steps": 3, "step_seconds": 0.05}, title="Three", idempotency_key="once"
        )
        again = client.run(
            "simulate", {"steps": 3, "step_seconds": 0.05}, title="Three", idempotency_key="once"
        )
        assert again["task_id"] == task["task_id"]
        ended = client.wait(task["task_id"])
        assert ended["status"] == "succeeded"
        assert [one["title"] for one in client.tasks(status="succeeded")] == ["Three"]
        with pytest.raises(NotFound):
            client.task("task_none")
        assert "".join(client.say("/status")["text"].split())


async def test_async_client_follows_events(gateway: str):
    async with AsyncClient(home=gateway) as client:
        task = await client.run("simulate", {"steps": 50, "step_seconds": 0.1})
        await client.steer(task["task_id"], "cancel")
        assert (await client.wait(task["task_id"]))["status"] == "cancelled"
        async for event in client.events(after=0):
            assert event["seq"] >= 1
            break


def test_client_without_a_gateway_says_how_to_start_one(tmp_path: Path):
    with pytest.raises(TemporaryError, match="no gateway runs"):
        Client(home=str(tmp_path))


class Params(msgspec.Struct):
    text: str = "hi"


@action("shout", Params)
async def shout(_: Context, params: Params) -> str:
    """Says it louder."""
    return params.text.upper()


@tool("poke", Params)
async def poke(_: ToolContext, params: Params) -> str:
    """Pokes."""
    return params.text


@source("todo", "paper")
async def paper(place: Place, _: TodoQuery) -> Reading[Todo]:
    if "torn" in place.url:
        raise RuntimeError("the paper is torn")
    return Reading(place.name, (Todo(uid="1", title=f"Read {place.url}"),))


class Plugin:
    @hookimpl
    def tawny_kinds(self):
        return [shout]

    @hookimpl
    def tawny_tools(self):
        return [poke]

    @hookimpl
    def tawny_sources(self):
        return [paper]


def test_plugin_offers_what_the_decorators_make():
    plugins = find(Plugin())
    assert plugins.kinds["shout"].description == "Says it louder."
    assert plugins.tools["poke"].operation(Params()).level == SENSITIVE
    assert [(kind.noun, kind.scheme) for kind in plugins.sources] == [("todo", "paper")]


async def test_source_of_a_plugin_is_read_like_any_other():
    settings = Sources(todo=(Source(name="desk", url="paper://desk"), Source(name="bin", url="paper://torn")))
    shelf = Shelf(settings, kinds=find(Plugin()).sources)
    assert (await shelf.todos("desk")).items[0].title == "Read paper://desk"
    with pytest.raises(Exception, match='todo "bin" cannot be read: RuntimeError: the paper is torn'):
        await shelf.todos("bin")


async def test_action_of_a_plugin_is_a_kind_of_task(home: Home):
    async with open_app(home, Config(), kinds={"shout": shout}) as app:
        assert app.kinds["shout"].name == "shout"
