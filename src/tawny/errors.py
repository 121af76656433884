"""The errors of the house. Each names the thing, and says by its class whether trying again helps.

TawnyError
├── TemporaryError        trying again may help (`retry_after` seconds, when the other side said so)
│   └── StorageError      the disk or the database refused
├── PermanentError        trying again will not help
│   ├── InvalidInput      what was given is wrong; names the field and the mend
│   │   └── ConfigError   … in the configuration
│   ├── NotFound
│   ├── Conflict          the state does not allow it (any more)
│   │   ├── Fenced        a given-up execution still spoke
│   │   └── Changed       what is recorded of a run is not what its code asks for now
│   ├── Refused           policy, sandbox or network list said no
│   └── Uncertain         an effect may or may not have happened: only a person can say
└── QueueFull             the owner's queue is full; nothing was written
"""

from typing import Any, TypeVar, cast

_E = TypeVar("_E", bound=BaseException)


class TawnyError(Exception):
    """Anything that went wrong in a way we can name.

    Args:
        message: one line that names the thing and its state.
        hint: the mend, one line; may be empty.
        code: the stable word on the wire; each class has its own.
    """

    code = "error"
    retryable = False
    own_words = False
    """Whether the message holds nothing that was read outside: who reads it has read nothing of a stranger's."""

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.result: dict[str, Any] | None = None
        """What there is to show in spite of the failure; recorded as the task's result."""
        if code is not None:
            self.code = code


class TemporaryError(TawnyError):
    code = "temporary"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after


class StorageError(TemporaryError):
    code = "storage"


class PermanentError(TawnyError):
    code = "permanent"


class InvalidInput(PermanentError):
    code = "invalid"


class ConfigError(InvalidInput):
    code = "config"


class NotFound(PermanentError):
    code = "not_found"


class Conflict(PermanentError):
    code = "conflict"


class Fenced(Conflict):
    code = "fenced"


class Changed(Conflict):
    """The code or the data of a run have changed under what is recorded of it; `step` is the key in question."""

    code = "changed"

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class Refused(PermanentError):
    code = "refused"


class Uncertain(PermanentError):
    """Raised in a step: nobody can know whether its effect happened. The task then waits to be reconciled."""

    code = "uncertain"


class QueueFull(TawnyError):
    code = "queue_full"
    retryable = True


def first_of(error: BaseException, kind: type[_E] | tuple[type[_E], ...]) -> _E | None:
    """The first error of a kind in an error, which may be a group of groups; None where there is none.

    For use in place of `except*`: what is raised inside of that is wrapped in a group anew before Python 3.11.4.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return next(
            (found for inner in group.exceptions if (found := first_of(inner, kind)) is not None), None
        )
    return error if isinstance(error, kind) else None
