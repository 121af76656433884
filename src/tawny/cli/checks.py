"""What `tawny doctor` looks at. Each check has a stable id and says, in one line, what is wrong and what mends it."""

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tawny import config as configuration
from tawny import plugins
from tawny.cli import parsing, remote
from tawny.clock import SystemClock
from tawny.config import Config, Home
from tawny.domain.commands import Mode, bare_name_means_nothing, parse_entry
from tawny.domain.network import parse_rules
from tawny.errors import InvalidInput, Refused, TawnyError
from tawny.ledger import backup, roll
from tawny.ledger.database import read_now
from tawny.ledger.migrations import outdated
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.stores import open_store
from tawny.sandbox.choice import open_sandbox
from tawny.sandbox.commands import Commands, Outcome
from tawny.sandbox.identity import find_binary
from tawny.sandbox.limits import find_holder
from tawny.sandbox.order import Limits, Order
from tawny.sandbox.workshop import Workshop
from tawny.secrets import literal_secrets, missing_secrets
from tawny.tools.engine import Engine
from tawny.tools.rulebook import read_rules

ERROR, WARN, INFO = "error", "warn", "info"
_LOW_DISK = 500 * 1024 * 1024
_PRIVATE = 0o077


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be. `mend` is one line; `fixable` ones are mended by `--fix`."""

    id: str
    severity: str
    message: str
    mend: str = ""
    fixable: bool = False
    fixed: bool = False


class Patient(msgspec.Struct, frozen=True):
    """What is looked at. `config` is `None` where it cannot be read; `fix` says whether to mend."""

    home: Home
    config: Config | None
    fix: bool


Check = Callable[[Patient], Iterator[Finding]]


def config_valid(patient: Patient) -> Iterator[Finding]:
    """`config.toml`, and what of it is only looked at when it is needed."""
    try:
        config = configuration.load(patient.home)
        parse_rules(config.network.allow, config.network.allow_private)
        for entry in config.exec.allow:
            parse_entry(entry)
        open_sandbox(config.sandbox.backend, image=config.sandbox.image)
        Engine(config.search, str, plugins.installed().searchers)
    except InvalidInput as error:
        yield Finding(id="config.valid", severity=ERROR, message=error.message, mend=error.hint)


def config_secrets(patient: Patient) -> Iterator[Finding]:
    """References to secrets that are not there, and secrets that stand in the configuration themselves."""
    config = patient.config or Config()
    for error in missing_secrets(patient.home, config):
        yield Finding(id="config.secrets", severity=WARN, message=error.message, mend=error.hint)
    for key in literal_secrets(config):
        yield Finding(
            id="config.literal_secret",
            severity=WARN,
            message=f"config.toml holds {key} itself, for whoever reads it or a copy of it",
            mend="write env:NAME, file:PATH, keyring:NAME or age:NAME there ('tawny secrets set NAME' keeps it)",
        )


def policy_valid(patient: Patient) -> Iterator[Finding]:
    """`policy.yaml`."""
    try:
        read_rules(patient.home.policy_file)
    except TawnyError as error:
        yield Finding(id="policy.valid", severity=ERROR, message=error.message, mend=error.hint)


def home_private(patient: Patient) -> Iterator[Finding]:
    """Nobody else may look into the home; the token and the configuration are private even so."""
    home = patient.home
    for path in (home.root, home.token_file, home.config_file):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if not mode & _PRIVATE:
            continue
        if patient.fix:
            path.chmod(mode & ~_PRIVATE)
        yield Finding(
            id="home.private",
            severity=WARN,
            message=f"{path} can be read by others (mode {mode:04o})",
            mend=f"chmod go-rwx {path}",
            fixable=True,
            fixed=patient.fix,
        )


def home_folders(patient: Patient) -> Iterator[Finding]:
    """The home's folders."""
    home = patient.home
    missing = [
        path for path in (home.root, home.workspace, home.artifacts, home.logs, home.run) if not path.is_dir()
    ]
    if not missing:
        return
    if patient.fix:
        home.prepare()
    yield Finding(
        id="home.folders",
        severity=INFO,
        message=f"{', '.join(path.name for path in missing)} is not there yet",
        mend="tawny doctor --fix, or the first start, makes it",
        fixable=True,
        fixed=patient.fix,
    )


