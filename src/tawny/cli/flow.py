"""`tawny flow run | check | schema`: flows from files; `list | show | cancel | resume`: flows as tasks."""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from tawny import config as configuration
from tawny.app import bundled_kinds
from tawny.cli import ledger, tasks_care
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.documents import task_document
from tawny.domain.flows import bind, parse_flow
from tawny.domain.flowschema import flow_schema
from tawny.domain.flowstate import FLOW_STATUSES
from tawny.engine.submit import parse_request
from tawny.errors import InvalidInput
from tawny.ledger.submission import Limits, submit
from tawny.runners.flowfile import load_flow

_ONE = {"show": "one flow and its steps", "cancel": "cancel a flow", "resume": "let a paused flow go on"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run = actions.add_parser("run", help="start a flow")
    run.add_argument("file", type=Path)
    run.add_argument("--args", default="{}", help="its arguments, as JSON")
    add_common(run)
    check = actions.add_parser("check", help="check a flow; names line and mend")
    check.add_argument("file", type=Path)
    add_common(check)
    add_common(actions.add_parser("schema", help="the JSON schema of flows"))
    listed = actions.add_parser("list", help="the flows there are; the same as tasks flow list")
    listed.add_argument("--status", choices=FLOW_STATUSES)
    add_common(listed)
    for verb, does in _ONE.items():
        one = actions.add_parser(verb, help=f"{does}; the same as tasks flow {verb}")
        one.add_argument("lookup", metavar="LOOKUP")
        add_common(one)


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    if args.action == "list" or args.action in _ONE:
        args.verb, args.lookup = args.action, getattr(args, "lookup", None)
        return tasks_care.flow(args, home)
    if args.action == "schema":
        emit(flow_schema(), args)
        return 0
    config = configuration.load(home)
    kinds = bundled_kinds(home, config)
    document = load_flow(args.file, kinds=kinds)
    flow = parse_flow(document)
    if args.action == "check":
        emit(
            {"ok": True, "name": flow.name, "steps": len(flow.steps)},
            args,
            text=f"{args.file}: {flow.name} is good",
        )
        return 0
    given = _arguments(args.args)
    bind(flow, given)
    zone = configuration.owner_zone(config)
    submission = parse_request(
        {"kind": "flow", "params": {"document": document, "args": given}, "title": f"Flow {flow.name}"},
        kinds=kinds,
        now=SystemClock().now(),
        zone=zone,
    )
    limits = Limits(max_queued=config.limits.max_queued_per_owner, zone=zone)
    task = ledger.write(home, lambda tx: submit(tx, submission, limits=limits))
    emit(task_document(task), args, text=f"{task.task_id}  {task.status}  {task.title}")
    return 0


def _arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"--args is no JSON object: {error}", hint='write it like \'{"city": "Berlin"}\''
        ) from error
