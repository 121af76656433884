"""The README's first five minutes, word by word, on a machine with nothing on it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import servers
from tawny.cli.main import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def lines() -> list[str]:
    section = README.partition("## The first five minutes")[2]
    block = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]
    return [line.split("  #")[0].strip() for line in block.splitlines()]


@pytest.mark.timeout(300)
def test_each_line_does_what_it_says(tmp_path: Path):
    onboard, gateway, run, watch = lines()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TAWNY", "XDG"))
    } | {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def shell(line: str, typed: str = "") -> str:
        done = subprocess.run(
            ["bash", "-euc", line],
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    said = shell(onboard, typed="Europe/Berlin\n\n\n\n07:30\n")
    assert len(re.findall(r"\]: ", said)) == 5, "at most five questions"
    assert "The morning brief comes on weekdays at 07:30" in said
    assert "Good Morning!" in said, "it ends with a real task"
    assert "It works. Next: tawny gateway run" in said
    assert "Morning brief" in shell("tawny automations list")

    # The one thing that is not on the page: a port of our own.
    process = subprocess.Popen(
        ["bash", "-euc", f"exec {gateway} --port {servers.free_port()}"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready, panel = process.stdout.readline(), process.stdout.readline()
        assert ready.startswith("ready http://127.0.0.1:")
        assert re.match(r"panel http://127\.0\.0\.1:\d+/#token=\w+", panel), "it prints the panel's address"
        task = shell(run).split()[0]
        # A person looks on for a while and presses Ctrl-C.
        board = shell(f"timeout --signal INT --preserve-status 8 {watch}")
        assert "Simulated task of 20 steps" in board
        shell(f"tawny tasks cancel {task}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    assert process.returncode == 0


def test_files_of_a_task_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    home = tmp_path / "home"
    (home / "workspace").mkdir(parents=True)
    (home / "workspace" / "plan.md").write_text("# Plan\n\nThe deadline is June 30.\n")
    digest = ["--kind", "digest_document", "--params", '{"path": "plan.md"}', "--title", "Plan", "--wait"]
    assert main(["--home", str(home), "tasks", "run", *digest]) == 0
    capsys.readouterr()
    assert main(["--home", str(home), "tasks", "show", "Plan"]) == 0
    (path,) = re.findall(r"^files +(.+)$", capsys.readouterr().out, re.MULTILINE)
    assert "deadline" in Path(path).read_text()
