"""The command line: one word, one module; only the module that is needed is imported."""

import argparse
import contextlib
import errno
import io
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from tawny import __version__
from tawny.cli.arguments import Parser, close
from tawny.cli.complaint import complain
from tawny.errors import ConfigError, InvalidInput, TawnyError, first_of

COMMANDS = {
    "demo": "the main job on bundled data in a temporary home; no key needed",
    "onboard": "set up this machine: at most five questions, then a real task",
    "gateway": "the always-on process: run, install, start, stop, status",
    "worker": "run background tasks on one more machine, against the same database",
    "chat": "talk to the assistant",
    "tasks": "background work: list, show, run, watch, cancel, pause, why …",
    "flow": "flows: run, check, list, show, cancel, resume",
    "automations": "standing orders: add, list, preview, runs, why …",
    "approvals": "what waits for your yes",
    "inbox": "messages kept for you",
    "audit": "who did what: list, export, verify",
    "sessions": "conversations",
    "memory": "what is remembered",
    "skills": "what the assistant has learnt to do",
    "channels": "where messages come and go",
    "import": "take along what an OpenClaw assistant was told, remembers and has learnt",
    "status": "how things stand",
    "doctor": "what is wrong here, and its mend",
    "config": "get, set, check",
    "secrets": "the encrypted file of secrets: list, set, remove",
    "logs": "the runtime's own log",
    "backup": "copy the home's record; restore",
    "selftest": "prove the durability promises on this machine",
    "version": "the version",
}
ALIASES = {"cron": "automations", "task": "tasks", "automation": "automations", "flows": "flow"}


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit code: 0 done, 1 failed or found something, 2 wrong use."""
    try:
        try:
            return _main(list(sys.argv[1:] if argv is None else argv))
        finally:
            print(end="", flush=True)  # what cannot be written is known now, not when the interpreter ends
    except BrokenPipeError:
        # The reader has gone (`| head`); nothing is left to say.
        _leave_quietly()
        return 0
    except OSError as error:
        complain(f"what is said cannot be written: {error.strerror or error}", _mend(error))
        _leave_quietly()
        return 1


def _main(argv: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever letters this terminal knows
    argv = [_as_text(given) for given in argv]
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    if (odd := next((given for given in argv if _is_no_text(given)), None)) is not None:
        complain(f"{odd!r} holds bytes that are no text", "give it in UTF-8")
        return 2
    word = _word(argv)
    if "--version" in argv[:1] or argv in (["version"], ["--home", *argv[1:2], "version"]):
        print(f"tawny {__version__}")
        return 0
    if word is None or word not in COMMANDS:
        return _overview(word, argv)
    module = _module(word)
    if module is None:
        complain(f"{word!r} is not in this build", "see 'tawny --help'")
        return 2
    parser = Parser(prog=f"tawny {word}", description=COMMANDS[word])
    add_common(parser)
    module.configure(parser)
    rest = list(argv)
    rest.remove(next(given for given in argv if ALIASES.get(given, given) == word))
    return _run(module, parser.parse_args(rest))


def add_common(parser: argparse.ArgumentParser) -> None:
    """`--home` and `--json`, which every command takes; also after a subcommand."""
    parser.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help="the home to work on")
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document"
    )


def _run(module: ModuleType, args: argparse.Namespace) -> int:
    from tawny.config import find_home  # noqa: PLC0415 - whoever asks for help waits for no configuration

    args.json = getattr(args, "json", False)
    given = getattr(args, "home", None)
    if given is not None and not given.strip():
        complain("--home names no folder", "is a variable empty?")
        return 2
    home = find_home(given)
    try:
        return int(module.run(args, home))
    except (ConfigError, InvalidInput) as error:
        complain(error.message, error.hint)
        return 2
    except TawnyError as error:
        complain(error.message, error.hint)
        return 1
    except ExceptionGroup as group:
        known = first_of(group, TawnyError)
        if known is None:
            raise
        complain(known.message, known.hint)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{error.filename or home.root}: {error.strerror or error}", _mend(error))
        return 1


def _leave_quietly() -> None:
    """Nothing is left to say, and nothing is to be said about that when the interpreter closes its streams."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mend(error: OSError) -> str:
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return "may this account write there? --home or TAWNY_HOME names another home"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a folder belongs there: move the file away"
    return ""


def _as_text(given: str) -> str:
    """UTF-8 that a terminal of another kind handed over as bytes."""
    try:
        return given if given.isascii() else os.fsencode(given).decode()
    except UnicodeError:
        return given


def _is_no_text(given: str) -> bool:
    """Bytes that are no UTF-8 come as lone surrogates; only the name of a file that is there may hold them."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return not os.path.lexists(given)
    return False


def _word(argv: list[str]) -> str | None:
    """The command's word: the first argument that is no option (nor the value of `--home`)."""
    skip = False
    for given in argv:
        if skip:
            skip = False
        elif given == "--home":
            skip = True
        elif not given.startswith("-"):
            return ALIASES.get(given, given)
    return None


def _module(word: str) -> ModuleType | None:
    name = f"tawny.cli.{word}"
    return import_module(name) if find_spec(name) is not None else None


def _overview(word: str | None, argv: list[str]) -> int:
    lines = ["usage: tawny [--home DIR] [--json] COMMAND …", ""]
    lines += [f"  {name:<12} {what}" for name, what in COMMANDS.items()]
    text = "\n".join(lines)
    if word is None and argv and argv[-1] == "--home":
        complain("--home names no folder", "write it like --home DIR COMMAND")
        return 2
    if word is None and (not argv or argv[0] in ("-h", "--help")):
        print(text)
        return 0 if argv else 2
    meant = close(word or argv[0], [*COMMANDS, *ALIASES])
    complain(
        f"there is no command {word or argv[0]!r}",
        f"did you mean {meant!r}?" if meant else "'tawny --help' lists them",
    )
    return 2