def home_disk(patient: Patient) -> Iterator[Finding]:
    """Room on the home's disk."""
    place = next(path for path in (patient.home.root, *patient.home.root.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < _LOW_DISK:
        yield Finding(
            id="home.disk",
            severity=WARN,
            message=f"{place} has {free // 1024 // 1024} MB left",
            mend="make room: new work is refused when the disk is full",
        )


def ledger_whole(patient: Patient) -> Iterator[Finding]:
    """The database is whole and of this version."""
    path = patient.home.database
    if not path.exists():
        return
    try:
        backup.check(path)
        missing = outdated(SqliteStore(path))
    except TawnyError as error:
        yield Finding(id="ledger.whole", severity=ERROR, message=error.message, mend=error.hint)
        return
    if missing:
        yield Finding(
            id="ledger.version",
            severity=INFO,
            message=f"{path.name} has not had {', '.join(missing)} yet",
            mend="the next start brings it up to date, after taking a copy",
        )


def workers_alive(patient: Patient) -> Iterator[Finding]:
    """A shared ledger answers, and those on its roll are alive."""
    if patient.config is None or not patient.config.ledger.url:
        return
    try:
        store = open_store(patient.home, patient.config)
        if missing := outdated(store):
            yield Finding(
                id="ledger.version",
                severity=INFO,
                message=f"the database has not had {', '.join(missing)} yet",
                mend="start the gateway of this version; it brings the database up to date",
            )
            return
        found = read_now(store, SystemClock(), roll.workers) or []
    except TawnyError as error:
        yield Finding(id="ledger.answers", severity=ERROR, message=error.message, mend=error.hint)
        return
    for worker in found:
        if not worker.alive:
            yield Finding(
                id="workers.silent",
                severity=WARN,
                message=f"the {worker.role} on {worker.host or worker.worker} is silent since {worker.last_heartbeat}",
                mend="its tasks go on elsewhere; look whether that machine is up and reaches the database",
            )
    if not any(worker.alive for worker in found):
        yield Finding(
            id="workers.none",
            severity=INFO,
            message="no process is at work on the database, so nothing happens by itself",
            mend="tawny gateway run; on further machines tawny worker",
        )


def gateway_answers(patient: Patient) -> Iterator[Finding]:
    """A gateway that says it runs answers."""
    found = remote.find(patient.home)
    if found is None:
        yield Finding(
            id="gateway.running",
            severity=INFO,
            message="the gateway is not running, so nothing happens by itself",
            mend="tawny gateway run, or tawny gateway install",
        )
        return
    try:
        status, detail = found.request("GET", "/readyz")
    except TawnyError as error:
        yield Finding(
            id="gateway.answers", severity=ERROR, message=error.message, mend="tawny gateway restart"
        )
        return
    if status != 200:
        yield Finding(
            id="gateway.answers",
            severity=WARN,
            message=f"the gateway is not ready: {detail}",
            mend="tawny logs",
        )


def sandbox_available(patient: Patient) -> Iterator[Finding]:
    """The sandbox can be had. Without it commands are refused; they never run without."""
    settings = patient.config.sandbox if patient.config else Config().sandbox
    try:
        sandbox = open_sandbox(settings.backend, image=settings.image)
        sandbox.check()
    except TawnyError as error:
        yield Finding(id="sandbox.available", severity=ERROR, message=error.message, mend=error.hint)
        return
    place = patient.home.root / "run" / "doctor"
    try:
        outcome, output = asyncio.run(_trial(Commands(place, sandbox)))
    except (TawnyError, OSError) as error:
        yield Finding(
            id="sandbox.works",
            severity=ERROR,
            message=f"a command in the sandbox failed: {error}",
            mend=_hint(error),
        )
        return
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if outcome.succeeded:
        holder = find_holder()
        yield Finding(
            id="sandbox.offers",
            severity=INFO,
            message=f"commands run in {sandbox.name}, bounded by {holder.kind}"
            + (f" ({', '.join(holder.controllers)})" if holder.controllers else ""),
        )
        return
    said = outcome.message or output.decode(errors="replace").strip() or outcome.state
    id, mend = missing_capability(said)
    yield Finding(
        id=id,
        severity=ERROR,
        message=f"a command in the sandbox failed: {said.splitlines()[-1][:300]}",
        mend=mend,
    )


# What bubblewrap, the kernel and our own supervisor say where something is missing: a word of it, the id, the mend.
_MISSING = (
    (
        ("seccomp", "PR_SET_SECCOMP"),
        "sandbox.seccomp",
        "the kernel needs CONFIG_SECCOMP_FILTER; in a container, run it with --security-opt seccomp=unconfined",
    ),
    (
        ("mount proc", "/newroot/proc"),
        "sandbox.proc",
        "the container hides parts of /proc: run it with --security-opt systempaths=unconfined (Kubernetes:"
        " procMount: Unmasked)",
    ),
    (
        ("No space left", "ENOSPC", "Resource temporarily unavailable"),
        "sandbox.room",
        "too many namespaces or processes: sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000"
        " user.max_mnt_namespaces=10000, or raise the service's TasksMax",
    ),
    (
        ("namespace", "uid map", "uid_map", "unshare", "Creating new"),
        "sandbox.network",
        "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000"
        " (Ubuntu: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)",
    ),
)


def missing_capability(said: str) -> tuple[str, str]:
    """The id and the mend of what a failed start of the sandbox complains about."""
    for words, id, mend in _MISSING:
        if any(word in said for word in words):
            return id, mend
    return "sandbox.works", "see the message; 'tawny logs' has the rest"


async def _trial(commands: Commands) -> tuple[Outcome, bytes]:
    order = Order(argv=("/bin/sh", "-c", ":"), cwd="/tmp", limits=Limits(seconds=20))
    outcome, output = await commands.run(f"doctor-{os.getpid()}", order)
    return outcome, output["output"]


def _hint(error: Exception) -> str:
    return error.hint if isinstance(error, TawnyError) and error.hint else "see the message"


def parsers_confined(patient: Patient) -> Iterator[Finding]:
    """What strangers wrote is parsed in the sandbox. Where it cannot be had, it is not read at all."""
    config = patient.config or Config()
    if config.sandbox.parsers == "unconfined":
        yield Finding(
            id="sandbox.parsers",
            severity=WARN,
            message='[sandbox] parsers is "unconfined": pages, mail, feeds and documents are parsed without a sandbox',
            mend="remove the line, and install what sandbox.available asks for",
        )
    elif error := parsing.trial(patient.home, config):
        yield Finding(
            id="sandbox.parsers",
            severity=ERROR,
            message=f"pages, mail, feeds and documents cannot be read: {error.message}",
            mend=f"{error.hint}; {parsing.GIVE_UP}" if error.hint else parsing.GIVE_UP,
        )


def sandbox_limits(_: Patient) -> Iterator[Finding]:
    """Who holds commands to memory and number of processes."""
    holder = find_holder()
    if holder.kind == "rlimits":
        yield Finding(
            id="sandbox.limits",
            severity=INFO,
            message="no control groups to be had: memory and processes are bounded for each process alone",
            mend="run the gateway as a service (tawny gateway install), whose unit delegates its control group",
        )
    elif "cpu" not in holder.controllers:
        yield Finding(
            id="sandbox.limits",
            severity=INFO,
            message=f"{holder.kind} without the cpu controller: commands may use every processor",
            mend="delegate the cpu controller to the gateway's service",
        )


def exec_list(patient: Patient) -> Iterator[Finding]:
    """Entries of `[exec] allow` that allow nothing, or a mode that asks nobody."""
    settings = patient.config.exec if patient.config else Config().exec
    for text in settings.allow:
        try:
            words = parse_entry(text)
        except TawnyError:
            continue  # config.valid has said so
        name = words[0].rsplit("/", 1)[-1]
        if find_binary(words[0], patient.home.workspace) is None:
            message, mend = (
                f"[exec] allow: there is no program {words[0]!r}",
                "install it, or take the entry out",
            )
        elif len(words) == 1 and (why := bare_name_means_nothing(name)):
            what, _, mend = why.partition(": ")
            message = f"[exec] allow: {what}, so the bare name allows nothing"
        else:
            continue
        yield Finding(id="exec.list", severity=WARN, message=message, mend=mend)
    if settings.mode == Mode.FULL:
        yield Finding(
            id="exec.mode",
            severity=WARN,
            message='[exec] mode is "full": every command a model thinks of runs, in the sandbox, without a question',
            mend="tawny config set exec.mode ask",
        )


def commands_left(patient: Patient) -> Iterator[Finding]:
    """Commands whose supervisor died: nobody knows how they ended."""
    if not (patient.home.run / "commands").is_dir():
        return
    workshop = Workshop(patient.home, patient.config or Config(), SystemClock())
    doubtful: list[str] = []
    with contextlib.suppress(Refused):
        for command in workshop.commands().all():
            outcome = command.outcome()
            if outcome is not None and outcome.state == "unknown":
                doubtful.append(command.id)
    if doubtful:
        yield Finding(
            id="commands.unknown",
            severity=WARN,
            message=f"{len(doubtful)} commands ended with nobody knowing how: {', '.join(doubtful[:3])}",
            mend="tawny tasks list --status waiting shows what waits for your word",
        )


def groups_left(patient: Patient) -> Iterator[Finding]:
    """Empty control groups of supervisors that were killed."""
    holder = find_holder()
    left = [
        path
        for base in holder.bases.values()
        for path in Path(base).glob("tawny-*")
        if path.name != "tawny-gateway" and not (path / "cgroup.procs").read_text(encoding="ascii").strip()
    ]
    if not left:
        return
    if patient.fix:
        for path in left:
            with contextlib.suppress(OSError):
                path.rmdir()
    yield Finding(
        id="sandbox.groups",
        severity=INFO,
        message=f"{len(left)} empty control groups are left of killed supervisors",
        mend="tawny doctor --fix",
        fixable=True,
        fixed=patient.fix,
    )


CHECKS: tuple[Check, ...] = (
    config_valid,
    config_secrets,
    policy_valid,
    home_folders,
    home_private,
    home_disk,
    ledger_whole,
    workers_alive,
    gateway_answers,
    sandbox_available,
    parsers_confined,
    sandbox_limits,
    groups_left,
    exec_list,
    commands_left,
)


def examine(home: Home, *, fix: bool) -> list[Finding]:
    """Everything that is found, in the order of the checks. A check that fails is itself a finding."""
    try:
        config = configuration.load(home)
    except TawnyError:
        config = None
    patient = Patient(home, config, fix)
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(patient)
        except Exception as error:  # noqa: BLE001 - a doctor that falls over helps nobody; what failed is told
            name = check.__name__.replace("_", ".", 1)
            found.append(
                Finding(id=name, severity=ERROR, message=f"the check failed: {type(error).__name__}: {error}")
            )
    return found
