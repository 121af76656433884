"""The always-on process itself: one a home, killed in the middle, ended by SIGTERM."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

import servers
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.ledger.database import write_now
from tawny.ledger.sqlite import SqliteStore

ENV = {**os.environ, "PYTHONUNBUFFERED": "1"}


class Running:
    """A gateway process, its address and its owner's token."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, token: str) -> None:
        self.process = process
        self.address = address
        self.client = httpx.AsyncClient(
            base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=10
        )


async def spawn(home: Home, *more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tawny", "--home", str(home.root), "gateway", "run", "--port", *(more or ("0",)),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENV,
    )  # fmt: skip


@asynccontextmanager
async def gateway(home: Home, port: str = "0") -> AsyncGenerator[Running]:
    process = await spawn(home, port)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = (await process.stdout.readline()).decode()
            panel = (await process.stdout.readline()).decode()
        assert ready.startswith("ready http://127.0.0.1:"), ready
        match = re.fullmatch(r"panel (http://[^/]+)/#token=(\w+)\n", panel)
        assert match is not None, panel
        running = Running(process, match[1], match[2])
        async with running.client:
            yield running
    finally:
        await servers.reap(process)


async def events(client: httpx.AsyncClient, last: int, until: str) -> list[int]:
    """The numbers of the events after `last`, up to one of type `until`, or until the gateway goes."""
    seen: list[int] = []
    with contextlib.suppress(httpx.HTTPError):
        async with client.stream("GET", "/v1/stream", headers={"last-event-id": str(last)}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    event: dict[str, Any] = msgspec.json.decode(line[6:])
                    seen.append(event["seq"])
                    if event["type"] == until:
                        break
    return seen


@pytest.mark.crash
async def test_killed_in_the_middle_of_a_stream_costs_the_device_nothing(home: Home) -> None:
    async with gateway(home) as first:
        port = first.address.rpartition(":")[2]
        body = {"kind": "simulate", "params": {"steps": 40, "step_seconds": 0.05}}
        task = (await first.client.post("/v1/tasks", json=body)).json()
        async with asyncio.TaskGroup() as group:
            following = group.create_task(events(first.client, 0, "task.succeeded"))
            while True:
                steps = (await first.client.get(f"/v1/tasks/{task['task_id']}/steps")).json()["items"]
                if len(steps) >= 5:
                    break
                await asyncio.sleep(0.02)
            first.process.send_signal(signal.SIGKILL)
        seen = following.result()
        assert seen
    async with gateway(home, port) as second:
        seen += await events(second.client, seen[-1], "task.succeeded")
        done = (await second.client.get(f"/v1/tasks/{task['task_id']}")).json()
    assert seen == list(range(1, len(seen) + 1))
    assert done["status"] == "succeeded"


@pytest.mark.crash
async def test_second_gateway_on_a_home_is_refused_and_the_first_goes_on(home: Home) -> None:
    begun = time.perf_counter()
    async with gateway(home) as first:
        ready = time.perf_counter() - begun
        took: list[float] = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begun = time.perf_counter()
            second = await spawn(home)
            async with asyncio.timeout(60):
                out, err = await second.communicate()
            took.append(time.perf_counter() - begun)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert second.returncode == 1
            # Within a second: of its own work, since nobody knows how busy the machine is.
            assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
            assert out == b""
            (line,) = err.decode().splitlines()
            assert f"{home.root} is in use by process {first.process.pid}" in line
            assert "stop that gateway, or give another --home" in line
            assert (await first.client.get("/readyz")).status_code == 200
        # Nor has it waited for the home: to be ready is more work than to be refused.
        assert min(took) < ready + 1


@pytest.mark.crash
async def test_sigterm_ends_streams_and_leaves_nothing_behind(home: Home) -> None:
    async with gateway(home) as running:
        note = home.run / "gateway.json"
        assert msgspec.json.decode(note.read_bytes())["pid"] == running.process.pid
        async with asyncio.TaskGroup() as group:
            following = group.create_task(events(running.client, 0, "never"))
            body = {"kind": "simulate", "params": {"steps": 1000, "step_seconds": 0.05}}
            task = (await running.client.post("/v1/tasks", json=body)).json()
            while (await running.client.get("/v1/status")).json()["devices"] == 0:
                await asyncio.sleep(0.02)
            running.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert await running.process.wait() == 0
        assert following.result()
        assert not note.exists()
    async with gateway(home) as again:
        async with asyncio.timeout(10):
            while (await again.client.get(f"/v1/tasks/{task['task_id']}")).json()["status"] != "running":
                await asyncio.sleep(0.02)
        await again.client.post(f"/v1/tasks/{task['task_id']}/cancel")


@pytest.mark.crash
async def test_command_line_rings_the_running_gateway(home: Home) -> None:
    async with gateway(home) as running:
        command = [sys.executable, "-m", "tawny", "--home", str(home.root), "--json", "tasks", "run"]
        process = await asyncio.create_subprocess_exec(
            *command, "--kind", "simulate", "--params", '{"steps": 2, "step_seconds": 0}', "--wait",
            stdout=asyncio.subprocess.PIPE, env=ENV,
        )  # fmt: skip
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        assert msgspec.json.decode(out)["status"] == "succeeded"
        listed = (await running.client.get("/v1/tasks")).json()["items"]
        assert [entry["status"] for entry in listed] == ["succeeded"]


@pytest.mark.crash
async def test_rotating_the_token_puts_the_old_one_out_of_the_running_gateway(home: Home) -> None:
    async with gateway(home) as running:
        command = [sys.executable, "-m", "tawny", "--home", str(home.root), "gateway", "rotate"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=ENV)
        out, _ = await process.communicate()
        assert (await running.client.get("/readyz")).status_code == 401
        fresh = {"authorization": f"Bearer {out.decode().strip()}"}
        assert (await running.client.get("/readyz", headers=fresh)).status_code == 200
        assert home.token_file.stat().st_mode & 0o777 == 0o600


async def test_a_reaped_child_leaves_nothing_open_that_outlives_the_loop() -> None:
    """Though its own child holds its pipes, as a gateway's commands do: to wait for it alone would leave them open."""
    script = "sleep 30 & echo $!; sleep 30"
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=-1, stderr=-1)
    assert process.stdout is not None
    grandchild = int(await process.stdout.readline())
    try:
        assert await servers.reap(process) == -signal.SIGKILL
        assert process._transport.is_closing()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    finally:
        os.kill(grandchild, signal.SIGKILL)


