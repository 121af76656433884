"""A disk that refuses while the gateway runs: new work is refused, what runs is kept, all recovers by itself."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.damage import spoil

from tawny.cli.proof.power import Promises, examine
from tawny.config import Home

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the disk fail")


@asynccontextmanager
async def gateway(home: Home, *prefix: str) -> AsyncGenerator[tuple[httpx.AsyncClient, Any]]:
    process = await asyncio.create_subprocess_exec(
        *prefix, sys.executable, "-m", "tawny", "--home", str(home.root), "gateway", "run", "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            await process.stdout.readline()
            panel = (await process.stdout.readline()).decode()
        match = re.fullmatch(r"panel (http://[^/]+)/#token=(\w+)\n", panel)
        assert match is not None, panel
        headers = {"authorization": f"Bearer {match[2]}"}
        async with httpx.AsyncClient(base_url=match[1], headers=headers, timeout=60) as client:
            yield client, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            # The whole group: strace passes no signal on.
            os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.communicate()


async def ended(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    """The task when it has ended; asked again and again, as a script would."""
    async with asyncio.timeout(90):
        while True:
            task = (await client.get(f"/v1/tasks/{task_id}")).json()
            if task["status"] in ("succeeded", "failed", "timed_out", "cancelled", "lost"):
                return task
            await asyncio.sleep(0.05)


@needs_strace
@pytest.mark.parametrize(
    "inject",
    ["fdatasync:error=EIO", "pwrite64:error=ENOSPC", "pwrite64:error=EIO"],
    ids=lambda name: name[:14],
)
async def test_new_work_is_refused_what_runs_is_kept_and_all_goes_on_when_the_disk_is_back(home, inject):
    async with gateway(home):
        pass
    log = str(home.database) + "-wal"
    first = 40 if inject.startswith("pwrite64") else 12
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", log, "-e", f"trace={inject.partition(':')[0]}"]
    accepted: list[str] = []
    refusals: list[dict[str, Any]] = []
    async with gateway(home, *strace, "-e", f"inject={inject}:when={first}..{first + 6}") as (
        client,
        process,
    ):
        work = {"kind": "simulate", "params": {"steps": 12, "step_seconds": 0.1}}
        while len(accepted) < 3 or (not refusals and len(accepted) < 60):
            answer = await client.post(
                "/v1/tasks", json=work if not accepted else {"kind": "remind", "params": {"text": "x"}}
            )
            if answer.status_code == 202:
                accepted.append(answer.json()["task_id"])
            else:
                refusals.append({"status": answer.status_code, **answer.json()["error"]})
            await asyncio.sleep(0.05)
        results = [await ended(client, task_id) for task_id in accepted]
        assert process.returncode is None

    assert refusals, "the disk's refusal met no submission"
    assert {(refusal["status"], refusal["code"], refusal["retryable"]) for refusal in refusals} == {
        (503, "storage", True)
    }
    assert all(refusal["hint"] for refusal in refusals)
    assert [(task["status"], task["attempt"]) for task in results] == [("succeeded", 1)] * len(results)
    # A failed write or sync was not treated as success: the record is whole, and has every promise, after a restart.
    problems = examine(home, Promises(accepted=set(accepted), ended=dict.fromkeys(accepted, "succeeded")))
    assert problems == []


async def test_a_log_that_cannot_be_written_stops_no_work(home):
    (home.logs / "tawny.jsonl").symlink_to("/dev/full")
    async with gateway(home) as (client, _):
        task = (await client.post("/v1/tasks", json={"kind": "remind", "params": {"text": "x"}})).json()
        assert (await ended(client, task["task_id"]))["status"] == "succeeded"


async def test_damage_ends_the_gateway_with_one_line_that_names_the_mend_and_the_next_start_refuses(home):
    async with gateway(home) as (client, process):
        for _ in range(20):
            body = {"kind": "remind", "params": {"text": "x" * 3000}, "not_before": "1h"}
            assert (await client.post("/v1/tasks", json=body)).status_code == 202
        spoil(home.database)
        with contextlib.suppress(httpx.HTTPError):
            assert (await client.post("/v1/tasks", json=body)).json()["error"]["code"] == "damaged"
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"damaged" in errors
    assert b"tawny backup restore" in errors
    assert b"Traceback" not in errors

    again = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tawny", "--home", str(home.root), "gateway", "run", "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await asyncio.wait_for(again.communicate(), 60)
    assert (again.returncode, b"damaged" in errors) == (1, True)
