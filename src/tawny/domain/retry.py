"""When a failure is tried again."""

from tawny.clock import SECOND, Instant, parse_duration
from tawny.domain.tasks import Failure, Retry
from tawny.errors import InvalidInput, Refused, TawnyError, TemporaryError


def classify(error: BaseException) -> Failure:
    """What kind of failure an exception is, in the contract's words."""
    if isinstance(error, Refused):
        return Failure("refused", error.message)
    if isinstance(error, TawnyError):
        return Failure("temporary" if error.retryable else "permanent", error.message)
    if isinstance(error, ConnectionError | TimeoutError):
        return Failure("temporary", f"{type(error).__name__}: {error}".rstrip(": "))
    return Failure("permanent", f"{type(error).__name__}: {error}".rstrip(": "))


def check(policy: Retry) -> None:
    """Check a policy as it was written.

    Raises:
        InvalidInput: names the field and the mend.
    """
    for field, value in (("retry.base", policy.base), ("retry.cap", policy.cap)):
        try:
            parse_duration(value)
        except ValueError as error:
            raise InvalidInput(f"{field}: {error}") from error
    if not 0 <= policy.max <= 1000 or not 1 <= policy.factor <= 100 or not 0 <= policy.jitter <= 1:
        raise InvalidInput("retry: max is 0 to 1000, factor 1 to 100, jitter 0 to 1", hint='{"max": 3}')


def seconds_asked(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header; `None` where there is none, or it is a date or nonsense."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None


def retry_after(error: BaseException) -> float | None:
    """The seconds the other side asked us to wait, where it did."""
    return error.retry_after if isinstance(error, TemporaryError) else None


def next_attempt(
    policy: Retry, failure: Failure, *, failures: int, now: Instant, chance: float, asked: float | None = None
) -> Instant | None:
    """When to try again after the `failures`-th failure in a row; `None` for never.

    Args:
        policy: the task's retry policy.
        failure: what happened.
        failures: how many times it has failed, this time included.
        now: the time of the failure.
        chance: a random number in 0…1 for the jitter.
        asked: the seconds of a `Retry-After`, honoured where they are more than our own.
    """
    if failure.kind not in policy.on or failures > policy.max:
        return None
    base, cap = parse_duration(policy.base), parse_duration(policy.cap)
    wait = min(base * policy.factor ** min(failures - 1, 64), cap)
    wait *= 1 + policy.jitter * (2 * chance - 1)
    if asked is not None:
        wait = max(wait, asked * SECOND)
    return now + int(wait)
