"""Which commands run without a question: the mode, and an allow-list bound to the very program and the very words.

An entry is a name (`ls`: that program, pinned by path, inode and content, with any arguments that cannot make it write,
run or load something else), an exact argument vector (`git status`: these words and no others), or a name with a star
(`pytest *`: any arguments, which the owner answers for). A bare name means something only for the programs that are
known to do nothing but read; programs that run other programs are meant by neither name nor star.
"""

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from tawny.domain import environment, shell
from tawny.domain.programs import (
    CLOCK,
    FAMILY,
    INPUTS,
    LONG,
    NEVER_ALONE,
    OUTWARD_FILTER,
    READERS,
    RUNNERS,
    SHORT,
)
from tawny.errors import ConfigError

STAR = "*"
"""As the only argument of an entry: any arguments."""


class Mode(StrEnum):
    """`[exec] mode`."""

    DENY = "deny"
    ALLOWLIST = "allowlist"
    ASK = "ask"
    FULL = "full"


class Verdict(StrEnum):
    RUN = "run"
    ASK = "ask"
    REFUSE = "refuse"


class Binary(msgspec.Struct, frozen=True):
    """A program as it lies on the disk: its real path, device, inode and the hash of its content."""

    path: str
    device: int
    inode: int
    digest: str = ""


class Entry(msgspec.Struct, frozen=True):
    """An allow-list entry with the program it was bound to at load; `binary` is `None` where there was none.

    `files` are those its words name for a program that runs what it is given, each with the hash of its content.
    """

    words: tuple[str, ...]
    binary: Binary | None
    files: tuple[tuple[str, str], ...] = ()

    @property
    def is_exact(self) -> bool:
        return len(self.words) > 1 and not self.is_open

    @property
    def is_open(self) -> bool:
        """Whether it stands for any arguments."""
        return self.words[1:] == (STAR,)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command as it is about to run. `words` is `None` where a shell is needed for `line`; `binary` is found now.

    `files` are as in `Entry`; `others` are further programs that a line of shell names.
    """

    line: str
    words: tuple[str, ...] | None
    because: str = ""
    binary: Binary | None = None
    others: tuple[Binary, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    env: Mapping[str, str] = {}


class Decision(msgspec.Struct, frozen=True):
    verdict: Verdict
    reason: str


_MODES = ", ".join(Mode)


def parse_mode(text: str) -> Mode:
    """`[exec] mode`.

    Raises:
        ConfigError: it is none.
    """
    try:
        return Mode(text)
    except ValueError:
        raise ConfigError(f"[exec] mode: {text!r} is none", hint=f"one of {_MODES}") from None


def parse_entry(text: str) -> tuple[str, ...]:
    """The words of one entry of `[exec] allow`.

    Raises:
        ConfigError: it is empty, or needs a shell.
    """
    name, star, rest = text.strip().rpartition(f" {STAR}")
    line = shell.parse(name if star and not rest else text)
    if star and not rest and line.words is not None:
        if len(line.words) != 1 or is_runner(line.words[0]):
            raise ConfigError(
                f"[exec] allow: {text!r}: the star stands behind a bare name, and not behind one that runs others",
                hint="list the exact words instead",
            )
        return (*line.words, STAR)
    if line.words is None:
        raise ConfigError(
            f"[exec] allow: {text!r} is no plain command: {line.because}", hint="write plain words"
        )
    return line.words


def decide(mode: Mode, allow: Sequence[Entry], request: Request) -> Decision:
    """Whether a command runs, asks, or is refused. `environment.check` has refused hooks before."""
    if mode is Mode.DENY:
        return Decision(Verdict.REFUSE, '[exec] mode is "deny": no command runs')
    if mode is Mode.FULL:
        return Decision(Verdict.RUN, '[exec] mode is "full"')
    why_not = _objection(allow, request)
    if why_not is None:
        return Decision(Verdict.RUN, "it is on the allow-list")
    if mode is Mode.ALLOWLIST:
        return Decision(Verdict.REFUSE, f'[exec] mode is "allowlist", and {why_not}')
    return Decision(Verdict.ASK, why_not)


def fingerprint(request: Request, cwd: str) -> str:
    """What makes two commands the same one: the program itself, every word, the folder, the added environment."""
    binary = request.binary
    parts = [
        *(["line", request.line] if request.words is None else ["words", *request.words]),
        "binary",
        *([binary.path, str(binary.device), str(binary.inode)] if binary else []),
        "cwd",
        cwd,
        "env",
        *(part for name in sorted(request.env) for part in (name, request.env[name])),
    ]
    framed = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(framed.encode("utf-8", "surrogatepass")).hexdigest()


def bound(request: Request) -> tuple[str, ...]:
    """What a standing yes holds for beside the words: each program and each file it runs, by path and content."""
    programs = [*([request.binary] if request.binary else []), *request.others]
    return tuple(
        dict.fromkeys(
            f"{path} sha256:{digest}"
            for path, digest in [*((program.path, program.digest) for program in programs), *request.files]
        )
    )


def runs_files(words: Sequence[str]) -> bool:
    """Whether the program runs what a file among its words says, as an interpreter does."""
    return bool(words) and words[0] not in READERS


def _objection(allow: Sequence[Entry], request: Request) -> str | None:
    """Why the allow-list does not let it through; `None` where it does."""
    if request.words is None:
        return f"it needs a shell: {request.because}"
    words, binary = request.words, request.binary
    if not environment.is_harmless(request.env):
        return f"it adds {', '.join(sorted(request.env))} to the environment"
    if binary is None:
        return f"there is no program {words[0]!r}"
    if "/" in words[0] and words[0] != binary.path:
        return f"{words[0]} is a path to a program, not the listed one's own"
    name = words[0].rsplit("/", 1)[-1]
    meant = [e for e in allow if e.binary == binary and e.words[0].rsplit("/", 1)[-1] == name]
    exact = [entry for entry in meant if entry.is_exact and entry.words[1:] == words[1:]]
    if exact:
        changed = f"a file that {name} is to run has changed since the allow-list was bound to it"
        return None if any(entry.files == request.files for entry in exact) else changed
    if any(not entry.is_exact for entry in meant):
        return None if any(entry.is_open for entry in meant) else _risk(name, words[1:])
    if any(entry.words[0] == name for entry in allow):
        return f"{name} is not the program, or not the arguments, that the allow-list was bound to"
    return f"{name} is not on the allow-list"


def _risk(name: str, arguments: Sequence[str]) -> str | None:
    """Why a listed name with these arguments asks all the same."""
    if why := bare_name_means_nothing(name):
        return why
    family = FAMILY.get(name, name)
    operands = 0
    options = True
    for argument in arguments:
        if options and argument == "--":
            options = False
        elif options and argument.startswith("--"):
            given = argument[2:].split("=", 1)[0]
            # Options may be shortened to any prefix.
            if any(option.startswith(given) for option in LONG.get(family, ())):
                return f"{name} with {argument.split('=', 1)[0]}"
        elif options and argument.startswith("-") and len(argument) > 1:
            if any(letter in SHORT.get(family, "") for letter in argument[1:]):
                return f"{name} with {argument}"
        else:
            operands += 1
            if family == "jq" and operands == 1 and OUTWARD_FILTER.search(argument):
                return "a jq filter that looks outside of its input"
            if family == "date" and CLOCK.fullmatch(argument):
                return "date would set the clock"
    if operands > INPUTS.get(family, operands):
        return f"{name} would write to its last argument"
    return None


def bare_name_means_nothing(name: str) -> str | None:
    """Why a bare name on the list lets nothing through, with the mend; `None` where it is known only to read."""
    if is_runner(name):
        return f"{name} runs other programs: list the exact words instead"
    if name in NEVER_ALONE:
        return f"{name} writes: list the exact words instead"
    if name not in READERS:
        return f"{name} may write or run with its arguments: list the exact words, or '{name} *' for any"
    return None


def is_runner(name: str) -> bool:
    """Whether the program's arguments are programs, whatever version stands behind its name."""
    name = name.rsplit("/", 1)[-1]
    bare = re.sub(r"[-.]?[0-9][0-9.]*$", "", name)
    return name in RUNNERS or bare in RUNNERS


