"""`tawny tasks run | kinds | watch | follow`: start work, and look on while it goes."""

import argparse
import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from tawny import config as configuration
from tawny.app import bundled_kinds, open_app
from tawny.cli import following, ledger, remote
from tawny.cli.output import emit, line
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.documents import task_document
from tawny.domain.tasks import Status, Submission, Task
from tawny.engine.submit import parse_request
from tawny.errors import InvalidInput, NotFound
from tawny.ledger import events, starts, tasks
from tawny.ledger.database import Tx
from tawny.ledger.submission import Limits, submit

_FAILED = 1
_FREQUENT = ("task.progress", "task.step_finished")


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    return {"run": _run, "kinds": _kinds, "watch": _watch, "follow": _follow}[args.action](args, home)


def _body(args: argparse.Namespace) -> dict[str, Any]:
    text = args.params
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"--params: {error}") from error
    try:
        params = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"--params is no JSON: {error}", hint="write it like '{\"steps\": 3}'") from error
    body: dict[str, Any] = {"kind": args.kind, "params": params, "title": args.title, "owner": args.owner}
    for name in ("priority", "timeout", "notify", "not_before", "dedupe_key"):
        if getattr(args, name):
            body[name] = getattr(args, name)
    if args.after:
        body["after"] = args.after
    if args.deliver:
        body["delivery"] = {"channels": args.deliver}
    return body


def _run(args: argparse.Namespace, home: Home) -> int:
    config = configuration.load(home)
    zone = configuration.owner_zone(config)
    submission = parse_request(
        _body(args), kinds=bundled_kinds(home, config), now=SystemClock().now(), zone=zone
    )
    limits = Limits(max_queued=config.limits.max_queued_per_owner, zone=zone)
    notice: dict[str, str] = {}
    if args.wait:
        task = run_to_end(home, config, submission, limits)
    else:
        task, notice = ledger.write(home, lambda tx: _handed_in(tx, submission, limits))
    text = "\n".join([f"{task.task_id}  {task.status}  {task.title}", *notice.values()])
    if args.wait:
        said = (task.result or {}).get("text") if task.status is Status.SUCCEEDED else None
        text = str(said) if said else text + (f": {task.error.message}" if task.error else "")
    emit(task_document(task) | notice, args, text=text)
    return 0 if not args.wait or task.status is Status.SUCCEEDED else _FAILED


def _handed_in(tx: Tx, submission: Submission, limits: Limits) -> tuple[Task, dict[str, str]]:
    """The task, and what is to be told about its start."""
    task = submit(tx, submission, limits=limits)
    return task, starts.notice(tx, task)


def run_to_end(home: Home, config: configuration.Config, submission: Submission, limits: Limits) -> Task:
    """The task once it has ended, by the gateway where one runs."""
    if remote.find(home) is None:
        return asyncio.run(_run_here(home, config, submission, limits))
    task, notice = ledger.write(home, lambda tx: _handed_in(tx, submission, limits))
    _tell(notice)
    return _wait_for(home, task)


def _tell(notice: dict[str, str]) -> None:
    """Say why nothing happens yet, to the person alone: what a program reads comes with the end."""
    for text in notice.values():
        print(text, file=sys.stderr, flush=True)


async def _run_here(home: Home, config: configuration.Config, submission: Submission, limits: Limits) -> Task:
    """No gateway runs: be one until this task has ended."""
    async with open_app(home, config) as app:
        task, notice = await app.ledger.write(lambda tx: _handed_in(tx, submission, limits))
        _tell(notice)
        task_id = task.task_id
        changed = app.ledger.bell.subscribe("ended")
        while not task.status.is_terminal:
            await changed.wait()
            changed.clear()
            task = await app.ledger.read(lambda tx: tasks.get(tx, task_id))
        return task


def _wait_for(home: Home, task: Task) -> Task:
    start = ledger.read(home, lambda tx: events.last_seq(tx))
    task = ledger.read(home, lambda tx: tasks.get(tx, task.task_id))
    if not task.status.is_terminal:
        for event in following.events_of(home, start, task_id=task.task_id):
            if event["data"].get("status") in _ENDINGS:
                break
    return ledger.read(home, lambda tx: tasks.get(tx, task.task_id))


_ENDINGS = {status.value for status in Status if status.is_terminal}


def _kinds(args: argparse.Namespace, home: Home) -> int:
    kinds = bundled_kinds(home, configuration.load(home))
    if args.name and args.name not in kinds:
        raise NotFound(f"there is no kind {args.name!r}", hint=f"one of {', '.join(sorted(kinds))}")
    chosen = [kinds[args.name]] if args.name else [kinds[name] for name in sorted(kinds)]
    items = [
        {"kind": kind.name, "description": kind.description, "params": msgspec.json.schema(kind.params)}
        for kind in chosen
    ]
    lines: list[str] = []
    for kind in chosen:
        fields = ", ".join(
            field.encode_name if field.required else f"{field.encode_name}?"
            for field in msgspec.structs.fields(kind.params)
        )
        lines.append(f"{kind.name} {{{fields}}}\n    {kind.description}")
    emit({"items": items, "next_cursor": None}, args, text="\n".join(lines))
    return 0


def _follow(args: argparse.Namespace, home: Home) -> int:
    task_id = ledger.read(home, lambda tx: tasks.find(tx, args.lookup).task_id) if args.lookup else None
    after = args.after
    if after is None:
        after = 0 if task_id else ledger.read(home, events.last_seq)
    for document in following.events_of(home, after, task_id=task_id, wait=not args.no_wait):
        line(document)
        if (
            task_id
            and document["data"].get("status") in _ENDINGS
            and document["type"].split(".")[1] in _ENDINGS
        ):
            break
    return 0


def _watch(args: argparse.Namespace, home: Home) -> int:
    from rich.live import Live  # noqa: PLC0415 - a heavy library for this command alone

    from tawny.cli.board import board  # noqa: PLC0415

    lookup: str | None = args.lookup
    start = ledger.read(home, events.last_seq)
    with contextlib.suppress(KeyboardInterrupt), Live(refresh_per_second=8) as live:
        shown, over = ledger.read(home, lambda tx: board(tx, lookup))
        live.update(shown)
        if over:
            return 0
        last = 0.0
        for event in following.events_of(home, start):
            if event["type"] in _FREQUENT and time.monotonic() - last < 1 / 8:
                continue
            last = time.monotonic()
            shown, over = ledger.read(home, lambda tx: board(tx, lookup))
            live.update(shown)
            if over:
                break
    return 0
