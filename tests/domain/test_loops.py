"""What counts as the same outcome."""

import pytest

from tawny.domain.loops import Loop, LoopGuard


def streak(outcomes: list[str]) -> Loop:
    """What is said of one more call after a call had these outcomes."""
    guard = LoopGuard()
    for outcome in outcomes:
        guard.after("exec", {"command": "make"}, {"output": outcome})
    return guard.before("exec", {"command": "make"})


@pytest.mark.parametrize(
    "outcome",
    [
        "proc_{n}f00ba4c01de5ca1ab1e",
        "task_01j{n}ab2cd3ef4gh",
        "pid 4312{n}",
        "begun\n4312{n}\t4313{n}\n10:00:0{n}",
        "1764265288.12345{n}",
        "took 0.12345{n}",
        "in 1.{n} s",
        "at 10:00:0{n}",
        "2026-11-21T10:00:0{n}Z",
    ],
)
def test_ids_times_and_process_numbers_are_noise(outcome: str) -> None:
    assert streak([outcome.format(n=n) for n in range(7)]) is Loop.BLOCK


@pytest.mark.parametrize("outcome", ["page {n} of 20, 45 %", "page 2 of 20, 4{n} %", "0.{n}", "row 123{n}"])
def test_small_numbers_are_not(outcome: str) -> None:
    assert streak([outcome.format(n=n) for n in range(7)]) is Loop.GO_ON


def test_a_call_is_only_ever_itself() -> None:
    guard = LoopGuard()
    for n in range(12):
        when = {"title": "Standup", "start": f"2026-12-{n + 1:02d}T10:00:00Z"}
        assert guard.before("calendar_add", when) is Loop.GO_ON
        assert guard.after("calendar_add", when, {"ok": True}) is Loop.GO_ON