# -- fake reminders --------------------------------------------------------------------------------------------

_LONG_SLEEP = 30.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_IN_CODE = re.compile(r"\bsleep\s*\(\s*([0-9.]+(?:\s*\*\s*[0-9.]+)*)")
_HINT = (
    'waiting in a command is lost work: use the automations tool ({"action": "add", …} with a delay, a schedule or'
    " a watch) to be woken at a time or on a change, or start the command with background=true; its end comes by itself"
)


def fake_reminder(line: str, *, background: bool = False) -> str | None:
    """The hint for a command that would only wait or look again and again; `None` for any other.

    A loop with short waits is fair in the background, as a server's would be; a long sleep is not.
    """
    commands = shell.commands_in(line)
    names = {words[0].rsplit("/", 1)[-1] for words in commands if words}
    if names & {"at", "batch", "crontab", "watch"}:
        return _HINT
    slept = sum(_sleep(words) for words in commands)
    if slept >= _LONG_SLEEP or (slept > 0 and not background and shell.has_loop(line)):
        return _HINT
    for match in _IN_CODE.finditer(line):
        product = 1.0
        for factor in match.group(1).split("*"):
            product *= float(factor.strip().strip(".") or 0)
        if product >= _LONG_SLEEP or (product > 0 and not background and re.search(r"\b(while|for)\b", line)):
            return _HINT
    return None


def _sleep(words: Sequence[str]) -> float:
    """The seconds a `sleep` among the words would take, wrappers before it included."""
    for at, word in enumerate(words):
        if word.rsplit("/", 1)[-1] == "sleep" and (at == 0 or is_runner(words[0])):
            total = 0.0
            for amount in words[at + 1 :]:
                match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([smhd]?)", amount)
                total += float(match.group(1)) * _UNITS[match.group(2)] if match else 1.0
            return total or 1.0
    return 0.0


def quoted(words: Sequence[str]) -> str:
    """The words as a line that a shell would read back as them."""
    return shlex.join(words)
