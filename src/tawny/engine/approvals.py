"""Questions to a person in motion: asked in the transaction of the wait, recalled, and settled when time runs out."""

from collections.abc import Sequence

from tawny.clock import Clock, Instant
from tawny.domain.approvals import LIFETIME, Question
from tawny.domain.tasks import Task
from tawny.ledger import approvals
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import rounds


class Approvals:
    """Asks, and sleeps until the next question lapses or is to be recalled."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, expires_in: int = LIFETIME, approvers: Sequence[str] = ()
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._expires_in = expires_in
        self._approvers = tuple(approvers)

    def ask(self, tx: Tx, task: Task, key: str, question: Question) -> None:
        """Write the question, in the transaction in which the task begins to wait for it."""
        approvals.request(
            tx,
            task_id=task.task_id,
            key=key,
            question=question,
            expires_in=self._expires_in,
            approvers=self._approvers,
        )

    async def run(self) -> None:
        """Run until cancelled."""
        changed = self._ledger.bell.subscribe("approvals")
        await rounds(self._clock, changed, self._pass, name="approvals")

    async def _pass(self) -> Instant | None:
        due = await self._ledger.read(approvals.next_due)
        if due is not None and due <= self._clock.now():
            await self._ledger.write(_settle_due)
            due = await self._ledger.read(approvals.next_due)
        return due


def _settle_due(tx: Tx) -> None:
    approvals.expire_due(tx)
    approvals.remind_due(tx)
