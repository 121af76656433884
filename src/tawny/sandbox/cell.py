"""A sandbox for one long-lived program of our own that reads strangers' bytes: no network, no home, nothing to write.

Unlike a command it has no supervisor: whoever starts it talks to it through pipes and ends it. The interpreter's own
files are all that it sees beside the read-only system.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tawny.errors import Refused
from tawny.sandbox import seccomp
from tawny.sandbox.entry import blob, substitute
from tawny.sandbox.order import MEGABYTE, Limits, Order, Sandbox

_PACKAGE = Path(__file__).resolve().parents[1]
_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")
_LIMITS = Limits(file_size=64 * MEGABYTE)
"""What it may put into its own temporary folder, which is memory. The rest is bounded by the program itself."""


class Cell(NamedTuple):
    """How to start the program: `descriptors` are inherited, and closed by whoever has started it.

    `seal` is the filter of system calls that the program puts over itself once it runs, empty where there is none.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    descriptors: tuple[int, ...]
    seal: bytes


def open_cell(sandbox: Sandbox, argv: Sequence[str], *, keep_out: Path, platform: str = sys.platform) -> Cell:
    """A cell for a program of our own interpreter. `keep_out` is the home, of which it may see nothing.

    Raises:
        Refused: the sandbox cannot be had; the hint is the mend.
    """
    try:
        sandbox.check()
    except Refused as error:
        raise Refused(
            f"what strangers wrote is parsed in a sandbox alone: {error.message}", hint=error.hint
        ) from error
    readable = interpreter_files()
    for path in readable:
        if keep_out.resolve().is_relative_to(path):
            raise Refused(
                f"the home {keep_out} lies within {path}, which parsers have to see",
                hint="keep Tawny's home apart from the Python it runs in",
            )
    order = Order(
        argv=tuple(argv),
        cwd="/tmp",
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        readable=readable,
        limits=_LIMITS,
        alone=True,
    )
    wrapped = sandbox.wrap(order)
    opened = {name: blob(data) for name, data in wrapped.blobs.items()}
    return Cell(
        tuple(substitute(part, opened) for part in wrapped.argv),
        wrapped.env,
        tuple(opened.values()),
        seccomp.seal_for() if platform == "linux" else b"",
    )


def interpreter_files() -> tuple[str, ...]:
    """What this Python needs to run Tawny: its libraries, its environment's, and the package; each once."""
    found: list[str] = []
    for path in sorted(_needed()):
        known = any(Path(path).is_relative_to(other) for other in found)
        if not known and not Path(path).is_relative_to("/usr"):
            found.append(path)
    return tuple(found)


def _needed() -> Iterator[str]:
    yield str(_PACKAGE)
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    for prefix in prefixes | {os.path.realpath(prefix) for prefix in prefixes}:
        for name in _PARTS:
            path = os.path.join(prefix, name)
            if os.path.exists(path):
                yield path
    # The interpreter may be a link to a link; each of them must be there.
    link = sys.executable
    while os.path.islink(link):
        yield link
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    yield link
