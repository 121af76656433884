"""The Makefile's way without uv: a Python that is too old is refused before anything is made."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("version", "is_refused"), [("3, 9", True), ("3, 10", True), ("3, 11", False)])
@pytest.mark.parametrize("stamp", [".package", ".installed"])
def test_python_that_is_too_old_is_refused_in_one_line(
    tmp_path: Path, version: str, is_refused: bool, stamp: str
):
    """The stand-in answers for its version, and makes no environment."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "import sys; sys.version_info = ({version})\n$2"\n'
        "echo Python 0.0; [ $1 = -V ]\n"
    )
    python.chmod(0o700)
    done = subprocess.run(
        ["make", f"{tmp_path}/venv/{stamp}", "UV=", f"PYTHON={python}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    told = f"Tawny needs Python 3.11 or newer, {python} is Python 0.0 (name another: PYTHON=python3.12)"
    assert (told in done.stderr.splitlines()) is is_refused, done.stderr
    assert not (tmp_path / "venv").exists()
