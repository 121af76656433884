"""Whether a run did what was asked: each criterion holds where it should and names what is wrong where it does not."""

from typing import Any

import pytest
from tests.domain.test_notify import make_task

from tawny.clock import HOUR, MINUTE
from tawny.domain.automations import FileFresh, Success
from tawny.domain.tasks import Status
from tawny.domain.verdicts import judge

NOW = 100 * HOUR
TOTAL: dict[str, Any] = {
    "type": "object",
    "required": ["total"],
    "properties": {"total": {"type": "number"}},
}


@pytest.mark.parametrize(
    ("success", "result", "problem"),
    [
        (Success(exit_code=0), {"exit_code": 0}, ""),
        (Success(exit_code=0), {"exit_code": 1}, "the exit code is 1, not 0"),
        (Success(exit_code=0), {}, "the exit code is None, not 0"),
        (Success(exit_code=1), {"exit_code": 1}, ""),
        (Success(file_fresh=FileFresh("new.txt")), {}, ""),
        (Success(file_fresh=FileFresh("old.txt")), {}, "old.txt is older than 1h"),
        (Success(file_fresh=FileFresh("old.txt", "3h")), {}, ""),
        (Success(file_fresh=FileFresh("none.txt")), {}, "none.txt is missing"),
        (Success(schema=TOTAL), {"total": 3, "more": 1}, ""),
        (Success(schema=TOTAL), {"total": "three"}, "the result does not fit: "),
        (Success(schema=TOTAL), {}, "the result does not fit: "),
        (Success(min_length=5), {"text": "hello"}, ""),
        (Success(min_length=5), {"text": "  hi    "}, "the text has 2 characters, not 5"),
        (Success(condition="total > 2"), {"total": 3}, ""),
        (Success(condition="total > 2"), {"total": 2}, "'total > 2' does not hold"),
        (Success(condition="total > 2"), {"total": "three"}, "text and a number cannot be compared"),
        (Success(exit_code=0, min_length=5), {"exit_code": 2, "text": "hello"}, "the exit code is 2"),
        (Success(exit_code=0, min_length=5), {"exit_code": 0, "text": "hi"}, "the text has 2 characters"),
    ],
)
def test_a_criterion_decides(success: Success, result: dict[str, Any], problem: str) -> None:
    changed = {"new.txt": NOW - MINUTE, "old.txt": NOW - 2 * HOUR}.get
    verdict, reason = judge(success, make_task(result=result), now=NOW, changed=changed)
    assert verdict == ("failed" if problem else "succeeded")
    assert problem in reason
    assert bool(reason) is bool(problem)


def test_without_criteria_the_status_stands_and_a_verifier_alone_does_not_make_a_failure_good() -> None:
    failed = make_task(status=Status.FAILED, result=None)
    assert judge(None, failed, now=NOW, changed=lambda _: None) == (None, "")
    assert judge(Success(), failed, now=NOW, changed=lambda _: None) == ("failed", "it ended failed")
    told = Success(condition='status == "failed"')
    assert judge(told, failed, now=NOW, changed=lambda _: None) == ("succeeded", "")
