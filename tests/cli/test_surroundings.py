"""Where commands are run: pipes that close, odd terminals, homes that cannot be used, signals at any moment."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tawny.cli.main import main

TAWNY = [sys.executable, "-m", "tawny"]


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **more}


def ran(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, timeout=100, check=False
    )


def tawny(tmp_path: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TAWNY, *words], env=environment(tmp_path, **more), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, encoding="utf-8", errors="replace", timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("words", ["--help", "tasks --help", "tasks kinds --json", "config get"])
@pytest.mark.parametrize("output", ["| true", "| head -c 5 >/dev/null", ">&-", "2>&- >&-"])
def test_reader_that_goes_away_is_no_failure(words: str, output: str, tmp_path: Path):
    line = f"{' '.join(TAWNY)} {words} {output}; echo ${{PIPESTATUS[0]}} >&9"
    done = ran(tmp_path, "bash", "-c", f"exec 9>{tmp_path}/code; {line}")
    assert (tmp_path / "code").read_text().strip() == "0", done.stderr
    assert "rror" not in done.stderr


def test_output_that_finds_no_room_is_told(tmp_path: Path):
    line = f"{' '.join(TAWNY)} --help >/dev/full"
    done = ran(tmp_path, "bash", "-c", line)
    assert done.returncode == 1
    assert done.stderr == "tawny: what is said cannot be written: No space left on device (make room there)\n"


@pytest.mark.parametrize(
    "more",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_words_survive_any_terminal(more: dict[str, str], tmp_path: Path):
    kept = tawny(tmp_path, "memory", "save", "Grüße aus 会議", **more)
    assert (kept.returncode, kept.stderr) == (0, "")
    found = tawny(tmp_path, "memory", "search", "Grüße", **more)
    assert (found.returncode, found.stderr) == (0, "")
    assert "Grüße aus 会議" in tawny(tmp_path, "memory", "search", "Grüße", PYTHONUTF8="1").stdout


def test_nothing_is_needed_of_the_environment(tmp_path: Path):
    done = subprocess.run(
        [*TAWNY, "--home", str(tmp_path / "home"), "status"], env={}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_home_that_is_no_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "workspace").touch()
    for home, code, words in (
        ("file", 2, "is {home} the right home? A folder belongs there"),
        ("half", 1, "{home}/workspace: File exists (a folder belongs there: move the file away)"),
    ):
        path = str(tmp_path / home)
        assert main(["--home", path, "tasks", "list"]) == code
        assert words.format(home=path) in capsys.readouterr().err
    assert main(["--home", "", "tasks", "list"]) == 2
    assert "--home names no folder" in capsys.readouterr().err


@pytest.fixture
def read_only(tmp_path: Path) -> list[str]:
    """What stands before a command that sees the home, but cannot write there."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    home = tmp_path / "home"
    assert main(["--home", str(home), "tasks", "run", "--kind", "remind", "--params", '{"text": "x"}']) == 0
    return ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(home), str(home), *TAWNY, "--home", str(home)]


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "tasks list",
        "memory save x",
        "config set model.name demo",
        "chat hi",
        "gateway run --port 0",
    ],
)
def test_home_that_cannot_be_written_is_told_in_one_line(words: str, read_only: list[str], tmp_path: Path):
    done = ran(tmp_path, *read_only, *words.split())
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("tawny: ")
    assert "writ" in line or "Read-only" in line


def test_memory_is_searched_where_nothing_can_be_written(read_only: list[str], tmp_path: Path):
    (tmp_path / "home" / "workspace" / "MEMORY.md").write_text("- The boiler is serviced every May.\n")
    done = ran(tmp_path, *read_only, "memory", "search", "boiler")
    assert (done.returncode, done.stderr) == (0, "")
    assert "every May" in done.stdout


@pytest.mark.parametrize("indexed", [False, True])
def test_memory_is_searched_where_there_is_no_room(indexed: bool, tmp_path: Path):
    home = tmp_path / "home"
    assert main(["--home", str(home), "memory", "save", "The boiler is serviced every May"]) == 0
    if indexed:
        assert main(["--home", str(home), "memory", "search", "boiler"]) == 0
        assert main(["--home", str(home), "memory", "save", "The boiler is loud"]) == 0
    line = f"ulimit -f 0; {' '.join(TAWNY)} --home {home} memory search boiler | cat"
    done = ran(tmp_path, "bash", "-c", f"set -o pipefail; {line}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "every May" in done.stdout
    assert ("is loud" in done.stdout) == indexed


def test_database_that_cannot_be_opened_is_not_called_damaged(read_only: list[str], tmp_path: Path):
    done = ran(tmp_path, *read_only, "doctor")
    assert done.returncode == 1
    assert "damaged" not in done.stdout
    assert "the home must be there and writable" in done.stdout


def _heeded() -> None:
    """A suite that runs in the background may have been told to ignore these, and its children with it."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_demo_that_is_broken_off_leaves_nothing_behind(number: signal.Signals, tmp_path: Path):
    process = subprocess.Popen(
        [*TAWNY, "demo", "--once"], env=environment(tmp_path, TMPDIR=str(tmp_path)), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=_heeded,
    )  # fmt: skip
    assert process.stdout is not None
    assert "is ready after" in process.stdout.readline()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=\S+\n", process.stdout.readline())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tawny-demo-")]
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tawny-demo-")] == []


def test_interrupt_while_code_is_loaded_is_quiet(tmp_path: Path):
    # The interrupt comes by itself while the command line is being imported.
    code = (
        "import sys, importlib.abc\n"
        "class Impatient(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'tawny.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "sys.argv = ['tawny', 'status']\n"
        "from tawny.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = ran(tmp_path, sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (130, "")


def test_file_with_a_name_that_is_no_text_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = os.fsencode(tmp_path) + b"/caf\xe9.json"
    Path(os.fsdecode(name)).write_text('{"name": "Up", "schedule": {"type": "every", "interval": "1h"}, '
                                       '"action": {"type": "remind", "parameters": {"text": "x"}}}')  # fmt: skip
    home = str(tmp_path / "home")
    assert main(["--home", home, "automations", "add", "--file", os.fsdecode(name)]) == 0
    assert main(["--home", home, "automations", "show", os.fsdecode(b"caf\xe9")]) == 2
    assert "holds bytes that are no text" in capsys.readouterr().err
