"""`tawny automations` (`cron`): standing orders – add, look, steer, and ask why."""

import argparse
from collections.abc import Callable
from typing import Any, cast

import msgspec

from tawny.cli import ledger
from tawny.cli.arguments import rows
from tawny.cli.imports import default_place, known_kinds, read_json, take_in, zone_of
from tawny.cli.main import add_common
from tawny.cli.output import emit, local_time, table, to_the_second
from tawny.cli.spoken import confirmed, understood
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.documents import task_document
from tawny.domain.tasks import Task
from tawny.engine import automations as orders
from tawny.errors import InvalidInput
from tawny.ledger import automations, occurrences, revisions, starts
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx

Document = dict[str, Any]
_WHEN = {
    "cron": "expression",
    "every": "interval",
    "at": "time",
    "after": "delay",
    "rrule": "expression",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        return sub

    new = add("add", "a new automation, from a file or from options; shows its next five times")
    new.add_argument(
        "phrase", nargs="?", metavar="WHEN", help="'every weekday at 8', 'in 30 minutes', '0 8 * * *'"
    )
    new.add_argument("--file", metavar="F", help="the document, JSON ('-' reads it from the input)")
    _add_definition(new)
    new.add_argument("--dry-run", dest="dry_run", action="store_true", help="check and show it, add nothing")
    new.add_argument("--yes", action="store_true", help="agree to what a model reads in WHEN")
    edit = add("edit", "change parts; history and state stay")
    edit.add_argument("lookup", metavar="LOOKUP")
    edit.add_argument("--file", metavar="F", help="the changes, JSON; null takes a key away")
    _add_definition(edit)
    listing = add("list", "newest first")
    listing.add_argument("--status", choices=["active", "paused", "completed", "disabled"])
    listing.add_argument("--type", choices=["scheduled", "delayed", "event", "continuous"])
    listing.add_argument("--limit", type=rows, default=50)
    listing.add_argument("--cursor")
    for name, help in {
        "show": "the document, and where it stands",
        "enable": "let it run (again); its failures are forgotten",
        "disable": "switch it off until it is enabled",
        "pause": "hold it; slots that pass are skipped",
        "resume": "let it go on",
        "remove": "take it away; the tasks it made stay",
        "history": "what its definition has been",
    }.items():
        add(name, help).add_argument("lookup", metavar="LOOKUP")
    run = add("run", "run it now, beside its schedule")
    run.add_argument("lookup", metavar="LOOKUP")
    run.add_argument("--last-event", dest="last_event", action="store_true", help="test it on the last event")
    runs = add("runs", "what became of each of its slots")
    runs.add_argument("lookup", metavar="LOOKUP")
    runs.add_argument("--limit", type=rows, default=20)
    runs.add_argument("--cursor")
    runs.add_argument("--status", choices=["ran", "caught_up", "missed", "skipped"])
    preview = add("preview", "the next times of a schedule")
    preview.add_argument("phrase", nargs="?", metavar="WHEN")
    _add_schedule(preview)
    preview.add_argument("--start", metavar="T", help="from this time on (itself excluded); now unless told")
    preview.add_argument("-n", type=rows, default=5)
    taking = add(
        "import", "add documents, or the jobs of OpenClaw, Hermes or a crontab; known ids are edited"
    )
    taking.add_argument("file", metavar="FILE", help="'-' reads the input")
    taking.add_argument(
        "--dry-run", dest="dry_run", action="store_true", help="only say what would become of it"
    )
    taking.add_argument("--paused", action="store_true", help="let nothing run until it is enabled")
    taking.add_argument("--system", action="store_true", help="a crontab with a column of users")
    add("orders", "bring the standing orders in workspace/orders/*.yaml into force")
    why = add("why", "why it ran, or did not: now, or at a time")
    why.add_argument("lookup", metavar="LOOKUP")
    why.add_argument("at", nargs="?", metavar="TIME", help="8, 08:00, 'yesterday 8:00', or a full time")


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    for name in _WHEN:
        parser.add_argument(f"--{name}", metavar=_WHEN[name].upper())
    parser.add_argument("--tz", metavar="ZONE", help="the owner's unless told")
    parser.add_argument("--until", metavar="TIME")


def _add_definition(parser: argparse.ArgumentParser) -> None:
    _add_schedule(parser)
    parser.add_argument("--name")
    parser.add_argument("--kind", help="the kind of task it starts")
    parser.add_argument("--params", metavar="JSON", help="that kind's parameters")
    parser.add_argument("--remind", metavar="TEXT", help="say this (kind remind)")
    parser.add_argument("--message", metavar="TEXT", help="ask the assistant this (kind agent_turn)")
    parser.add_argument("--deliver", action="append", default=[], metavar="TARGET", help="where results go")
    for option in ("--misfire", "--misfire-window", "--overlap", "--timeout", "--notify"):
        parser.add_argument(option)


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    return _ACTIONS[args.action or "list"](args, home)


def _read_document(name: str) -> Document:
    document = read_json(name)
    if not isinstance(document, dict):
        raise InvalidInput(f"{name}: a document is an object", hint="see docs/how-to/scheduled.md")
    return cast("Document", document)


def _schedule(args: argparse.Namespace) -> Document | str | None:
    given = [name for name in _WHEN if getattr(args, name, None)]
    phrase = getattr(args, "phrase", None)
    if len(given) + bool(phrase) > 1:
        raise InvalidInput(
            "more than one schedule is given", hint="give one of WHEN, --cron, --every, --at, …"
        )
    if not given:
        return phrase
    name = given[0]
    document: Document = {"type": name, _WHEN[name]: getattr(args, name)}
    if args.tz and name != "after":
        document["timezone"] = args.tz
    if args.until and name in ("cron", "every", "rrule"):
        document["until"] = args.until
    return document


def _definition(args: argparse.Namespace) -> Document:
    """The document that options describe; empty where none are given."""
    document: Document = _read_document(args.file) if args.file else {}
    if (schedule := _schedule(args)) is not None:
        document["schedule"] = schedule
    if args.tz:
        document["timezone"] = args.tz
    if args.name:
        document["name"] = args.name
    if args.remind is not None:
        document["action"] = {"type": "remind", "parameters": {"text": args.remind}}
    elif args.message is not None:
        document["action"] = {"type": "agent_turn", "parameters": {"message": args.message}}
    elif args.kind or args.params:
        action: Document = {"parameters": _params(args.params)}
        document["action"] = action | ({"type": args.kind} if args.kind else {})
    if args.deliver:
        document["delivery"] = {"channels": args.deliver}
    policy = {
        name: value
        for name in ("misfire", "misfire_window", "overlap", "timeout", "notify")
        if (value := getattr(args, name)) is not None
    }
    if policy:
        document["policy"] = {**document.get("policy", {}), **policy}
    return document


def _params(text: str | None) -> Any:
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError as error:
        raise InvalidInput(f"--params is no JSON: {error}", hint="write it like '{\"steps\": 3}'") from error


def _show_document(automation: Automation, args: argparse.Namespace, home: Home, *, head: str = "") -> None:
    document = orders.document_of(automation, now=SystemClock().now())
    lines = [head or f"{automation.name}  {automation.automation_id}"]
    lines.append(f"status    {automation.status}" + (f" ({automation.reason})" if automation.reason else ""))
    lines.append(f"type      {automation.spec.type}")
    lines.append(f"does      {automation.spec.action.type}")
    lines.append(f"tells     {orders.told(automation.spec, default_place(home))}")
    if automation.last_run is not None:
        lines.append(f"last run  {local_time(automation.last_run, zone=automation.spec.timezone)}")
    for number, time in enumerate(document["next_runs"]):
        lines.append(f"{'next' if number == 0 else '':<9} {to_the_second(time).replace('T', ' ')}")
    if "ping_url" in document:
        lines.append(f"ping      POST {document['ping_url']}")
    emit(document, args, text="\n".join(lines))


def _add(args: argparse.Namespace, home: Home) -> int:
    document, kinds, zone = _definition(args), known_kinds(home), zone_of(home)
    if args.phrase:
        timezone = args.tz or zone
        schedule, times = understood(args.phrase, home, timezone=timezone)
        if isinstance(schedule, dict):
            agreed = args.yes or args.dry_run
            confirmed(args.phrase, schedule, times, timezone=timezone, agreed=agreed)
        document["schedule"] = schedule
    if args.dry_run:
        now = SystemClock().now()
        parsed = orders.check(document, kinds=kinds, now=now, timezone=zone)
        times = orders.spec_times(parsed.spec, now=now)
        answer = {**parsed.spec.document(), "next_runs": times}
        told = orders.told(parsed.spec, default_place(home))
        head = [f"{parsed.spec.name} would be added; it tells {told}; its next times:"]
        emit(answer, args, text="\n".join([*head, *times]))
        return 0
    added = ledger.write(home, lambda tx: orders.add(tx, document, kinds=kinds, timezone=zone))
    _show_document(added, args, home, head=f"Added {added.name}  {added.automation_id}")
    return 0


def _edit(args: argparse.Namespace, home: Home) -> int:
    patch, kinds, zone = _definition(args), known_kinds(home), zone_of(home)
    if not patch:
        raise InvalidInput("nothing to change is given", hint="for example --cron '0 9 * * *', or --file F")
    after = ledger.write(home, lambda tx: orders.edit(tx, args.lookup, patch, kinds=kinds, timezone=zone))
    _show_document(
        after, args, home, head=f"Changed {after.name}  {after.automation_id}  (version {after.version})"
    )
    return 0


def _list(args: argparse.Namespace, home: Home) -> int:
    found = ledger.read(
        home,
        lambda tx: automations.page(
            tx,
            status=getattr(args, "status", None),
            type=getattr(args, "type", None),
            limit=getattr(args, "limit", 50),
            cursor=getattr(args, "cursor", None),
        ),
    )
    document = {"items": [item.document() for item in found.items], "next_cursor": found.next_cursor}
    rows = [
        (
            item.automation_id[:18],
            item.status,
            item.spec.type,
            item.spec.action.type,
            local_time(item.due_at if item.status == "active" else None, zone=item.spec.timezone),
            local_time(item.last_run, zone=item.spec.timezone),
            item.name[:40],
        )
        for item in found.items
    ]
    text = table(["automation", "status", "type", "does", "next", "last", "name"], rows)
    emit(document, args, text=text if rows else "No automations yet.")
    return 0


def _show(args: argparse.Namespace, home: Home) -> int:
    _show_document(ledger.read(home, lambda tx: automations.find(tx, args.lookup)), args, home)
    return 0


def _steer(args: argparse.Namespace, home: Home) -> int:
    if args.action in ("enable", "resume"):
        after = ledger.write(home, lambda tx: orders.resume(tx, args.lookup))
    else:
        status = "disabled" if args.action == "disable" else "paused"
        after = ledger.write(home, lambda tx: orders.stop(tx, args.lookup, status))
    _show_document(after, args, home)
    return 0


def _run(args: argparse.Namespace, home: Home) -> int:
    def start(tx: Tx) -> tuple[Task | None, dict[str, str]]:
        task = orders.run_now(tx, args.lookup, last_event=args.last_event)
        return task, {} if task is None else starts.notice(tx, task)

    task, notice = ledger.write(home, start)
    if task is None:
        emit({"task_id": None}, args, text="It looks at once; a task is made if its condition holds.")
        return 0
    text = f"{task.task_id}  {task.status}  {task.title}"
    emit(task_document(task) | notice, args, text="\n".join([text, *notice.values()]))
    return 0


def _runs(args: argparse.Namespace, home: Home) -> int:
    automation, found = ledger.read(
        home,
        lambda tx: (
            (one := automations.find(tx, args.lookup)),
            occurrences.page(tx, one.automation_id, limit=args.limit, cursor=args.cursor, status=args.status),
        ),
    )
    document = {"items": [item.document() for item in found.items], "next_cursor": found.next_cursor}
    rows = [
        (
            local_time(item.slot, zone=automation.spec.timezone),
            item.status,
            item.outcome,
            (item.task_id or "")[:18],
            item.reason[:80],
        )
        for item in found.items
    ]
    text = table(["slot", "status", "ended", "task", "reason"], rows) if rows else "It has not run yet."
    emit(document, args, text=text)
    return 0


def _remove(args: argparse.Namespace, home: Home) -> int:
    def take(tx: Any) -> Automation:
        automation = automations.find(tx, args.lookup)
        automations.remove(tx, automation.automation_id)
        return automation

    gone = ledger.write(home, take)
    emit({"id": gone.automation_id, "removed": True}, args, text=f"Removed {gone.name}  {gone.automation_id}")
    return 0


def _history(args: argparse.Namespace, home: Home) -> int:
    edits = ledger.read(home, lambda tx: revisions.edits(tx, automations.find(tx, args.lookup).automation_id))
    rows = [(edit["version"], edit["time"], edit["actor"], edit["definition"]["name"]) for edit in edits]
    emit({"items": edits, "next_cursor": None}, args, text=table(["version", "since", "by", "name"], rows))
    return 0


def _preview(args: argparse.Namespace, home: Home) -> int:
    schedule, now = _schedule(args), SystemClock().now()
    if schedule is None:
        raise InvalidInput("no schedule is given", hint="for example --cron '0 8 * * 1-5' --tz Europe/Berlin")
    if isinstance(schedule, str):
        schedule, _ = understood(schedule, home, timezone=args.tz or zone_of(home))
    answer = orders.preview(schedule, now=now, timezone=args.tz or zone_of(home), start=args.start, n=args.n)
    emit(answer, args, text="\n".join(map(to_the_second, answer["local"])))
    return 0


def _orders(args: argparse.Namespace, home: Home) -> int:
    from tawny.engine.orders import sync  # noqa: PLC0415 - only this asks

    kinds, zone = known_kinds(home), zone_of(home)
    done = ledger.write(home, lambda tx: sync(tx, home.workspace / "orders", kinds=kinds, timezone=zone))
    items = [{"id": one, "outcome": what} for what, one in done]
    text = "\n".join(f"{what:<9} {one}" for what, one in done)
    emit({"items": items}, args, text=text or "No standing orders.")
    return 0


def _why(args: argparse.Namespace, home: Home) -> int:
    from tawny.engine.explanation import why  # noqa: PLC0415 - only this asks

    answer = ledger.read(home, lambda tx: why(tx, args.lookup, args.at))
    lines = [answer["summary"], *(f"  {fact}" for fact in answer["facts"])]
    emit(answer, args, text="\n".join([*lines, *(f"  → {way}" for way in answer["unblock"])]))
    return 0


_ACTIONS: dict[str, Callable[[argparse.Namespace, Home], int]] = {
    "add": _add,
    "edit": _edit,
    "list": _list,
    "show": _show,
    "enable": _steer,
    "disable": _steer,
    "pause": _steer,
    "resume": _steer,
    "run": _run,
    "runs": _runs,
    "remove": _remove,
    "history": _history,
    "preview": _preview,
    "import": take_in,
    "orders": _orders,
    "why": _why,
}
