"""What a person's answer means for the call that asked: held to the very thing that was shown, and told to the run."""

from collections.abc import Sequence

from tawny.domain.approvals import Answer, fingerprint
from tawny.domain.tasks import Json, Origin
from tawny.errors import Refused
from tawny.tools.registry import Operation


def held_to(bound: Sequence[str]) -> str:
    """The part of the question that says what the answer holds for beside the arguments."""
    if not bound:
        return ""
    named = ", ".join(
        f"{path} ({digest[:23]})" for path, _, digest in (text.rpartition(" ") for text in bound[:8])
    )
    more = f" and {len(bound) - 8} more" if len(bound) > 8 else ""
    return f"; a yes holds for {named}{more}"


def hold_to(answer: Answer, tool: str, operation: Operation, arguments: dict[str, Json]) -> None:
    """Refuse where what was asked is no longer what would run.

    Raises:
        Refused: a program or file was exchanged after the question.
    """
    now = fingerprint(tool, operation.name, arguments, operation.bound)
    if answer.fingerprint and answer.fingerprint != now:
        raise Refused(
            f"{tool}: a program or file it names has changed since the yes, so it was not run",
            hint="call it again: the question is asked anew, for what is there now",
            code="changed",
        )


def said_no(tool: str, answer: Answer) -> str:
    """Why the call was not made, for the run that asked."""
    if answer.status == "expired":
        return f"{tool}: nobody answered in time, so it was not done"
    note = f": {answer.note}" if answer.note else ""
    return f"{tool}: {answer.answered_by or 'a person'} said no{note}"


def asker(origin: Origin) -> tuple[str, ...]:
    """Who set the run going, by the channel's own immutable id; nobody where nobody can tell."""
    channel, sender = origin.detail.get("channel"), origin.detail.get("sender")
    if not (isinstance(channel, str) and isinstance(sender, str) and channel and sender):
        return ()
    return (f"{channel}:{sender}",)
