"""What counts as the same outcome."""

from collections.abc import Sequence

import pytest

from tawny.domain.loops import Loop, LoopGuard


def streak(outcomes: list[str]) -> Loop:
    """What is said of one more call after a call had these outcomes."""
    guard = LoopGuard()
    for outcome in outcomes:
        guard.after("exec", {"command": "make"}, {"output": outcome})
    return guard.before("exec", {"command": "make"})


NOISE = [
    "proc_{n}f00ba4c01de5ca1ab1e",
    "task_01j{n}ab2cd3ef4gh",
    "123e4567-e89b-12d3-a456-42661417400{n}",
    "commit 4f9a1c{n}",
    "at 0x7ffd{n}c",
    "pid 4312{n}",
    "pid 81{n}",
    '{{"pid": 81{n}, "state": "S"}}',
    "begun\n4312{n}\t4313{n}\n10:00:0{n}",
    "listening on 127.0.0.1:4915{n}",
    "listening on [::1]:4915{n}",
    "port {n}915",
    "1764265288.12345{n}",
    "176426528{n}",
    "176426528{n}123",
    "took 0.12345{n}",
    "in 1.{n} s",
    "real 0m1.{n}s",
    "3m1{n}s",
    "ran for {n} minutes",
    '{{"elapsed": {n}.5, "ok": false}}',
    '{{"duration_ms": {n}}}',
    "at 10:00:0{n}",
    "2026-11-21T10:00:0{n}Z",
    "Fri Nov 27 10:00:0{n} UTC 2026",
]


@pytest.mark.parametrize("outcome", NOISE)
def test_ids_times_and_process_numbers_are_noise(outcome: str) -> None:
    assert streak([outcome.format(n=n) for n in range(7)]) is Loop.BLOCK


@pytest.mark.parametrize("jumps", [(3, 1, 4, 1, 5, 9, 2), (1, 2, 9, 3, 4, 1, 5), (9, 8, 7, 6, 5, 4, 3)])
def test_a_long_number_that_jumps_is_noise(jumps: tuple[int, ...]) -> None:
    assert streak([f"RSS {n}1234 kB" for n in jumps]) is Loop.BLOCK


COUNTERS = [
    "page {n} of 20, 45 %",
    "page 2 of 20, 4{n} %",
    "0.{n}",
    "row 123{n}",
    "{n}0000",  # grows by a lot
    "{n}1000000 bytes so far",
    "copied 5{n}0000 kB at 10:00:0{n}",
    "1000{n} of 90000",  # grows by next to nothing, and is told by its company
    "1000{n}/90000",
    "10000{n} rows",
    '{{"processed": 10000{n}}}',
    "remaining: 9999{n}",
    "25000{n} tests, 0 failures",
]


@pytest.mark.parametrize("outcome", COUNTERS)
def test_a_counter_that_moves_is_progress(outcome: str) -> None:
    guard = LoopGuard()
    for n in range(1, 10):
        assert guard.before("exec", {"command": "make"}) is Loop.GO_ON
        assert guard.after("exec", {"command": "make"}, {"output": outcome.format(n=n)}) is Loop.GO_ON


def test_a_long_work_that_is_looked_after_twenty_times_is_no_circle() -> None:
    guard = LoopGuard()
    for done in range(10_000, 210_000, 10_000):
        assert guard.before("process", {"action": "poll"}) is Loop.GO_ON
        assert guard.after("process", {"action": "poll"}, f"pid 43121: {done} bytes, 10:00:00") is Loop.GO_ON


LONG_WORK = {
    "evenly, each step a smaller share of the whole": range(20_000, 320_000, 1_000),
    "by less than a hundredth from the start": range(1_000_000, 1_900_000, 3_000),
    "in batches that begin anew": [n for _ in range(5) for n in range(10_000, 20_000, 500)],
}


@pytest.mark.parametrize("counter", LONG_WORK.values(), ids=LONG_WORK)
def test_a_counter_is_one_however_slowly_it_grows_in_the_end(counter: Sequence[int]) -> None:
    guard = LoopGuard()
    for done in counter:
        assert guard.before("process", {"action": "poll"}) is Loop.GO_ON
        assert guard.after("process", {"action": "poll"}, f"{done} bytes, 10:00:00") is Loop.GO_ON


@pytest.mark.parametrize("step", [1, 7, 30], ids="by {}".format)
@pytest.mark.parametrize(
    "first", [20_000, 1_795_822_537, 1_795_822_537_693], ids=["a number of processes", "s", "ms"]
)
def test_a_number_that_creeps_is_noise(first: int, step: int) -> None:
    assert streak([f"started {first + step * n}" for n in range(8)]) is Loop.BLOCK


def test_a_counter_that_has_come_to_a_stop_is_a_circle_from_there() -> None:
    guard = LoopGuard()
    for done in (10_000, 20_000, 30_000):
        guard.after("process", {}, f"{done} bytes")
    said = [guard.after("process", {}, "30000 bytes") for _ in range(6)]
    assert said == [Loop.GO_ON] * 3 + [Loop.WARN] * 3, "the fifth look at 30000 is the fourth after it came"
    assert guard.before("process", {}) is Loop.BLOCK


def test_a_counter_that_goes_on_after_a_stop_is_progress_again() -> None:
    guard = LoopGuard()
    for done in (10_000, 10_000, 10_000, 20_000, 20_000, 20_000, 30_000, 30_000, 30_000, 40_000):
        assert guard.before("process", {}) is Loop.GO_ON
        assert guard.after("process", {}, f"{done} bytes") is Loop.GO_ON


@pytest.mark.parametrize("outcome", ["the same", "took 0.12345{n} s in proc_{n}f00ba4c01de5ca1ab1e"])
def test_five_are_warned_of_eight_are_blocked_twelve_are_the_end(outcome: str) -> None:
    guard = LoopGuard()
    told: list[Loop] = []
    for n in range(12):
        before = guard.before("exec", {})
        told.append(before if before is not Loop.GO_ON else guard.after("exec", {}, outcome.format(n=n)))
    assert told == [*[Loop.GO_ON] * 4, *[Loop.WARN] * 3, *[Loop.BLOCK] * 4, Loop.END]


def test_a_call_is_only_ever_itself() -> None:
    guard = LoopGuard()
    for n in range(12):
        when = {"title": "Standup", "start": f"2026-12-{n + 1:02d}T10:00:00Z"}
        assert guard.before("calendar_add", when) is Loop.GO_ON
        assert guard.after("calendar_add", when, {"ok": True}) is Loop.GO_ON
