"""How an execution may be interrupted from inside. These are no errors: a run lets them pass."""

from tawny.domain.tasks import WaitingFor


class Interrupted(BaseException):
    """Ends an execution at this point. A `BaseException`, so that a run's `except Exception` does not swallow it."""


class Suspended(Interrupted):
    """The task waits and leaves memory; the wait is written already."""

    def __init__(self, waiting: WaitingFor) -> None:
        super().__init__(waiting.kind)
        self.waiting = waiting


class Paused(Interrupted):
    """Somebody asked for a pause; this is the next step boundary."""


class GivenUp(Interrupted):
    """The ledger has moved on without this execution: what it still says is refused."""
