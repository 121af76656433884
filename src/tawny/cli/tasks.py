"""`tawny tasks`: look at background work and steer it."""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tawny.cli import ledger, tasks_options
from tawny.cli.output import emit, local_time, seconds, table
from tawny.clock import iso
from tawny.config import Home
from tawny.domain.documents import task_document
from tawny.domain.tasks import Status, Task
from tawny.ledger import artifacts, starts, steps, tasks
from tawny.ledger.database import Tx

_ORDERS = ("cancel", "pause", "resume", "retry")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    tasks_options.declare(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    action = args.action or "list"
    if action in _ORDERS:
        return _order(args, home)
    if action in ("run", "kinds", "watch", "follow"):
        return int(import_module("tawny.cli.tasks_run").run(args, home))
    if action in ("audit", "maintenance", "stats", "flow"):
        return int(import_module("tawny.cli.tasks_care").run(args, home))
    return _READERS[action](args, home)


def _order(args: argparse.Namespace, home: Home) -> int:
    command: Callable[..., Task] = getattr(_commands(), args.action)
    extra = {"fresh": True} if getattr(args, "fresh", False) else {}

    def order(tx: Tx) -> tuple[Task, dict[str, str]]:
        task = command(tx, tasks.find(tx, args.lookup).task_id, by="owner", **extra)
        return task, starts.notice(tx, task)

    task, notice = ledger.write(home, order)
    intent = f", {task.intent} under way" if task.intent else ""
    text = f"{task.task_id}  {task.status}{intent}  {task.title}"
    if (
        task.status is Status.WAITING
        and task.waiting_for is not None
        and task.waiting_for.kind == "reconcile"
    ):
        text += f"\nit asks first what became of an uncertain effect: 'tawny tasks why {task.task_id}'"
    emit(task_document(task) | notice, args, text="\n".join([text, *notice.values()]))
    return 0


def _commands() -> Any:
    """What steers tasks; to look at them it is not loaded."""
    return import_module("tawny.engine.commands")


def _list(args: argparse.Namespace, home: Home) -> int:
    found = ledger.read(
        home,
        lambda tx: tasks.page(
            tx,
            status=getattr(args, "status", None),
            runtime=getattr(args, "runtime", None),
            owner=getattr(args, "owner", None),
            session=getattr(args, "session", None),
            kind=getattr(args, "kind", None),
            q=getattr(args, "search", None),
            cursor=getattr(args, "cursor", None),
            limit=getattr(args, "limit", 50),
        ),
    )
    document = {"items": [task_document(task) for task in found.items], "next_cursor": found.next_cursor}
    rows = [
        (
            task.task_id[:18],
            task.status,
            f"{task.progress.percentage}%" if task.progress.percentage is not None else "",
            task.kind,
            local_time(task.created_at),
            task.title[:60],
        )
        for task in found.items
    ]
    text = table(["task", "status", "done", "kind", "created", "title"], rows) if rows else _nothing(args)
    emit(document, args, text=text)
    return 0


def _nothing(args: argparse.Namespace) -> str:
    narrowed = [
        name
        for name in ("search", "status", "kind", "runtime", "owner", "session")
        if getattr(args, name, None)
    ]
    return f"No task fits: {' '.join(f'--{name}' for name in narrowed)}." if narrowed else "No tasks yet."


def _whole(tx: Tx, lookup: str) -> tuple[Task, dict[str, object], list[str]]:
    """The task, its document, and the paths of its files below `artifacts/`."""
    task = tasks.find(tx, lookup)
    logs = [{**entry, "time": iso(entry["time"])} for entry in tasks.logs(tx, task.task_id)]
    files = artifacts.of_task(tx, task.task_id)
    document = task_document(task, logs=logs, artifacts=[artifact.document() for artifact in files])
    document["steps"] = [step.document() for step in steps.of_task(tx, task.task_id)]
    return task, document, [artifact.path for artifact in files]


def _show(args: argparse.Namespace, home: Home) -> int:
    task, document, files = ledger.read(home, lambda tx: _whole(tx, args.lookup))
    facts = {
        "task": task.task_id,
        "title": task.title,
        "kind": task.kind,
        "status": task.status,
        "progress": f"{task.progress.percentage}% {task.progress.message or ''}"
        if task.progress.total
        else "",
        "attempt": task.attempt,
        "owner": task.owner,
        "created": local_time(task.created_at),
        "started": local_time(task.started_at),
        "ended": local_time(task.ended_at),
        "ran": seconds(task.ran_for),
        "delivery": task.delivery_status,
        "error": task.error.message if task.error else "",
        "result": str((task.result or {}).get("text", ""))[:400],
        "files": "\n          ".join(str(home.artifacts / path) for path in files),
    }
    emit(document, args, text="\n".join(f"{name:<9} {value}" for name, value in facts.items() if value != ""))
    return 0


def _result(args: argparse.Namespace, home: Home) -> int:
    task = ledger.read(home, lambda tx: tasks.find(tx, args.lookup))
    text = str((task.result or {}).get("text", "")) or f"{task.title} is {task.status}: there is no result."
    emit({"task_id": task.task_id, "status": task.status, "result": task.result}, args, text=text)
    return 0 if task.result is not None else 1


def _logs(args: argparse.Namespace, home: Home) -> int:
    entries = ledger.read(home, lambda tx: tasks.logs(tx, tasks.find(tx, args.lookup).task_id))
    items = [{"time": iso(e["time"]), "level": e["level"], "message": e["message"]} for e in entries]
    text = "\n".join(f"{local_time(e['time'])[11:]}  {e['level']:<7} {e['message']}" for e in entries)
    emit({"items": items, "next_cursor": None}, args, text=text or "No log lines.")
    return 0


def _why(args: argparse.Namespace, home: Home) -> int:
    reasons = import_module("tawny.engine.reasons")
    document = ledger.read(home, lambda tx: reasons.why(tx, tasks.find(tx, args.lookup).task_id))
    emit(
        document, args, text="\n".join([document["summary"], *(f"  → {way}" for way in document["unblock"])])
    )
    return 0


def _notify(args: argparse.Namespace, home: Home) -> int:
    task = ledger.write(
        home, lambda tx: _commands().set_notify(tx, tasks.find(tx, args.lookup).task_id, args.policy)
    )
    emit(task_document(task), args, text=f"{task.task_id}  tells: {task.notify}")
    return 0


def _reconcile(args: argparse.Namespace, home: Home) -> int:
    task = ledger.write(
        home, lambda tx: _commands().reconcile(tx, tasks.find(tx, args.lookup).task_id, args.answer)
    )
    emit(task_document(task), args, text=f"{task.task_id}  {task.status}")
    return 0


_READERS: dict[str, Callable[[argparse.Namespace, Home], int]] = {
    "list": _list,
    "show": _show,
    "result": _result,
    "logs": _logs,
    "why": _why,
    "notify": _notify,
    "reconcile": _reconcile,
}
