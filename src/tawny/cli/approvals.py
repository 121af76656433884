"""`tawny approvals`: what waits for your yes, the standing ones, and the rules that ask."""

import argparse
from typing import Any

import msgspec

from tawny.cli import ledger
from tawny.cli.arguments import amount, rows
from tawny.cli.main import add_common
from tawny.cli.output import emit, local_time, table
from tawny.config import Home
from tawny.domain.approvals import Approval, describe
from tawny.domain.display import visible
from tawny.domain.origin import Standing
from tawny.domain.permissions import OPERATIONS
from tawny.domain.policy import Call, decide
from tawny.domain.rules import NAMES, Rules
from tawny.errors import InvalidInput
from tawny.ledger import approvals, grants
from tawny.tools.rulebook import read_rules


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        return sub

    listing = add("list", "what waits for you; --status all for everything")
    listing.add_argument(
        "--status", choices=["pending", "approved", "denied", "expired", "all"], default="pending"
    )
    listing.add_argument("--limit", type=rows, default=50)
    listing.add_argument("--cursor")
    add("show", "the whole question").add_argument("lookup", metavar="LOOKUP")
    approve = add("approve", "yes, once; with --always also from now on, for exactly this")
    approve.add_argument("lookup", metavar="LOOKUP")
    approve.add_argument("--always", action="store_true", help="a standing yes to exactly these arguments")
    approve.add_argument("--edit", metavar="JSON", help="other arguments; they replace the whole")
    approve.add_argument("--note", default="")
    deny = add("deny", "no")
    deny.add_argument("lookup", metavar="LOOKUP")
    deny.add_argument("--note", default="", help="why; the assistant gets to read it")
    add("grants", "standing yeses").add_argument("--all", action="store_true", help="ended ones too")
    add("revoke", "take a standing yes back").add_argument("grant", metavar="GRANT")
    rules = add("rules", "the rules of policy.yaml; 'rules test' shows what would decide a call")
    rules.add_argument("verb", nargs="?", choices=["list", "test"], default="list")
    rules.add_argument(
        "values",
        nargs="*",
        metavar="NAME=VALUE",
        help="names of a condition, as in amount=250 operation=delete",
    )
    for option, help in {
        "--operation": "the operation's name in the table, such as mail.send",
        "--verb": "what it does: read create update send pay delete authorise execute",
        "--tool": "the tool's name",
        "--to": "a recipient; may be given several times",
        "--target": "an address, URL or path; may be given several times",
        "--text": "what goes out in words; may be given several times",
        "--contact": "one of your contacts; may be given several times",
    }.items():
        action = "append" if "several" in help else "store"
        rules.add_argument(option, help=help, action=action, dest=f"call_{option.removeprefix('--')}")
    rules.add_argument("--amount", type=amount)
    rules.add_argument("--currency")
    rules.add_argument("--level", type=int, choices=[1, 2, 3, 4], default=1)
    rules.add_argument("--untrusted", action="store_true", help="as if the run had read untrusted content")
    rules.add_argument("--words", default="", help="what you said to start the run")


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    match args.action or "list":
        case "list":
            return _list(args, home)
        case "show":
            approval = ledger.read(home, lambda tx: approvals.find(tx, args.lookup))
            emit(approval.document(), args, text=_whole(approval))
        case "approve" | "deny":
            return _answer(args, home)
        case "grants":
            found = ledger.read(home, lambda tx: grants.standing(tx, active=not args.all))
            rows = [
                (
                    grant.grant_id,
                    grant.operation,
                    grant.uses_left,
                    local_time(grant.expires_at),
                    _brief(grant.arguments),
                )
                for grant in found
            ]
            text = table(["grant", "operation", "uses left", "until", "for exactly"], rows, none="No grants.")
            emit({"items": [grant.document() for grant in found], "next_cursor": None}, args, text=text)
        case "revoke":
            grant = ledger.write(home, lambda tx: grants.revoke(tx, args.grant, by="owner"))
            emit(grant.document(), args, text=f"{grant.grant_id} is taken back")
        case _:
            return _test(args, home) if args.verb == "test" else _rules(args, home)
    return 0


def _list(args: argparse.Namespace, home: Home) -> int:
    status = getattr(args, "status", "pending")
    found, cursor = ledger.read(
        home,
        lambda tx: approvals.page(
            tx,
            status=None if status == "all" else status,
            limit=max(1, min(500, getattr(args, "limit", 50))),
            cursor=getattr(args, "cursor", None),
        ),
    )
    rows = [
        (
            one.approval_id,
            one.status,
            one.operation,
            one.level,
            local_time(one.expires_at),
            _brief(one.arguments),
        )
        for one in found
    ]
    text = (
        table(["approval", "status", "operation", "level", "until", "arguments"], rows)
        if rows
        else "nothing waits for you"
    )
    emit({"items": [one.document() for one in found], "next_cursor": cursor}, args, text=text)
    return 0


