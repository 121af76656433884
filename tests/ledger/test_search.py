"""Tasks are found by their words, on both databases."""

import sqlite3
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.domain.tasks import Failure, Status, Submission
from tawny.errors import InvalidInput
from tawny.ledger import endings, search, tasks, transitions
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import submit


async def made(ledger: Ledger, *all: dict[str, Any]) -> list[str]:
    def make(tx: Tx) -> list[str]:
        return [submit(tx, Submission(**({"kind": "remind", "params": {}} | one))).task_id for one in all]

    return await ledger.write(make)


async def found(ledger: Ledger, q: str, **more: Any) -> list[str]:
    page = await ledger.read(lambda tx: tasks.page(tx, q=q, **more))
    return [task.task_id for task in page.items]


async def test_every_value_of_a_task_is_searched_and_no_key(ledger: Ledger) -> None:
    by_title, by_params, by_kind, by_session = await made(
        ledger,
        {"title": "Call the Plumber"},
        {"params": {"mail": {"to": ["ann@example.org"], "amount": 19.5}}},
        {"kind": "simulate"},
        {"session": "holidays"},
    )
    assert await found(ledger, "plumber") == [by_title]
    assert await found(ledger, "CALL plumb") == [by_title], "every word, in any order and case"
    assert await found(ledger, "plumber ann@example.org") == []
    assert await found(ledger, "ANN@example") == [by_params]
    assert await found(ledger, "19.5") == [by_params]
    assert await found(ledger, "amount") == [], "the name of a key says nothing"
    assert await found(ledger, "simulate") == [by_kind]
    assert await found(ledger, "holiday") == [by_session]
    assert await found(ledger, by_title) == [by_title]
    assert len(await found(ledger, "  ")) == 4, "no words, no filter"


async def test_results_and_errors_are_searched(ledger: Ledger) -> None:
    one, other = await made(ledger, {}, {})
    await ledger.write(
        lambda tx: transitions.start(tx, [(one, 0), (other, 0)], worker="w", lease_until=tx.now + 1)
    )
    await ledger.write(
        lambda tx: endings.finish(
            tx,
            tasks.get(tx, one),
            Status.SUCCEEDED,
            result={"text": "Rain at noon", "sections": ["a", "sleet"]},
        )
    )
    await ledger.write(
        lambda tx: endings.finish(
            tx,
            tasks.get(tx, other),
            Status.FAILED,
            error=Failure(kind="permanent", message="No route to host"),
        )
    )
    assert await found(ledger, "rain noon") == [one]
    assert await found(ledger, "sleet") == [one]
    assert await found(ledger, "route") == [other]
    assert await found(ledger, "route", status="succeeded") == []


@pytest.mark.parametrize(
    ("text", "q"),
    [
        ("每天早上八点的简报", "简报"),
        ("Überblick über Maße", "überblick"),
        ("überblick", "ÜBERBLICK"),
        ("Ещё один отчёт", "ОТЧЁТ"),
        ('say "hello" now', '"hello"'),
        ("C:\\temp\\x", "temp\\x"),
        ("50% off", "50%"),
        ("a_b", "a_b"),
        ("two\nlines", "two lines"),
        ("it's", "it's"),
        ("🎉 done", "🎉"),
    ],
)
async def test_text_is_found_in_every_script_and_with_every_sign(ledger: Ledger, text: str, q: str) -> None:
    in_title, in_params, _ = await made(
        ledger, {"title": text}, {"params": {"text": text}}, {"title": "axb 500 temp"}
    )
    assert await found(ledger, q) == [in_params, in_title]


_LETTERS = st.characters(
    exclude_characters="\u212a\u0130", exclude_categories=("Cs",)
)  # their small letters are ASCII


@given(text=st.text(_LETTERS, max_size=20), data=st.data())
async def test_the_database_lets_through_whatever_fits(text: str, data: st.DataObject) -> None:
    """The condition of SQL is looser than the rule, never stricter: shown with SQLite's own LIKE."""
    start = data.draw(st.integers(0, len(text)))
    q = text[start : data.draw(st.integers(start, len(text)))]
    wanted = search.Search(q)
    if not wanted:
        return
    condition, values = wanted.condition()
    raw = sqlite3.connect(":memory:")
    columns = "task_id TEXT, title TEXT, kind TEXT, session TEXT, params TEXT, result TEXT, error TEXT"
    raw.execute(f"CREATE TABLE tasks ({columns})")
    params = msgspec.json.encode({"text": text}).decode()
    raw.execute("INSERT INTO tasks VALUES ('task_', '', '', NULL, ?, NULL, NULL)", [params])
    count = raw.execute(f"SELECT COUNT(*) FROM tasks WHERE {condition}", dict(values)).fetchone()[0]
    raw.close()
    assert count == 1


async def test_search_pages_without_gap_or_repeat(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a page ends because enough was looked through: it may be empty, and the cursor goes on."""
    monkeypatch.setattr(tasks, "STRIDE", 7)
    monkeypatch.setattr(tasks, "LOOKED_THROUGH", 21)
    ids = await made(ledger, *[{"title": "needle" if n % 31 == 0 or n < 9 else "hay"} for n in range(150)])
    wanted = [ids[n] for n in range(149, -1, -1) if n % 31 == 0 or n < 9]
    for limit in (1, 2, 4, 50):
        seen: list[str] = []
        cursor, pages = None, 0
        while True:
            page = await ledger.read(
                lambda tx, cursor=cursor, limit=limit: tasks.page(tx, q="needle", limit=limit, cursor=cursor)
            )
            seen += [task.task_id for task in page.items]
            pages += 1
            assert len(page.items) <= limit
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == wanted
        assert pages >= 150 // 21, "no page looks through more than it may"


async def test_filters_narrow_a_search(ledger: Ledger) -> None:
    one, two = await made(ledger, {"title": "report a"}, {"title": "report b", "kind": "simulate"})
    assert await found(ledger, "report") == [two, one]
    assert await found(ledger, "report", kind="simulate") == [two]
    assert await found(ledger, "report", status="queued", cursor=two) == [one]
    with pytest.raises(InvalidInput):
        await found(ledger, "report", status="asleep")
