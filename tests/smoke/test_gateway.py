"""The gateway starts, says that it is ready, answers, and goes on where a killed one was."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path


def start(home: Path) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), line + (process.stderr.read() if process.stderr else "")
    return process, line.split()[1]


def call(address: str, home: Path, path: str, body: object = None) -> object:
    token = (home / "token").read_text().strip()
    request = urllib.request.Request(
        address + path,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def stop(process: "subprocess.Popen[str]", how: int) -> None:
    os.kill(process.pid, how)
    process.communicate(timeout=20)


def test_the_gateway_starts_and_a_killed_one_is_followed_by_another_that_goes_on(tmp_path):
    home = tmp_path / "home"
    process, address = start(home)
    made = call(address, home, "/v1/tasks", {"kind": "simulate", "params": {"steps": 3, "step_seconds": 0.2}})
    stop(process, signal.SIGKILL)

    process, address = start(home)
    try:
        assert isinstance(made, dict)
        shown = call(address, home, f"/v1/tasks/{made['task_id']}")
        assert isinstance(shown, dict)
        assert shown["status"] in ("running", "succeeded", "queued")
    finally:
        stop(process, signal.SIGTERM)