def _answer(args: argparse.Namespace, home: Home) -> int:
    edited = _edited(getattr(args, "edit", None))
    status = "approved" if args.action == "approve" else "denied"
    answered = ledger.write(
        home,
        lambda tx: approvals.answer(
            tx,
            approvals.find(tx, args.lookup).approval_id,
            status=status,
            by="owner",
            note=args.note,
            arguments=edited,
            always=getattr(args, "always", False),
        ),
    )
    emit(answered.document(), args, text=f"{answered.approval_id}  {answered.status}  {answered.operation}")
    return 0


def _edited(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(
            f"--edit is no JSON object: {error}", hint='write the whole arguments, as in {"to": "bob@x.org"}'
        ) from error


def _rules(args: argparse.Namespace, home: Home) -> int:
    rules = read_rules(home.policy_file)
    document = {
        "file": str(home.policy_file),
        "rules": [
            {
                "number": rule.number,
                "line": rule.line,
                "condition": rule.condition,
                "action": rule.action.value,
            }
            for rule in rules.rules
        ],
        "levels": dict(rules.levels),
    }
    lines = [f"{rule.number}. if {rule.condition}: {rule.action}  (line {rule.line})" for rule in rules.rules]
    lines += [f"{name} is level {level}" for name, level in rules.levels.items()]
    emit(document, args, text="\n".join(lines) or f"no rules in {home.policy_file}; the levels alone decide")
    return 0


def _test(args: argparse.Namespace, home: Home) -> int:
    given = _given(args.values)
    name = args.call_operation
    if not name and given:
        name = given.get("tool", "call")
        rules = read_rules(home.policy_file)
        standing = Standing(
            trust="untrusted" if args.untrusted or given.get("untrusted") == "true" else "owner"
        )
        return _test_values(args, name, given, rules, standing)
    if not name:
        raise InvalidInput(
            "'rules test' needs --operation",
            hint="as in: tawny approvals rules test --operation mail.send --to x@y.org",
        )
    row = OPERATIONS.get(name)
    call = Call(
        tool=args.call_tool or name.replace(".", "_"),
        name=name,
        operation=args.call_verb or name.partition(".")[2],
        level=args.level,
        recipients=tuple(args.call_to or ()),
        targets=tuple(args.call_target or ()),
        text=tuple(args.call_text or ()),
        amount=args.amount,
        currency=args.currency,
    )
    standing = Standing(trust="untrusted" if args.untrusted else "owner", words=(args.words,))
    decision = decide(
        call, rules=read_rules(home.policy_file), standing=standing, contacts=args.call_contact or ()
    )
    known = "" if row else f"\n{name!r} is not in the table, so it counts as level 4"
    text = f"{decision.verdict.upper()}\n" + "\n".join(f"  {reason}" for reason in decision.reasons) + known
    emit(msgspec.to_builtins(decision), args, text=text)
    return 0


def _given(pairs: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name not in NAMES:
            raise InvalidInput(f"{pair!r} is no NAME=VALUE of a condition", hint=f"names: {', '.join(NAMES)}")
        values[name] = value
    return values


def _test_values(
    args: argparse.Namespace, name: str, given: dict[str, str], rules: Rules, standing: Standing
) -> int:
    """What the rules alone say of a call that is told by the names of a condition; its level is 2 unless told."""
    try:
        amount = float(given["amount"].lstrip("$€£¥")) if "amount" in given else None
        level = int(given.get("level", "2"))
    except ValueError as error:
        raise InvalidInput(
            f"amount and level are numbers: {error}", hint="as in amount=250 level=3"
        ) from error
    recipients = [given["recipient"]] if "recipient" in given else []
    recipients += [one.strip() for one in given.get("recipients", "").split(",") if one.strip()]
    call = Call(
        tool=given.get("tool", name),
        name=name,
        operation=given.get("operation", ""),
        recipients=tuple(recipients),
        targets=tuple(given[key] for key in ("url", "path") if key in given),
        amount=amount,
        currency=given.get("currency"),
        channel=given.get("channel"),
        kind=given.get("kind", "agent_turn"),
    )
    told = Rules(rules.rules, {**rules.levels, name: level})
    contacts = [one.strip() for one in given.get("contacts", "").split(",") if one.strip()]
    decision = decide(call, rules=told, standing=standing, contacts=contacts)
    text = f"{decision.verdict.upper()}\n" + "\n".join(f"  {reason}" for reason in decision.reasons[1:])
    if len(decision.reasons) == 1:
        text += f"  no rule applies; level {level} decides"
    emit(msgspec.to_builtins(decision), args, text=text)
    return 0


def _whole(approval: Approval) -> str:
    question = describe(approval, until=local_time(approval.expires_at))
    lines = [
        f"{approval.approval_id}  {approval.status}  level {approval.level}  of {approval.task_id}",
        "",
        question,
    ]
    if approval.answered_by or approval.note:
        by = f" by {visible(approval.answered_by)}" if approval.answered_by else ""
        note = f": {visible(approval.note)}" if approval.note else ""
        lines += ["", f"{approval.status}{by} {local_time(approval.answered_at)}{note}"]
    return "\n".join(lines)


def _brief(arguments: dict[str, Any]) -> str:
    text = visible(msgspec.json.encode(arguments).decode(), keep_lines=False)
    return text if len(text) <= 80 else f"{text[:77]}…"
