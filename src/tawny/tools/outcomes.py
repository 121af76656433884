"""How a call of a tool ended, as it is kept and as it is given back; and what the owner is told of it."""

from collections.abc import Callable
from typing import cast

from tawny.domain.display import visible
from tawny.domain.mentions import host_and_path
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import Json
from tawny.engine.kinds import Context
from tawny.errors import PermanentError, Refused, TawnyError
from tawny.ledger import outbox
from tawny.ledger.database import Tx
from tawny.log import redact
from tawny.tools.registry import Operation
from tawny.tools.results import as_text


def failure(error: TawnyError, redact: Callable[[str], str] = redact, *, heard: bool = False) -> Json:
    """A failure as a record: what failed once must not run again by itself when the run starts over.

    `heard` marks one whose words may be a stranger's.
    """
    return {
        "failed": {
            **({"heard": True} if heard else {}),
            "refused": isinstance(error, Refused),
            "code": error.code,
            "message": redact(error.message),
            "hint": redact(error.hint),
        }
    }


def is_heard(kept: Json) -> bool:
    """Whether it is the record of a failure whose words may be a stranger's."""
    return bool(kept.get("failed", {}).get("heard"))


def opened(kept: Json) -> Json:
    """The value of a recorded call; its failure is raised again."""
    failed = kept.get("failed")
    if failed is None:
        return kept["value"]
    kind = Refused if failed["refused"] else PermanentError
    raise kind(failed["message"], hint=failed["hint"], code=failed["code"])


def warned(result: Json) -> Json:
    """The result with a word to a run that goes in circles."""
    note = "You have made this very call several times with the same outcome. Do something else, or finish."
    if isinstance(result, dict):
        return {**cast(dict[str, Json], result), "warning": note}
    return f"{as_text(result)}\n\n[{note}]"


def where(target: str) -> str:
    """A target without what may be secret in it: a link's host alone."""
    return host_and_path(target)[0] if "://" in target else target[:200]


def tell_owner(tx: Tx, context: Context, tool: str, operation: Operation, *, key: str) -> None:
    """Level 3 is told afterwards: where the work was asked for; of a chat's own turn, in the inbox."""
    task = context.task
    reached = ", ".join(
        dict.fromkeys([*operation.recipients, *(where(target) for target in operation.targets)])
    )
    asked = task.origin.reply_to or next(iter(task.delivery.channels), "default")
    outbox.put(
        tx,
        task_id=task.task_id,
        transition=f"told:{key}",
        target=asked if task.detached else "inbox",
        message=Outgoing(
            key="",
            text=visible(
                f"Done: {operation.name} ({tool}){f' to {reached}' if reached else ''}. Task: {task.title}"
            ),
            format="plain",
            severity="low",
        ),
        severity="low",
    )
