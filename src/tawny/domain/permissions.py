"""Every operation of every tool, as data: its level, and what it is for the rule about untrusted content.

docs/reference/permissions.md is made from this table. An operation that is not here is level 4.
"""

from enum import StrEnum

import msgspec

READ, CHANGE, REACH_OUT, SENSITIVE = 1, 2, 3, 4

LEVELS = {
    READ: ("read-only", "runs"),
    CHANGE: ("internal change", "runs"),
    REACH_OUT: ("external interaction", "runs, and you are told afterwards"),
    SENSITIVE: ("sensitive", "asks for an explicit yes"),
}


class Sort(StrEnum):
    """What an operation does to the world; a run that has read untrusted content is held by it."""

    LOOK = "look"
    """Reads what is already here."""
    FETCH = "fetch"
    """Reads from an address, which thereby learns of it."""
    KEEP = "keep"
    """Changes something inside that nobody acts on by itself: a file in the workspace, a task's state."""
    ENTER = "enter"
    """Puts something before the owner that he will act on: calendar, to-do list."""
    STAND = "stand"
    """Changes what steers later work: memory, skills, automations, flows, sessions."""
    RUN = "run"
    """Runs a command or starts other work."""
    REACH = "reach"
    """Brings something to somebody outside."""
    GUARD = "guard"
    """Changes the guards themselves: policy, allow-lists, approvers, permissions. No rule can allow it."""


class Permission(msgspec.Struct, frozen=True):
    """The row of one operation."""

    level: int
    sort: Sort
    description: str


def _table(*rows: tuple[str, int, Sort, str]) -> dict[str, Permission]:
    return {name: Permission(level, sort, description) for name, level, sort, description in rows}


