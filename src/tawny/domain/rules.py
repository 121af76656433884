"""The owner's approval rules: `policy.yaml`, checked when it is loaded, every mistake named by its line."""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

import msgspec
import yaml

from tawny.domain import expressions
from tawny.domain.expressions import EvaluationError, Expression
from tawny.domain.permissions import OPERATIONS, READ, SENSITIVE, Sort
from tawny.errors import ConfigError, InvalidInput

NAMES = {
    "tool": "the tool's name, such as mail_send",
    "operation": "what is done: read create update send pay delete authorise execute",
    "amount": "how much money",
    "currency": "its currency, such as EUR",
    "recipient": "one of the people it goes to; a rule is tried with each",
    "recipients": "all of them",
    "contacts": "the addresses and names of your contacts",
    "url": "the address it touches",
    "domain": "the host of that address",
    "path": "the file it touches",
    "channel": "the channel it goes out on",
    "level": "1 read-only, 2 internal change, 3 external interaction, 4 sensitive",
    "origin": "owner, contact or untrusted: the least trusted content the run has seen",
    "untrusted": "whether that is untrusted",
    "kind": "the kind of the task, such as agent_turn",
}


class Action(StrEnum):
    """What a rule does with a call."""

    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"
    REQUIRE_CONFIRMATION = "require_confirmation"
    NOTIFY = "notify"
    ALLOW = "allow"


class Rule(msgspec.Struct, frozen=True):
    """One approval rule; `number` counts from 1, `line` is where it stands."""

    number: int
    line: int
    condition: str
    action: Action
    expression: Expression
    note: str = ""

    def describe(self) -> str:
        return f"rule {self.number} ({self.condition}: {self.action})"


class Rules(msgspec.Struct, frozen=True):
    """All rules of a home, and the levels the owner has set himself (only ever for named operations)."""

    rules: tuple[Rule, ...] = ()
    levels: Mapping[str, int] = {}

    @property
    def need_contacts(self) -> bool:
        """Whether any rule asks who the contacts are."""
        return any("contacts" in rule.expression.names for rule in self.rules)


EXAMPLE = """approval_rules:
  - condition: "amount > $100"
    action: require_approval"""


class _Place(msgspec.Struct):
    file: str

    def fail(self, node: yaml.Node | None, problem: str, *, hint: str = "") -> ConfigError:
        line = node.start_mark.line + 1 if node is not None else 1
        return ConfigError(f"{self.file}:{line}: {problem}", hint=hint or f"write it like this: {EXAMPLE!r}")


def load(text: str, *, file: str = "policy.yaml") -> Rules:
    """The rules in a YAML text.

    Raises:
        ConfigError: names file, line, column and a correct example.
    """
    place = _Place(file)
    try:
        root = cast(yaml.Node | None, yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line + 1) if error.problem_mark else 1
        raise ConfigError(
            f"{file}:{line}: {error.problem or 'this is no YAML'}", hint="mend the YAML there"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: {error}", hint="mend the YAML there") from error
    if root is None:
        return Rules()
    rules: list[Rule] = []
    levels: dict[str, int] = {}
    for key, value in _pairs(root, place, "the file").items():
        if key == "approval_rules":
            if _is_empty(value):
                continue
            if not isinstance(value, yaml.SequenceNode):
                raise place.fail(value, "approval_rules must be a list")
            items = cast(list[yaml.Node], value.value)
            rules = [_rule(item, number, place) for number, item in enumerate(items, start=1)]
        elif key == "levels" and not _is_empty(value):
            levels = _levels(value, place)
        elif key != "levels":
            raise place.fail(value, f"unknown key {key!r}", hint="known here: approval_rules, levels")
    return Rules(tuple(rules), levels)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and str(cast(Any, node).value) in ("", "~", "null")


def _pairs(node: yaml.Node, place: _Place, what: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise place.fail(node, f"{what} must be a mapping")
    pairs: dict[str, yaml.Node] = {}
    for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
        name = str(cast(Any, key).value) if isinstance(key, yaml.ScalarNode) else ""
        if name in pairs:
            raise place.fail(key, f"{name!r} stands here twice", hint="keep one of them")
        pairs[name] = value
    return pairs


def _rule(node: yaml.Node, number: int, place: _Place) -> Rule:
    pairs = _pairs(node, place, f"rule {number}")
    for key, value in pairs.items():
        if key not in ("condition", "action", "note"):
            close = difflib.get_close_matches(key, ("condition", "action", "note"), n=1)
            hint = f"did you mean {close[0]!r}?" if close else "known here: condition, action, note"
            raise place.fail(value, f"rule {number} has an unknown key {key!r}", hint=hint)
    for key in ("condition", "action"):
        if key not in pairs:
            raise place.fail(node, f"rule {number} has no {key!r}")
    condition, action = _scalar(pairs["condition"], place), _scalar(pairs["action"], place)
    if action not in set(Action):
        close = difflib.get_close_matches(action, list(Action), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(Action)}"
        raise place.fail(pairs["action"], f"rule {number}: unknown action {action!r}", hint=hint)
    try:
        expression = expressions.compile(condition, NAMES, example="amount > $100")
    except InvalidInput as error:
        raise place.fail(pairs["condition"], f"rule {number}: {error.message}", hint=error.hint) from error
    note = _scalar(pairs["note"], place) if "note" in pairs else ""
    return Rule(number, node.start_mark.line + 1, condition, Action(action), expression, note)


def _scalar(node: yaml.Node, place: _Place) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise place.fail(node, "this must be one value")
    return str(cast(Any, node).value)


def _levels(node: yaml.Node, place: _Place) -> dict[str, int]:
    levels: dict[str, int] = {}
    for name, value in _pairs(node, place, "levels").items():
        written = _scalar(value, place)
        if written not in {"1", "2", "3", "4"}:
            raise place.fail(
                value, f"the level of {name!r} is {written!r}", hint="write a number from 1 to 4"
            )
        level = int(written)
        known = OPERATIONS.get(name)
        if known is not None and known.sort is Sort.GUARD and level < SENSITIVE:
            raise place.fail(value, f"{name!r} changes the guards themselves", hint="its level stays 4")
        if not READ <= level <= SENSITIVE:
            raise place.fail(value, f"the level of {name!r} is {level}", hint="write a number from 1 to 4")
        levels[name] = level
    return levels


class Match(msgspec.Struct, frozen=True):
    """A rule that applies to a call; `error` says why it could not be evaluated."""

    rule: Rule
    error: str = ""


def matching(rules: Rules, values: Mapping[str, Any], recipients: tuple[str, ...]) -> list[Match]:
    """The rules that apply to a call, in their order.

    A rule about `recipient` is tried with each of them: a strict rule applies when it does for any, `allow` only when
    it does for all. A rule that cannot be evaluated with this call applies as a question.
    """
    found: list[Match] = []
    for rule in rules.rules:
        each = recipients if "recipient" in rule.expression.names and recipients else (None,)
        try:
            held = [rule.expression.test({**values, "recipient": recipient}) for recipient in each]
        except EvaluationError as error:
            found.append(Match(rule, error.message))
            continue
        if all(held) if rule.action is Action.ALLOW else any(held):
            found.append(Match(rule))
    return found
