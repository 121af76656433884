"""The guard against calling the same thing for ever."""

from tawny.domain.repeats import LoopGuard, Verdict, fingerprint


def run(guard: LoopGuard, n: int, outcome: str) -> list[str]:
    seen: list[str] = []
    for i in range(n):
        verdict = guard.before("poll", {"id": 1})
        if verdict is Verdict.BLOCK:
            guard.blocked("poll", {"id": 1})
        elif verdict is Verdict.GO_ON:
            verdict = guard.after("poll", {"id": 1}, outcome.replace("N", str(i * 7919)))
        seen.append(verdict.value)
    return seen


def test_same_call_same_outcome_warns_at_5_blocks_at_8_ends_at_12() -> None:
    expected = ["go_on"] * 4 + ["warn"] * 3 + ["block"] * 4 + ["end"]
    assert run(LoopGuard(), 12, "still running") == expected


def test_noise_in_the_outcome_hides_nothing() -> None:
    assert run(LoopGuard(), 12, "at 2026-01-01T00:00:N pid N nonce abcN123def99: pending")[-1] == "end"


def test_progress_is_no_loop() -> None:
    guard = LoopGuard()
    words = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
    for word in words:
        assert guard.before("poll", {}) is Verdict.GO_ON
        assert guard.after("poll", {}, word) is Verdict.GO_ON


def test_other_arguments_are_another_call() -> None:
    assert fingerprint("a", {"x": 1}, "same") != fingerprint("a", {"x": 2}, "same")
