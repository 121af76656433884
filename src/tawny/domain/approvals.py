"""What an approval is, who may answer it, and how it is shown."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from tawny.clock import DAY, HOUR, Instant, iso
from tawny.domain.display import visible
from tawny.domain.origin import readings
from tawny.domain.tasks import Json, Origin

LIFETIME = DAY
"""How long a question waits where nobody said otherwise."""
GRANT_LIFETIME = 30 * DAY
GRANT_USES = 100
MOST_REMINDERS = 2
OWN_HANDS = frozenset({"owner", "device", "token"})
"""Whoever the gateway or the command line has signed in as the owner: `owner`, `device:…`, `token:…`."""

_encode = msgspec.json.Encoder(order="sorted").encode


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What only a person may answer. `arguments` are shown whole and may be edited before a yes.

    `expires_in` is in microseconds. `may_confirm` are further ids that may answer this one: whoever asked, where a rule
    wants no more than a confirmation. `bound` is what the answer holds for beside the arguments, such as the hash of
    the program that a command names.
    """

    tool: str
    operation: str
    arguments: dict[str, Json]
    level: int
    reason: str
    origin: Origin = Origin()
    expires_in: int | None = None
    may_confirm: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A settled approval: `status` is approved, denied or expired. `fingerprint` is that of what was asked."""

    status: str
    arguments: dict[str, Json]
    approval_id: str
    answered_by: str | None = None
    note: str = ""
    fingerprint: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question only a person may answer. `status` is pending, approved, denied or expired. Times are instants."""

    approval_id: str
    task_id: str
    key: str
    status: str
    tool: str
    operation: str
    arguments: dict[str, Json]
    fingerprint: str
    level: int
    reason: str
    origin: Origin
    approvers: tuple[str, ...]
    created_at: Instant
    expires_at: Instant
    remind_at: Instant | None
    reminders: int
    answered_by: str | None
    answered_at: Instant | None
    answered_arguments: dict[str, Json] | None
    note: str

    def document(self) -> dict[str, Any]:
        """The approval as on the wire."""
        return {
            "approval_id": self.approval_id,
            "task_id": self.task_id,
            "status": self.status,
            "tool": self.tool,
            "operation": self.operation,
            "arguments": self.arguments,
            "level": self.level,
            "reason": self.reason,
            "origin": {"by": self.origin.by, "via": self.origin.via, "trusted": self.origin.trusted},
            "read": readings(self.origin),
            "created_at": iso(self.created_at),
            "expires_at": iso(self.expires_at),
            "answered_by": self.answered_by,
            "answered_at": None if self.answered_at is None else iso(self.answered_at),
            "answered_arguments": self.answered_arguments,
            "note": self.note,
        }


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A standing yes to exactly one operation with exactly these arguments. Times are instants."""

    grant_id: str
    approval_id: str
    tool: str
    operation: str
    arguments: dict[str, Json]
    granted_by: str
    created_at: Instant
    expires_at: Instant
    uses_left: int
    uses: int
    last_used_at: Instant | None
    revoked_at: Instant | None

    def document(self) -> dict[str, Any]:
        """The grant as on the wire."""
        return {
            "grant_id": self.grant_id,
            "approval_id": self.approval_id,
            "tool": self.tool,
            "operation": self.operation,
            "arguments": self.arguments,
            "granted_by": self.granted_by,
            "created_at": iso(self.created_at),
            "expires_at": iso(self.expires_at),
            "uses": self.uses,
            "uses_left": self.uses_left,
            "last_used_at": None if self.last_used_at is None else iso(self.last_used_at),
            "revoked_at": None if self.revoked_at is None else iso(self.revoked_at),
        }


def fingerprint(tool: str, operation: str, arguments: Mapping[str, Json], bound: Sequence[str] = ()) -> str:
    """What a standing grant is bound to: any changed byte makes another one, of the arguments or of what they name."""
    given = [tool, operation, arguments, *([bound] if bound else [])]
    return hashlib.sha256(_encode(given)).hexdigest()


def may_answer(by: str, approvers: Collection[str]) -> bool:
    """Whether this one may answer: the owner's own hand, or somebody listed by an immutable id."""
    return by.split(":", 1)[0] in OWN_HANDS or by in approvers


def remind_at(created_at: Instant, expires_at: Instant, reminders: int) -> Instant | None:
    """When to remind next: half way, and an hour before the end; not where less than ten minutes are left."""
    if reminders >= MOST_REMINDERS:
        return None
    due = created_at + (expires_at - created_at) // 2 if reminders == 0 else expires_at - HOUR
    least = created_at + (expires_at - created_at) // 2 if reminders else created_at
    return due if due > least and expires_at - due >= HOUR // 6 else None


def describe(approval: Approval, *, until: str) -> str:
    """The whole question for a person: what, with which arguments, why it is asked, and what was read before."""
    lines = [f"May I do this? {visible(approval.operation)} with {visible(approval.tool)}"]
    lines += [f"  {visible(name)}: {shown(value)}" for name, value in approval.arguments.items()]
    lines.append(f"Why I ask: {visible(approval.reason, keep_lines=False)}")
    read = [entry for entry in readings(approval.origin) if entry.get("trust") != "owner"]
    if read:
        lines.append("What I have read:")
        lines += [f"  {visible(str(entry.get('what', '')))} ({entry.get('trust')})" for entry in read[:10]]
        if len(read) > 10:
            lines.append(f"  and {len(read) - 10} more")
    lines.append(f"Without an answer it lapses at {until}.")
    return "\n".join(lines)


def shown(value: Json) -> str:
    """A value whole, with nothing in it that could hide or overwrite what stands beside it."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    lines = visible(text).split("\n")
    return lines[0] if len(lines) == 1 else "\n    " + "\n    ".join(lines)
