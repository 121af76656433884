"""When the work will be done: by a pace that nobody can set, and nothing while nobody can know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.clock import HOUR, SECOND
from tawny.domain.progress import Pace, advance, estimate
from tawny.domain.tasks import Progress

STEADY, WALL = 5 * HOUR, 1_000_000 * HOUR


def told(*readings: tuple[float, float, float], total: float | None = 100) -> list[float | None]:
    """What is estimated after each reading (steady second, wall second, current): seconds from the wall's start."""
    pace, found, progress = Pace(), [], Progress()
    for steady, wall, current in readings:
        progress = advance(progress, current=current, total=total)
        pace, eta = estimate(
            pace, progress, steady=STEADY + int(steady * SECOND), now=WALL + int(wall * SECOND)
        )
        found.append(None if eta is None else (eta - WALL) / SECOND)
    return found


def test_nothing_is_said_before_anything_can_be_known() -> None:
    assert told((0, 0, 0), (0.1, 0.1, 10)) == [None, None]
    assert told((0, 0, 0), (5, 5, 0), (9, 9, 0)) == [None, None, None], "no progress is no pace"
    assert told((0, 0, 1), (5, 5, 50), total=None) == [None, None]
    assert told((0, 0, 1), (5, 5, 50), total=0) == [None, None]


def test_an_even_pace_is_met() -> None:
    assert told((0, 0, 0), (1, 1, 10), (2, 2, 20), (5, 5, 50))[1:] == pytest.approx([10, 10, 10])


@pytest.mark.parametrize("jump", [-7200, -3, 3, 86_400])
def test_a_wall_clock_that_is_set_changes_no_pace(jump: float) -> None:
    """The estimate is a time on the wall, as it is now; what is left is what the steady clock says."""
    before = told((0, 0, 0), (1, 1, 10), (2, 2, 20))
    after = told((0, 0, 0), (1, 1, 10), (2, 2 + jump, 20), (3, 3 + jump, 30))
    assert before[2] == pytest.approx(10)
    assert after[2:] == pytest.approx([10 + jump, 10 + jump])


def test_one_slow_step_moves_the_estimate_only_in_part() -> None:
    even = [(n, n, 10.0 * n) for n in range(5)]
    (late,) = told(*even, (14, 14, 50))[-1:]
    assert late is not None
    assert 14 + 5 < late < 14 + 50, "smoothed: neither as fast as before nor as slow as the last"


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(-50, 150)), min_size=1, max_size=30))
def test_an_estimate_never_lies_in_the_past_and_the_percentage_never_falls(
    moves: list[tuple[float, float]],
) -> None:
    steady, pace, progress = STEADY, Pace(), Progress()
    for seconds, current in moves:
        steady += int(seconds * SECOND)
        before = progress.percentage or 0
        progress = advance(progress, current=current, total=100)
        assert (progress.percentage or 0) >= before
        pace, eta = estimate(pace, progress, steady=steady, now=steady)
        assert eta is None or eta >= steady