@pytest.mark.crash
async def test_a_channels_test_follows_its_message_over_a_kill_of_the_gateway(home: Home) -> None:
    """The first gateway dies while the message is under way; the second brings it, and the command tells of that."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(re.findall(rb"content-length: (\d+)", head)[0]))
        asked.set()
        await may_answer.wait()
        writer.write(b"HTTP/1.1 204 Fine\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        home.config_file.write_text(f'[[channels.webhook]]\nname = "ops"\nurl = "http://127.0.0.1:{port}/"\n')
        command = [
            sys.executable,
            "-m",
            "tawny",
            "--home",
            str(home.root),
            "--json",
            "channels",
            "test",
            "ops",
        ]
        async with gateway(home) as first, asyncio.timeout(60):
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=ENV)
            await asked.wait()
            await servers.reap(first.process)
        may_answer.set()
        store = SqliteStore(home.database)
        # What got no answer waits before the harmless repeat; this test does not.
        write_now(store, SystemClock(), lambda tx: tx.execute("UPDATE outbox SET next_at = 0"))
        async with gateway(home), asyncio.timeout(60):
            out, _ = await process.communicate()
    document = msgspec.json.decode(out)
    assert (process.returncode, document["status"]) == (0, "delivered"), document


_PROMPT = 3.0
"""A second is what is promised after `ready`; a busy machine gets three."""


@pytest.mark.crash
async def test_what_came_due_while_the_gateway_was_dead_starts_with_the_next_one_and_once(home: Home) -> None:
    """By the clock on the wall: a one-shot, a rhythm and a task that waits for its time; killed before, up after."""
    work = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0}}
    async with gateway(home) as first:
        due = datetime.now(UTC) + timedelta(seconds=5)
        anchor = (due - timedelta(hours=1)).isoformat()
        schedules = {
            "once": {"type": "at", "time": due.isoformat()},
            "hourly": {"type": "every", "interval": "1h", "anchor": anchor},
        }
        for name, schedule in schedules.items():
            document = {"name": name, "schedule": schedule, "action": work}
            answer = await first.client.post("/v1/automations", json=document)
            assert answer.status_code == 201, answer.text
        body = {"kind": "simulate", "params": work["parameters"], "not_before": due.isoformat()}
        waiting = (await first.client.post("/v1/tasks", json=body)).json()
        await servers.reap(first.process)
    assert datetime.now(UTC) < due, "this machine is too slow to be killed in time"
    while datetime.now(UTC) < due:
        await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
    async with gateway(home) as second:
        ready = datetime.now(UTC)
        last = 0
        for _ in range(3):
            last = (await events(second.client, last, until="task.succeeded"))[-1]
        tasks = (await second.client.get("/v1/tasks")).json()["items"]
        for task in tasks:
            late = (datetime.fromisoformat(task["started_at"]) - ready).total_seconds()
            assert late < _PROMPT, (task["title"], late)
            assert datetime.fromisoformat(task["started_at"]) >= due
        assert sorted(task["title"] for task in tasks) == sorted(["once", "hourly", waiting["title"]])
        found = (await second.client.get("/v1/automations")).json()["items"]
        for automation in found:
            runs = (await second.client.get(f"/v1/automations/{automation['id']}/runs")).json()["items"]
            assert [run["status"] for run in runs] == ["caught_up"]
            assert runs[0]["task_id"] in {task["task_id"] for task in tasks}
