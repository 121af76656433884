"""The one decision: whether a call runs, runs and is told, asks, or is refused, and why.

Three things speak, and the strictest wins: the level of the operation, the owner's rules, and what the run has read.
The door a call came in by (chat, schedule, webhook, …) is not among the arguments: it cannot make a difference.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

import msgspec

from tawny.domain.mentions import address, emails_in, host_and_path, is_plain_word, links_in
from tawny.domain.money import Money
from tawny.domain.origin import Standing
from tawny.domain.permissions import REACH_OUT, READ, SENSITIVE, Permission, Sort, permission
from tawny.domain.rules import Action, Match, Rules, matching


class Verdict(StrEnum):
    """What becomes of a call."""

    RUN = "run"
    NOTIFY = "notify"
    ASK = "ask"
    DENY = "deny"


_STRICTNESS = {Verdict.RUN: 0, Verdict.NOTIFY: 1, Verdict.ASK: 2, Verdict.DENY: 3}
_OF_ACTION = {
    Action.DENY: Verdict.DENY,
    Action.REQUIRE_APPROVAL: Verdict.ASK,
    Action.REQUIRE_CONFIRMATION: Verdict.ASK,
    Action.NOTIFY: Verdict.NOTIFY,
    Action.ALLOW: Verdict.RUN,
}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be done, in the words rules are written in."""

    tool: str
    name: str
    """The operation's row in the table, such as `mail.send`."""
    operation: str
    level: int = READ
    """What the tool says of this very call; it can raise the table's level, never lower it."""
    targets: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    amount: float | None = None
    currency: str | None = None
    channel: str | None = None
    kind: str = "agent_turn"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, and every reason for it. `confirmation` marks a question that whoever asked may answer."""

    verdict: Verdict
    level: int
    reasons: tuple[str, ...] = ()
    rule: int | None = None
    confirmation: bool = False
    untrusted: bool = False
    """Whether what the run has read is among the reasons."""

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


def decide(call: Call, *, rules: Rules, standing: Standing, contacts: Collection[str] = ()) -> Decision:
    """The decision about a call of a run with this standing.

    A rule that allows lowers what the level asks for. It lowers what untrusted content asks for only where its
    condition speaks of `untrusted` or `origin`, that is where the owner has thought of it; and never what changes
    the guards.
    """
    row = permission(call.name)
    level = _level(call, row, rules)
    by_level = _by_level(level)
    matches = matching(rules, _values(call, level, standing, contacts), call.recipients)
    strict = _strictest(matches)
    allowed = next(
        (match for match in matches if match.rule.action is Action.ALLOW and not match.error), None
    )
    verdict, reasons, rule = by_level, [f"{call.name} is level {level}: {row.description}"], None
    if (
        allowed is not None
        and row.sort is not Sort.GUARD
        and _STRICTNESS[verdict] <= _STRICTNESS[Verdict.ASK]
    ):
        verdict, reasons, rule = Verdict.RUN, [f"{allowed.rule.describe()} allows it"], allowed.rule.number
    if strict is not None:
        stricter = Verdict.ASK if strict.error else _OF_ACTION[strict.rule.action]
        if _STRICTNESS[stricter] >= _STRICTNESS[verdict]:
            verdict, rule = stricter, strict.rule.number
            reasons.append(_rule_reason(strict))
    held = _held_by_origin(call, row, standing)
    considered = allowed is not None and {"untrusted", "origin"} & allowed.rule.expression.names
    if held and not (considered and row.sort is not Sort.GUARD):
        reasons.append(held)
        if _STRICTNESS[verdict] < _STRICTNESS[Verdict.ASK]:
            verdict = Verdict.ASK
    else:
        held = ""
    confirmation = (
        verdict is Verdict.ASK
        and strict is not None
        and strict.rule.action is Action.REQUIRE_CONFIRMATION
        and not held
        and row.sort is not Sort.GUARD
    )
    return Decision(
        verdict=verdict,
        level=level,
        reasons=tuple(reasons),
        rule=rule,
        confirmation=confirmation,
        untrusted=bool(held),
    )


def _level(call: Call, row: Permission, rules: Rules) -> int:
    table = row.level
    if row.sort is not Sort.GUARD and call.name in rules.levels:
        return rules.levels[call.name]
    return max(table, call.level)


def _by_level(level: int) -> Verdict:
    if level >= SENSITIVE:
        return Verdict.ASK
    return Verdict.NOTIFY if level == REACH_OUT else Verdict.RUN


def _rule_reason(match: Match) -> str:
    if match.error:
        return f"{match.rule.describe()} cannot be decided here: {match.error}"
    note = f": {match.rule.note}" if match.rule.note else ""
    return f"{match.rule.describe()} applies{note}"


def _strictest(matches: list[Match]) -> Match | None:
    strict = [match for match in matches if match.error or match.rule.action is not Action.ALLOW]
    return max(
        strict,
        key=lambda match: (
            _STRICTNESS[Verdict.ASK if match.error else _OF_ACTION[match.rule.action]],
            match.rule.action is Action.REQUIRE_APPROVAL,
            -match.rule.number,
        ),
        default=None,
    )


def _values(call: Call, level: int, standing: Standing, contacts: Collection[str]) -> dict[str, Any]:
    url = next((target for target in call.targets if "://" in target), None)
    path = next((target for target in call.targets if "://" not in target and "@" not in target), None)
    known = {address(contact) for contact in contacts}
    return {
        "tool": call.tool,
        "operation": call.operation,
        "amount": None if call.amount is None else Money(call.amount, call.currency),
        "currency": call.currency,
        "recipients": [address(recipient) for recipient in call.recipients],
        "contacts": known,
        "url": url,
        "domain": host_and_path(url)[0] if url else None,
        "path": path,
        "channel": call.channel,
        "level": level,
        "origin": standing.trust,
        "untrusted": standing.is_untrusted,
        "kind": call.kind,
    }


def _held_by_origin(call: Call, row: Permission, standing: Standing) -> str:
    """Why what the run has read makes this call a question; empty where it does not."""
    if standing.is_untrusted:
        seen = f"this run has read untrusted content ({_some(standing.read) or 'what set it going'})"
    elif standing.glimpsed:
        seen = f"this run has read words of somebody else ({_some(standing.glimpsed)})"
    else:
        return ""
    flat = {
        Sort.RUN: "wants to run something",
        Sort.STAND: "wants to change what steers later work",
        Sort.GUARD: "wants to change the guards",
    }
    if wish := flat.get(row.sort):
        return f"{seen} and {wish}"
    if row.sort is Sort.REACH and standing.private:
        return f"{seen} and private data ({_some(standing.private)}), and wants to reach out"
    stray, wish = _stray(call, row.sort, standing)
    return f"{seen} and wants to {wish} {_some(stray)}, which your own words do not name" if stray else ""


def _stray(call: Call, sort: Sort, standing: Standing) -> tuple[list[str], str]:
    """What the call aims at that the owner did not name, and the verb for it."""
    match sort:
        case Sort.REACH:
            return _unnamed(call, standing), "reach"
        case Sort.FETCH if call.name != "web.search":
            # What is asked of a search engine goes to the engine that the owner has set up.
            return [target for target in call.targets if not _may_fetch(target, standing)], "open"
        case Sort.ENTER:
            mentions = standing.mentions
            return [title for title in call.subjects or call.text if not mentions.describes(title)], "enter"
        case _:
            return [], ""


def _unnamed(call: Call, standing: Standing) -> list[str]:
    """Where the call reaches that the owner did not name; what its words point to counts too."""
    mentions = standing.mentions
    stray = [
        target
        for target in (*call.recipients, *call.targets)
        # Who has read nothing but words may turn to members and rooms of the owner's own places: a plain word leads
        # nowhere else.
        if not mentions.names(target) and (standing.is_untrusted or not is_plain_word(target))
    ]
    if not call.recipients and not call.targets:
        stray.append("an unnamed place")
    for text in (*call.text, *call.subjects):
        stray += [link for link in links_in(text) if not mentions.names_link(link)]
        stray += [email for email in emails_in(text) if not mentions.names(email)]
    return stray


def _may_fetch(target: str, standing: Standing) -> bool:
    """Whether the owner named the address, or a known contact that very one (then nothing can be carried out by it)."""
    return standing.mentions.names_link(target) or standing.offered.names_exactly(target)


def _some(items: Collection[str]) -> str:
    shown = list(dict.fromkeys(items))[:3]
    return ", ".join(shown) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