OPERATIONS: dict[str, Permission] = _table(
    ("file.read", READ, Sort.LOOK, "read a file in the workspace"),
    ("file.list", READ, Sort.LOOK, "list files in the workspace"),
    ("file.write", CHANGE, Sort.KEEP, "write a file in the workspace"),
    (
        "file.write_standing",
        CHANGE,
        Sort.STAND,
        "write AGENTS.md, MEMORY.md, or a file of memory, skills or flows",
    ),
    ("file.delete", SENSITIVE, Sort.KEEP, "delete a file"),
    ("exec.allowed", CHANGE, Sort.RUN, "run a command that the mode or the allow-list lets through"),
    ("exec.run", SENSITIVE, Sort.RUN, "run another command"),
    ("process.read", READ, Sort.LOOK, "list, poll or read running commands"),
    ("process.write", CHANGE, Sort.RUN, "type into a running command that only reads"),
    ("process.run", SENSITIVE, Sort.RUN, "type into a running command that may do what it is told"),
    ("process.end", CHANGE, Sort.KEEP, "end or clear a command"),
    ("web.fetch", READ, Sort.FETCH, "fetch a page"),
    ("web.search", READ, Sort.FETCH, "search the web"),
    ("http.get", READ, Sort.FETCH, "GET or HEAD an address"),
    ("http.send", REACH_OUT, Sort.REACH, "POST, PUT or PATCH to an address"),
    ("http.delete", SENSITIVE, Sort.REACH, "DELETE at an address"),
    ("message.self", CHANGE, Sort.KEEP, "send a message to the owner's own channel"),
    ("message.send", REACH_OUT, Sort.REACH, "send a message to somebody else"),
    ("mail.read", READ, Sort.LOOK, "read mail"),
    ("mail.send", REACH_OUT, Sort.REACH, "send mail"),
    ("mail.delete", SENSITIVE, Sort.KEEP, "delete mail"),
    ("calendar.read", READ, Sort.LOOK, "read the calendar"),
    ("calendar.add", CHANGE, Sort.ENTER, "add an event to the owner's calendar"),
    ("calendar.invite", REACH_OUT, Sort.REACH, "add an event with guests"),
    ("calendar.delete", SENSITIVE, Sort.KEEP, "delete an event"),
    ("todo.read", READ, Sort.LOOK, "read the to-do list"),
    ("todo.add", CHANGE, Sort.ENTER, "add to the to-do list"),
    ("todo.complete", CHANGE, Sort.KEEP, "tick off"),
    ("todo.delete", SENSITIVE, Sort.KEEP, "delete from the to-do list"),
    ("contacts.read", READ, Sort.LOOK, "look up a contact"),
    ("post.publish", REACH_OUT, Sort.REACH, "publish a post or an announcement"),
    ("booking.make", REACH_OUT, Sort.REACH, "book a service, without paying"),
    ("booking.cancel", SENSITIVE, Sort.REACH, "cancel a booking"),
    ("payment.make", SENSITIVE, Sort.REACH, "pay"),
    ("group.add", REACH_OUT, Sort.REACH, "put a known member into a group or channel"),
    ("access.grant", SENSITIVE, Sort.REACH, "invite somebody, or give access"),
    ("access.revoke", SENSITIVE, Sort.REACH, "remove somebody, or take access away"),
    ("memory.search", READ, Sort.LOOK, "search the memory"),
    ("memory.save", CHANGE, Sort.STAND, "save to the memory"),
    ("memory.delete", SENSITIVE, Sort.STAND, "forget"),
    ("tasks.read", READ, Sort.LOOK, "list or show tasks"),
    ("tasks.run", CHANGE, Sort.RUN, "start a task, or run one again"),
    ("tasks.steer", CHANGE, Sort.KEEP, "cancel, pause or resume a task"),
    ("automations.read", READ, Sort.LOOK, "list automations, or ask when one runs next"),
    ("automations.change", CHANGE, Sort.STAND, "add, edit, pause or resume an automation"),
    ("automations.run", CHANGE, Sort.RUN, "run an automation now"),
    ("automations.delete", SENSITIVE, Sort.STAND, "remove an automation"),
    ("flows.read", READ, Sort.LOOK, "list, show or check flows"),
    ("flows.run", CHANGE, Sort.RUN, "run a flow"),
    ("flows.change", CHANGE, Sort.STAND, "write a flow"),
    ("spawn.start", CHANGE, Sort.KEEP, "start a subagent, which inherits what this run has read"),
    ("sessions.read", READ, Sort.LOOK, "list or read sessions"),
    ("sessions.send", CHANGE, Sort.STAND, "say something in another session"),
    ("sessions.reset", SENSITIVE, Sort.STAND, "reset or delete a session"),
    ("skills.read", READ, Sort.LOOK, "list or read skills"),
    ("skills.change", CHANGE, Sort.STAND, "write a skill"),
    ("skills.install", SENSITIVE, Sort.GUARD, "install or update a skill"),
    ("skills.permit", SENSITIVE, Sort.GUARD, "give a skill a permission"),
    ("mcp.call", SENSITIVE, Sort.REACH, "call a tool of a foreign MCP server that has no level of its own"),
    ("channels.pair", SENSITIVE, Sort.GUARD, "let somebody in on a channel"),
    ("config.read", READ, Sort.LOOK, "read the configuration, without secrets"),
    ("config.change", SENSITIVE, Sort.GUARD, "change the configuration"),
    ("policy.change", SENSITIVE, Sort.GUARD, "change rules, levels, allow-lists or approvers"),
    ("approvals.read", READ, Sort.LOOK, "list approvals"),
    ("approvals.answer", SENSITIVE, Sort.GUARD, "answer an approval"),
    ("turn.finish", READ, Sort.LOOK, "end the turn"),
)

UNKNOWN = Permission(SENSITIVE, Sort.REACH, "an operation that is not in the table")


def permission(name: str) -> Permission:
    """The row of an operation; of an unknown one the strictest."""
    return OPERATIONS.get(name, UNKNOWN)
