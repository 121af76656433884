"""docs/reference/permissions.md, made from the table and checked by a test."""

from tawny.domain.permissions import LEVELS, OPERATIONS, SENSITIVE, Permission, Sort
from tawny.domain.rules import NAMES, Action

_SORTS = {
    Sort.LOOK: "runs",
    Sort.KEEP: "runs",
    Sort.FETCH: "asks, unless your words named the address or a contact that very link",
    Sort.ENTER: "asks, unless your words hold the title, or a quoted pattern for it",
    Sort.REACH: "asks, unless your words named everybody and every address; always with private data",
    Sort.RUN: "asks",
    Sort.STAND: "asks",
    Sort.GUARD: "asks",
}
_ACTIONS = {
    Action.DENY: "refused, whoever asks",
    Action.REQUIRE_APPROVAL: "waits for a yes",
    Action.REQUIRE_CONFIRMATION: "waits for a yes; the question says that whoever asked may confirm",
    Action.NOTIFY: "runs, and you are told afterwards",
    Action.ALLOW: "runs, also where the level would ask",
}


def after_reading(name: str, row: Permission) -> str:
    """What becomes of the call once the run has read untrusted content."""
    if row.level >= SENSITIVE:
        return "asks, as ever"
    if name == "web.search":
        return "runs: the words go to the engine that you have set up"
    return _SORTS[row.sort]


def page() -> str:
    """The whole page."""
    lines = [
        "# Permissions",
        "",
        "<!-- made from src/tawny/domain/permissions.py; a test compares them -->",
        "",
        "Every operation of every tool has a level. One that is not in this table counts as level 4.",
        "",
        "| level | means | the call |",
        "| --- | --- | --- |",
        *(f"| {level} | {name} | {does} |" for level, (name, does) in LEVELS.items()),
        "",
        "Three things decide about a call, and the strictest wins: the level, your rules, and what the run has",
        "read. How the call came in (chat, automation, webhook, heartbeat, subagent, retry, flow, MCP, HTTP) makes",
        "no difference.",
        "`tawny approvals rules test --operation NAME …` shows what would be decided, and why.",
        "",
        "| operation | level | is | after reading untrusted content |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{name}` | {row.level} | {row.description} | {after_reading(name, row)} |"
            for name, row in OPERATIONS.items()
        ),
        "",
        "## Rules",
        "",
        "`policy.yaml` in the home; read again when it has changed. A mistake is named with its line.",
        "",
        "```yaml",
        "approval_rules:",
        '  - condition: "amount > $100"',
        "    action: require_approval",
        '  - condition: "recipient not in contacts"',
        "    action: require_approval",
        '  - condition: "operation == delete"',
        "    action: require_confirmation",
        "levels:            # your own level for an operation; never for those that change the guards",
        "  plugin.thing: 2",
        "```",
        "",
        "| action | the call |",
        "| --- | --- |",
        *(f"| `{action}` | {does} |" for action, does in _ACTIONS.items()),
        "",
        "All rules that apply are looked at, whatever their order; the strictest action wins. `allow` lowers what",
        "the level asks for; it lowers what untrusted content asks for only where its condition speaks of",
        "`untrusted` or `origin`; it never allows what changes the guards (configuration, policy, allow-lists,",
        "approvers, skills). A rule that cannot be decided for a call (two currencies, say) asks.",
        "",
        "| name in a condition | is |",
        "| --- | --- |",
        *(f"| `{name}` | {meaning} |" for name, meaning in NAMES.items()),
        "",
        "The language is described in [expressions](expressions.md).",
        "",
    ]
    return "\n".join(lines)
