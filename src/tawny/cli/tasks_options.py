"""The options of `tawny tasks`: declared apart, so that to list tasks nothing is loaded that starts them."""

import argparse
from collections.abc import Callable

from tawny.cli.arguments import rows, whole
from tawny.cli.main import add_common
from tawny.domain.flowstate import FLOW_STATUSES

Add = Callable[[str, str], argparse.ArgumentParser]


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        return sub

    listing = add("list", "newest first")
    for option in ("--status", "--runtime", "--kind", "--owner", "--session", "--cursor"):
        listing.add_argument(option)
    listing.add_argument("--search", metavar="WORDS", help="words of title, parameters, result or error")
    listing.add_argument("--limit", type=rows, default=50)
    for name, help in {
        "show": "the record",
        "result": "the result",
        "logs": "the task's own log",
        "why": "what it waits for and what unblocks it",
        "cancel": "cancel it and its children",
        "pause": "pause at the next step boundary",
        "resume": "let it go on",
    }.items():
        add(name, help).add_argument("lookup", metavar="LOOKUP")
    retry = add("retry", "run the work again; finished steps are kept")
    retry.add_argument("lookup", metavar="LOOKUP")
    retry.add_argument("--fresh", action="store_true", help="start from the beginning")
    notify = add("notify", "change what it tells")
    notify.add_argument("lookup", metavar="LOOKUP")
    notify.add_argument("policy", choices=["silent", "done_only", "state_changes", "on_failure"])
    reconcile = add("reconcile", "say what became of an uncertain effect")
    reconcile.add_argument("lookup", metavar="LOOKUP")
    reconcile.add_argument("answer", choices=["done", "redo", "give_up"])
    _declare_work(add)
    _declare_care(add)


def _declare_work(add: Add) -> None:
    run = add("run", "detached work now")
    run.add_argument("--kind", required=True)
    run.add_argument(
        "--params", default="{}", help="the kind's parameters, as JSON; @FILE reads them from there"
    )
    run.add_argument("--title", default="")
    run.add_argument("--priority", default="normal")
    run.add_argument("--timeout")
    run.add_argument("--notify")
    run.add_argument("--deliver", action="append", default=[], metavar="TARGET", help="where the result goes")
    run.add_argument("--not-before", dest="not_before", metavar="TIME")
    run.add_argument("--after", action="append", default=[], metavar="TASK")
    run.add_argument("--dedupe-key", dest="dedupe_key")
    run.add_argument("--owner", default="owner")
    run.add_argument("--wait", action="store_true", help="wait for the end; exit 1 if it did not succeed")
    add("kinds", "the kinds of task, with their parameters").add_argument("name", nargs="?", metavar="KIND")
    watch = add("watch", "a live board, or one task's bar")
    watch.add_argument("lookup", nargs="?", metavar="LOOKUP")
    follow = add("follow", "events as JSON lines, with replay")
    follow.add_argument("lookup", nargs="?", metavar="LOOKUP")
    follow.add_argument(
        "--after", type=whole(), default=None, metavar="SEQ", help="replay from here (0: all)"
    )
    follow.add_argument("--no-wait", dest="no_wait", action="store_true", help="stop at the newest event")


def _declare_care(add: Add) -> None:
    audit = add("audit", "what is stale, stuck or inconsistent; exit 1 if anything is")
    audit.add_argument("--severity", choices=["warn", "error"])
    upkeep = add("maintenance", "mend what the audit calls fixable; a preview without --apply")
    upkeep.add_argument("--apply", action="store_true")
    add("stats", "success rate, run time and queue wait, by kind").add_argument(
        "--days", type=whole(1, 36_500), default=7
    )
    flow = add("flow", "flows as tasks: list, show, cancel, resume")
    flow.add_argument("verb", choices=["list", "show", "cancel", "resume"])
    flow.add_argument("lookup", nargs="?", metavar="LOOKUP")
    flow.add_argument("--status", choices=FLOW_STATUSES)
