"""`tawny automations import`: our own documents, or the jobs another scheduler kept, with a report of each."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from tawny import config as configuration
from tawny.cli import ledger
from tawny.cli.output import emit
from tawny.config import Home
from tawny.delivery.opening import default_of
from tawny.domain.addresses import parse_address
from tawny.domain.foreign import crontab, hermes, openclaw
from tawny.domain.foreign.jobs import Job
from tawny.engine import automations as orders
from tawny.errors import InvalidInput
from tawny.ledger import automations
from tawny.ledger.database import Tx
from tawny.plugins import BUILT_IN_CHANNELS

Document = dict[str, Any]
_OURS = {"items", "id", "task_id", "name", "type", "schedule", "on", "watch", "expect", "action"}
_TWICE = "Switch these jobs off where they came from: else they run there and here."


def zone_of(home: Home) -> str:
    """The owner's time zone."""
    return configuration.owner_zone(configuration.load(home))


def default_place(home: Home) -> str:
    """Where the owner is reached, as the configuration has it."""
    config = configuration.load(home)
    return default_of(config.channels, config.delivery.default)


def known_kinds(home: Home) -> Any:
    """Every kind of task there is."""
    from tawny.app import bundled_kinds  # noqa: PLC0415 - only what adds or edits needs to know every kind

    return bundled_kinds(home, configuration.load(home))


def read_json(name: str) -> Any:
    """The JSON in a file, `-` for the input.

    Raises:
        InvalidInput: it cannot be read, or is no JSON.
    """
    return _decode(name, _read(name))


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except IsADirectoryError as error:
        raise InvalidInput(
            f"{name} is a folder",
            hint="name a file, such as its cron/jobs.json; 'tawny import' takes the rest",
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"{name}: {error.strerror or error}", hint="name a file that can be read"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is no UTF-8: {error.reason}", hint="save it as UTF-8") from error


def _decode(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{name} is no JSON: {error}", hint="see docs/how-to/scheduled.md") from error


def take_in(args: argparse.Namespace, home: Home) -> int:
    """Import a file, whatever of the four it is."""
    text, zone = _read(args.file), zone_of(home)
    if args.system or crontab.is_crontab(text):
        is_system = args.system or Path(args.file).resolve().is_relative_to("/etc")
        return _foreign("crontab", crontab.jobs(text, timezone=zone, system=is_system), args, home)
    given = _decode(args.file, text)
    if openclaw.is_store(given):
        return _foreign("OpenClaw", openclaw.jobs(given, timezone=zone), args, home)
    if hermes.is_store(given):
        return _foreign("Hermes", hermes.jobs(given, timezone=zone), args, home)
    return _own(given, args, home)


def _own(given: Any, args: argparse.Namespace, home: Home) -> int:
    """Our own documents: all or none."""
    if isinstance(given, dict) and not _OURS & {*cast("Document", given)}:
        raise InvalidInput(
            f"{args.file}: there is no automation in it, and no job as OpenClaw, Hermes or cron write them",
            hint="give the scheduler's own cron/jobs.json; see docs/how-to/moving.md",
        )
    items: Any = given.get("items", [given]) if isinstance(given, dict) else given  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in cast("list[Any]", items)):
        raise InvalidInput(
            f"{args.file}: it is no document, no list of them, and no other scheduler's jobs",
            hint="see docs/how-to/scheduled.md",
        )
    documents = [_held(document, paused=args.paused) for document in cast("list[Document]", items)]
    kinds, zone = known_kinds(home), zone_of(home)

    def take(tx: Tx) -> list[tuple[str, Document]]:
        return [_take(tx, document, kinds, zone, dry_run=args.dry_run) for document in documents]

    done = ledger.read(home, take) if args.dry_run else ledger.write(home, take)
    lines = [f"{what}  {document['id']}  {document['name']}" for what, document in done]
    emit({"items": [document for _, document in done], "next_cursor": None}, args, text="\n".join(lines))
    return 0


def _held(document: Document, *, paused: bool) -> Document:
    return {**document, "status": "paused"} if paused and document.get("status") != "disabled" else document


def _take(tx: Tx, document: Document, kinds: Any, zone: str, *, dry_run: bool) -> tuple[str, Document]:
    """Added or changed, and the document as it stands (with a dry run: as it would)."""
    if not dry_run:
        one, new = orders.import_(tx, document, kinds=kinds, timezone=zone)
        return "added" if new else "changed", one.document()
    parsed = orders.check(document, kinds=kinds, now=tx.now, timezone=zone)
    is_known = parsed.id is not None and automations.exists(tx, parsed.id)
    times = orders.spec_times(parsed.spec, now=tx.now, n=3)
    checked = {"id": parsed.id, **parsed.spec.document(), "status": parsed.status, "next_runs": times}
    return "would change" if is_known else "would add", checked


def _foreign(origin: str, jobs: Sequence[Job], args: argparse.Namespace, home: Home) -> int:
    """Another scheduler's jobs: what can be taken is taken, and each is told of."""
    kinds, zone, channels = known_kinds(home), zone_of(home), _channels(home)

    def take(tx: Tx) -> list[Document]:
        return [_report(tx, _heard(job, channels), kinds, zone, args) for job in jobs]

    told = ledger.read(home, take) if args.dry_run else ledger.write(home, take)
    taken = [one for one in told if one["outcome"] != "left out"]
    lines = [line for one in told for line in _lines(one)]
    lines.append(f"{len(taken)} of {len(told)} jobs of {origin}" + (f". {_TWICE}" if taken else "."))
    answer = {"origin": origin, "items": told, "taken": len(taken), "left_out": len(told) - len(taken)}
    emit(answer, args, text="\n".join(lines))
    return 0 if taken or not told else 1


def _channels(home: Home) -> frozenset[str]:
    from tawny.app import channel_names  # noqa: PLC0415 - see `known_kinds`

    return frozenset((*channel_names(configuration.load(home)), *BUILT_IN_CHANNELS, "webhook"))


def _heard(job: Job, channels: frozenset[str]) -> Job:
    """With a word on every channel that is not configured (yet)."""
    delivery: Document = {} if job.document is None else job.document.get("delivery", {})
    targets: list[str] = delivery.get("channels", [])
    missing = [name for target in targets if (name := parse_address(target).channel) not in channels]
    said = [
        f"no channel {name!r} is configured here; until there is, it tells your default channel"
        for name in missing
    ]
    return msgspec.structs.replace(job, changes=(*job.changes, *said))


def _report(tx: Tx, job: Job, kinds: Any, zone: str, args: argparse.Namespace) -> Document:
    told: Document = {
        "name": job.name,
        "outcome": "left out",
        "changes": list(job.changes),
        "problem": job.problem,
    }
    if job.document is None:
        return told
    document = _held(job.document, paused=args.paused or bool(job.holds))
    try:
        outcome, made = _take(tx, document, kinds, zone, dry_run=args.dry_run)
    except InvalidInput as error:
        # refused before anything was written: the other jobs go on
        return told | {"problem": f"{error.message}" + (f" ({error.hint})" if error.hint else "")}
    return told | {"outcome": outcome, "held": job.holds, "automation": made}


def _lines(told: Document) -> list[str]:
    if told["outcome"] == "left out":
        return [f"left out  {told['name']}", f"    because {told['problem']}"]
    made = told["automation"]
    status = "" if made["status"] == "active" else f", {made['status']}"
    lines = [f"{told['outcome']}  {told['name']}  ({made['id']}{status})"]
    lines += [f"    {change}" for change in told["changes"]]
    return lines + ([f"    paused: {told['held']}"] if told["held"] else [])
