"""When a failure is tried again: which, how often, and how long after."""

import pytest

from tawny.clock import MINUTE, SECOND
from tawny.domain.retry import classify, next_attempt
from tawny.domain.tasks import Failure, Retry
from tawny.engine.kinds import DEFAULT_TIMEOUT
from tawny.errors import PermanentError, Refused, TemporaryError

TEMPORARY = Failure("temporary", "busy")
PLAIN = Retry(jitter=0)


def waited(policy: Retry, failures: int, *, chance: float = 0.5, asked: float | None = None) -> float | None:
    """The seconds until the next attempt."""
    again = next_attempt(policy, TEMPORARY, failures=failures, now=7, chance=chance, asked=asked)
    return None if again is None else (again - 7) / SECOND


def test_the_defaults_are_three_retries_and_ten_minutes():
    assert [waited(PLAIN, failures) for failures in (1, 2, 3, 4)] == [2, 4, 8, None]
    assert DEFAULT_TIMEOUT == 10 * MINUTE


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TemporaryError("x"), "temporary"),
        (ConnectionError("x"), "temporary"),
        (PermanentError("x"), "permanent"),
        (ValueError("x"), "permanent"),
        (Refused("x"), "refused"),
    ],
)
def test_what_is_temporary_is_tried_again_and_else_what_on_names(error, kind):
    failure = classify(error)
    assert failure.kind == kind
    for on in (("temporary",), ("permanent", "refused")):
        again = next_attempt(Retry(on=on), failure, failures=1, now=0, chance=0.5)
        assert (again is not None) is (kind in on)


def test_no_wait_is_longer_than_the_cap_however_many_failed():
    policy = Retry(max=1000, base="10s", factor=10, cap="5m", jitter=0)
    assert [waited(policy, failures) for failures in (1, 2, 3, 1000)] == [10, 100, 300, 300]


def test_jitter_is_a_share_to_either_side():
    policy = Retry(base="10s", jitter=0.1)
    assert [waited(policy, 1, chance=chance) for chance in (0, 0.5, 1)] == [9, 10, 11]


def test_who_asks_for_more_time_gets_it_and_for_less_does_not():
    assert [waited(PLAIN, 1, asked=asked) for asked in (90, 1)] == [90, 2]
