"""A verifier: a task of its own that looks at what a run did, before the run's verdict is said.

It is the run's child, so both are found together, and a restart finds the verifier where it stood. What the run has
read counts for it too: its parameters may hold the run's words.
"""

from typing import Any

from tawny.domain import automations as rules
from tawny.domain import expressions, holes
from tawny.domain.automations import Verifier
from tawny.domain.origin import with_own_keys
from tawny.domain.tasks import Notify, Runtime, Status, Submission, Task
from tawny.errors import TawnyError
from tawny.ledger import tasks
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx
from tawny.ledger.occurrences import verifier_key, verifier_of
from tawny.ledger.submission import submit

Finding = tuple[str, str]
"""`succeeded` or `failed`, and why."""


def look(tx: Tx, automation: Automation, verifier: Verifier, task: Task) -> Finding | None:
    """What the verifier found about the run; `None` while it is at it (it is started where it has not been)."""
    verifier_id = verifier_of(tx, task.task_id)
    if verifier_id is None:
        return _start(tx, automation, verifier, task)
    found = tasks.get(tx, verifier_id)
    return _judge(verifier, found) if found.status.is_terminal else None


def _start(tx: Tx, automation: Automation, verifier: Verifier, task: Task) -> Finding | None:
    names: dict[str, Any] = {
        "automation": automation.name,
        "task_id": task.task_id,
        "status": task.status.value,
        **(task.result or {}),
    }
    try:
        submission = Submission(
            kind=verifier.type,
            params=holes.render(verifier.parameters, names),
            title=f"Verifier of {automation.name}",
            runtime=Runtime.CRON,
            notify=Notify.SILENT,
            owner=automation.owner,
            timeout=rules.duration("success.verifier.timeout", verifier.timeout),
            dedupe_key=verifier_key(task.task_id),
            parent_id=task.task_id,
            detached=False,
            awaited=False,
            origin=with_own_keys(task.origin),
        )
        submit(tx, submission, actor=f"automation:{automation.automation_id}")
    except (TawnyError, expressions.EvaluationError) as error:
        return "failed", f"its verifier could not be started: {error}"
    return None


def _judge(verifier: Verifier, found: Task) -> Finding:
    if found.status is not Status.SUCCEEDED:
        why = found.error.message if found.error else "it said no more"
        return "failed", f"the verifier ended {found.status}: {why}"
    if not verifier.condition:
        return "succeeded", ""
    try:
        holds = expressions.compile(verifier.condition).test({**(found.result or {})})
    except expressions.EvaluationError as error:
        return "failed", f"the verifier's condition: {error}"
    return (
        ("succeeded", "")
        if holds
        else ("failed", f"the verifier finds that {verifier.condition!r} does not hold")
    )
