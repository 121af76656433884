"""How long accounts rest."""

import pytest

from tawny.clock import DAY, HOUR, MINUTE
from tawny.domain.cooldown import Rest, after_failure, probe


def fail(before: Rest | None, now: int, reason: str = "overloaded", retry_after: float | None = None) -> Rest:
    return after_failure(before, account="a", reason=reason, now=now, retry_after=retry_after)


def test_each_failure_in_a_row_rests_longer() -> None:
    rest, lengths, now = None, [], 0
    for _ in range(6):
        rest = fail(rest, now)
        lengths.append((rest.until - now) // MINUTE)
        now = rest.until
    assert lengths == [1, 5, 25, 60, 60, 60]


def test_billing_rests_five_hours_then_doubles_to_a_day() -> None:
    rest, lengths, now = None, [], 0
    for _ in range(5):
        rest = fail(rest, now, "billing")
        lengths.append((rest.until - now) // HOUR)
        now = rest.until
    assert lengths == [5, 10, 20, 24, 24]


def test_requests_that_fail_together_are_one_failure() -> None:
    rest = fail(None, 0, "billing")
    for now in (1, 2 * MINUTE):
        rest = fail(rest, now, "billing")
    assert (rest.strikes, rest.until) == (1, 5 * HOUR)
    assert fail(rest, 3, "billing", retry_after=6 * 3600).until == 6 * HOUR + 3
    assert fail(rest, rest.until, "billing").until == rest.until + 10 * HOUR


def test_a_clean_day_forgives() -> None:
    rest = fail(fail(None, 0), MINUTE)
    assert rest.strikes == 2
    assert fail(rest, 2 * DAY).strikes == 1


@pytest.mark.parametrize(
    ("asked", "length"), [(5.0, MINUTE), (600.0, 10 * MINUTE), (9e11, DAY), (float("inf"), DAY)]
)
def test_the_server_may_ask_for_more_rest_up_to_a_day_never_for_less(asked: float, length: int) -> None:
    assert fail(None, 0, retry_after=asked).until == length


def test_one_probe_a_window() -> None:
    rest = fail(None, 0)
    assert probe(rest, MINUTE - 1) is None
    lent = probe(rest, MINUTE)
    assert lent is not None
    assert probe(lent, MINUTE) is None
    assert probe(lent, 2 * MINUTE) is not None
