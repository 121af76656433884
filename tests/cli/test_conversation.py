"""`tawny chat` at a real terminal: answers, a question answered with its number, results that come by themselves."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 90.0


class Terminal:
    """A terminal with `tawny chat` in it."""

    def __init__(self, home: Path) -> None:
        ours, theirs = pty.openpty()
        argv = [sys.executable, "-m", "tawny", "--home", str(home), "chat"]
        env = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        self._end = ours
        self._read = ""
        self.seen = ""

    def type(self, line: str) -> None:
        os.write(self._end, (line + "\n").encode())

    def press(self, key: bytes) -> None:
        os.write(self._end, key)

    def until(self, words: str) -> str:
        """Read until the words stand there; what stood there up to them."""
        deadline = time.monotonic() + PATIENCE
        while words not in self._read:
            ready, _, _ = select.select([self._end], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{words!r} did not come; this stood there:\n{self.seen}"
            piece = os.read(self._end, 65536).decode(errors="replace")
            self._read += piece
            self.seen += piece
        before, _, self._read = self._read.partition(words)
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@pytest.fixture
def home(tmp_path: Path) -> Generator[Path]:
    with gateway(tmp_path):
        yield tmp_path


@contextmanager
def gateway(home: Path) -> Generator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def terminal(home: Path) -> Generator[Terminal]:
    terminal = Terminal(home)
    try:
        terminal.until("> ")
        yield terminal
    finally:
        terminal.close()


def test_answer_comes_while_it_is_made_and_a_result_by_itself_above_what_is_typed(terminal: Terminal):
    terminal.type("run a test task of 1 second")
    terminal.until('Started "test task" in the background')
    terminal.until("> ")
    terminal.press(b"how is")
    terminal.until("Simulated 1 step")
    assert "how is" in terminal.until("how is") + "how is"
    terminal.type(" it going?")
    terminal.until("Nothing is running")


def test_question_is_answered_with_its_number(terminal: Terminal, home: Path):
    terminal.type('call write_file {"path": "a.txt", "content": "x"}')
    terminal.until("> ")
    terminal.type('call exec {"command": "touch made.txt"}')
    asked = terminal.until("3 no")
    assert "exec.run" in asked
    assert "touch made.txt" in asked
    terminal.type("1")
    terminal.until("Yes, it goes on.")
    terminal.until("completed")
    assert (home / "workspace" / "made.txt").exists()


def test_command_is_answered_once(terminal: Terminal):
    terminal.type("/status")
    terminal.until("No message waits.")
    terminal.type("hello")
    assert "No message waits." not in terminal.until("I am Tawny")


def test_end_of_input_ends_it_and_an_interrupt_does_not(terminal: Terminal):
    terminal.press(b"\x03")
    terminal.type("hello")
    terminal.until("I am Tawny")
    terminal.until("> ")
    terminal.press(b"\x04")
    assert terminal.process.wait(PATIENCE) == 0
