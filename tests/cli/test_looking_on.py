"""`tasks watch`, `tasks follow` and the client's `events` before a real gateway: to the end, over its restart too."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import servers
from tawny.api import AsyncClient, Client, TemporaryError

TAWNY = [sys.executable, "-m", "tawny"]


@contextlib.contextmanager
def gateway(root: Path, port: int) -> Iterator[None]:
    argv = [*TAWNY, "--home", str(root), "gateway", "run", "--port", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("ready ")
        yield
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def hand_in(root: Path, *, steps: int) -> str:
    with Client(home=str(root)) as client:
        return client.run("simulate", {"steps": steps, "step_seconds": 0.1})["task_id"]


def tasks(root: Path, *words: str) -> list[str]:
    return [*TAWNY, "--home", str(root), "tasks", *words]


def recorded(root: Path, task_id: str) -> list[dict[str, Any]]:
    """The task's events as they stand in the record."""
    argv = tasks(root, "follow", task_id, "--no-wait")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(one) for one in done.stdout.splitlines()]


def test_watch_ends_with_its_task(tmp_path: Path) -> None:
    with gateway(tmp_path, servers.free_port()):
        task_id = hand_in(tmp_path, steps=30)
        argv = tasks(tmp_path, "watch", task_id)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        assert "succeeded" in done.stdout


def test_follow_goes_on_over_a_restart(tmp_path: Path) -> None:
    port = servers.free_port()
    with gateway(tmp_path, port):
        task_id = hand_in(tmp_path, steps=40)
        following = subprocess.Popen(tasks(tmp_path, "follow", task_id), stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None
        told: list[dict[str, Any]] = []
        while not told or told[-1]["type"] != "task.progress":
            told.append(json.loads(following.stdout.readline()))
    with gateway(tmp_path, port):
        told += [json.loads(one) for one in following.stdout]
        following.stdout.close()
        assert following.wait(20) == 0
        assert told[-1]["type"] == "task.succeeded"
        assert told == recorded(tmp_path, task_id)[: len(told)]


def test_clients_events_go_on_over_a_restart(tmp_path: Path) -> None:
    port = servers.free_port()
    told: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        with gateway(tmp_path, port):
            task_id = hand_in(tmp_path, steps=40)
            client = stack.enter_context(Client(home=str(tmp_path)))
            events = stack.enter_context(contextlib.closing(client.events(after=0, task=task_id)))
            while not told or told[-1]["type"] != "task.progress":
                told.append(next(events))
        with gateway(tmp_path, port):
            while told[-1]["type"] != "task.succeeded":
                told.append(next(events))
            assert told == recorded(tmp_path, task_id)[: len(told)]


async def test_async_client_waits_over_a_restart(tmp_path: Path) -> None:
    port = servers.free_port()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        with gateway(tmp_path, port):
            task_id = hand_in(tmp_path, steps=40)
            client = await stack.enter_async_context(AsyncClient(home=str(tmp_path)))
            waiting = group.create_task(client.wait(task_id))
            async with contextlib.aclosing(client.events(task=task_id)) as events:
                seen = 0
                while seen < 5:
                    seen += (await anext(events))["type"] == "task.progress"
        with gateway(tmp_path, port):
            assert (await waiting)["status"] == "succeeded"


def test_events_of_no_gateway_say_so_at_once() -> None:
    with (
        Client(f"http://127.0.0.1:{servers.free_port()}", token="x") as client,
        pytest.raises(TemporaryError, match="does not answer"),
    ):
        next(client.events())
