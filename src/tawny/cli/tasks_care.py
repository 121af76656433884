"""`tawny tasks audit | maintenance | stats | flow`: the ledger's health and figures."""

import argparse
from typing import Any

from tawny import config as configuration
from tawny.cli import ledger
from tawny.cli.output import emit, local_time, table
from tawny.config import Home
from tawny.domain.documents import task_document
from tawny.domain.flowstate import flow_status
from tawny.domain.tasks import Task
from tawny.engine import commands
from tawny.errors import NotFound
from tawny.ledger import care, events, stats, tasks
from tawny.ledger.database import Tx
from tawny.ledger.retention import keep_of


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    return {"audit": _audit, "maintenance": _maintenance, "stats": _stats, "flow": flow}[args.action](
        args, home
    )


def _audit(args: argparse.Namespace, home: Home) -> int:
    keep = keep_of(configuration.load(home))
    findings = ledger.read(home, lambda tx: care.audit(tx, keep=keep, severity=args.severity))
    _print(findings, args, nothing="Nothing found.")
    return 1 if findings else 0


def _maintenance(args: argparse.Namespace, home: Home) -> int:
    keep = keep_of(configuration.load(home))
    if args.apply:
        _print(ledger.write(home, lambda tx: care.mend(tx, keep=keep)), args, nothing="Nothing to mend.")
        return 0
    fixable = [f for f in ledger.read(home, lambda tx: care.audit(tx, keep=keep)) if f.fixable]
    _print(fixable, args, nothing="Nothing to mend.")
    return 0


def _print(findings: list[care.Finding], args: argparse.Namespace, *, nothing: str) -> None:
    rows = [
        (f.severity, f.code, (f.task_id or "")[:18], "yes" if f.fixable else "", f.message) for f in findings
    ]
    text = table(["severity", "code", "task", "fixable", "what"], rows) if rows else nothing
    emit({"items": [f.document() for f in findings], "next_cursor": None}, args, text=text)


def _stats(args: argparse.Namespace, home: Home) -> int:
    document = ledger.read(home, lambda tx: stats.by_kind(tx, days=args.days))
    rows = [
        (
            row["kind"],
            row["ended"],
            "" if row["success_rate"] is None else f"{row['success_rate']:.1%}",
            *(_seconds(row[name]) for name in ("run_p50", "run_p95", "wait_p50", "wait_p95")),
        )
        for row in document["kinds"]
    ]
    headers = ["kind", "ended", "success", "run p50", "run p95", "wait p50", "wait p95"]
    emit(document, args, text=table(headers, rows) if rows else "Nothing has ended yet.")
    return 0


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} s"


def flow(args: argparse.Namespace, home: Home) -> int:
    """`list`, `show`, `cancel` or `resume` flows, by `args.verb`."""
    if args.verb == "list":
        found = ledger.read(home, _flows)
        shown = [item for item in found if args.status in (None, item["status"])]
        rows = [(item["task_id"][:18], item["status"], item["revision"], item["title"]) for item in shown]
        text = table(["flow", "status", "revision", "title"], rows) if rows else "No flows yet."
        emit({"items": shown, "next_cursor": None}, args, text=text)
        return 0
    if args.lookup is None:
        raise NotFound("which flow?", hint=f"tawny tasks flow {args.verb} LOOKUP")
    if args.verb == "show":
        document = ledger.read(home, lambda tx: _whole(tx, args.lookup))
        lines = [f"{document['task_id']}  {document['status']}  {document['title']}"]
        lines += [f"  {kid['status']:<10} {kid['title']}" for kid in document["children"]]
        emit(document, args, text="\n".join(lines))
        return 0
    command = commands.cancel if args.verb == "cancel" else commands.resume

    def steer(tx: Tx) -> dict[str, Any]:
        return _document(tx, command(tx, _found(tx, args.lookup).task_id, by="owner"))

    document = ledger.write(home, steer)
    emit(document, args, text=f"{document['task_id']}  {document['status']}  {document['title']}")
    return 0


def _found(tx: Tx, lookup: str) -> Task:
    task = tasks.find(tx, lookup)
    if task.kind != "flow":
        raise NotFound(
            f"{task.task_id} is no flow but a {task.kind}", hint="'tawny tasks' shows and steers any task"
        )
    return task


def _document(tx: Tx, task: Task) -> dict[str, Any]:
    return {**task_document(task), "status": flow_status(task), "revision": events.revision(tx, task.task_id)}


def _flows(tx: Tx) -> list[dict[str, Any]]:
    return [_document(tx, task) for task in tasks.page(tx, kind="flow", limit=500).items]


def _whole(tx: Tx, lookup: str) -> dict[str, Any]:
    task = _found(tx, lookup)
    kids = tasks.children(tx, task.task_id)
    return {
        **_document(tx, task),
        "created": local_time(task.created_at),
        "children": [task_document(kid) for kid in kids],
        "last_seq": events.last_seq(tx),
    }
