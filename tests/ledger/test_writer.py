"""The writer: what is committed together stays apart where one fails, and only the rows of a failed one are missing."""

import asyncio
import threading

import pytest

from tawny.errors import Conflict, StorageError
from tawny.ledger import audit, events
from tawny.ledger.database import Ledger, Tx


async def together(ledger: Ledger, *functions) -> list:
    """Have the functions committed in one group; what became of each."""
    held, go = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        held.set()
        assert go.wait(30)

    first = ledger.post(hold)
    await asyncio.to_thread(held.wait, 30)
    before = ledger.commits
    posted = [ledger.post(function) for function in functions]
    go.set()
    await first
    found = await asyncio.gather(*posted, return_exceptions=True)
    assert ledger.commits == before + 1, "they were to be one group"
    return found


def adds(name: str):
    def add(tx: Tx) -> int:
        audit.append(tx, "task.effect", actor=name)
        return events.append(tx, f"system.{name}", {})

    return add


def fails(name: str, *, looking: bool = False):
    def fail(tx: Tx) -> None:
        adds(name)(tx)
        if looking:
            events.after(tx, 0)
            audit.head(tx)
        raise Conflict("no")

    return fail


def types(tx: Tx) -> list[tuple[int, str]]:
    return [(event.seq, event.type) for event in events.after(tx, 0)]


@pytest.mark.parametrize("looking", [False, True])
async def test_what_a_failed_function_added_is_missing_and_nothing_else(ledger: Ledger, looking: bool):
    """Also where it had rows of those before it written early, by looking at the table."""
    found = await together(ledger, adds("one"), fails("two", looking=looking), adds("three"))
    assert [found[0], found[2]] == [1, 2]
    assert isinstance(found[1], Conflict)
    assert await ledger.read(types) == [(1, "system.one"), (2, "system.three")]
    rows, _ = await ledger.read(audit.page)
    assert [row.actor for row in rows] == ["three", "one"]
    assert (await ledger.read(audit.verify)).ok


async def test_a_group_that_changed_nothing_is_no_commit(ledger: Ledger):
    before = ledger.commits
    assert await ledger.write(lambda tx: tx.value("SELECT COUNT(*) FROM tasks")) == 0
    assert ledger.commits == before
    await ledger.write(adds("one"))
    assert ledger.commits == before + 1


async def test_readers_asked_together_each_get_their_own_answer_and_error(ledger: Ledger):
    await ledger.write(adds("one"))

    def breaks(tx: Tx) -> None:
        raise Conflict("no")

    asked = [types, breaks, lambda tx: tx.value("SELECT 7"), *[types] * 50]
    found = await asyncio.gather(*map(ledger.read, asked), return_exceptions=True)
    assert found[0] == [(1, "system.one")]
    assert isinstance(found[1], Conflict)
    assert found[2] == 7
    assert found[3:] == [[(1, "system.one")]] * 50


async def test_who_is_answered_after_a_commit_sees_it(ledger: Ledger):
    """However many readers are under way: a picture taken before the commit is given to nobody asking after it."""
    for number in range(1, 30):
        others = asyncio.gather(*(ledger.read(types) for _ in range(8)))
        await ledger.write(adds("more"))
        assert len(await ledger.read(types)) == number
        await others


async def test_who_looks_at_the_log_sees_what_the_group_has_added_so_far(ledger: Ledger):
    found = await together(ledger, adds("one"), types, adds("two"), types)
    assert found[1] == [(1, "system.one")]
    assert found[3] == [(1, "system.one"), (2, "system.two")]


async def test_a_text_that_cannot_be_stored_fails_its_own_function_alone(ledger: Ledger):
    def broken(tx: Tx) -> int:
        return events.append(tx, "system.broken", {}, session="half a pair: \ud83d")

    found = await together(ledger, adds("one"), broken, adds("two"))
    assert isinstance(found[1], UnicodeEncodeError)
    assert await ledger.read(types) == [(1, "system.one"), (2, "system.two")]


async def test_the_writer_outlives_a_group_whose_last_lines_are_refused(ledger: Ledger):
    def bad(tx: Tx) -> None:
        events.append(tx, "system.one", {})
        tx.numbers.put("event", 0)  # the next would take a number that is taken

    await ledger.write(bad)
    with pytest.raises(Exception, match=r"(?i)unique|duplicate") as refused:
        await ledger.write(adds("again"))
    assert not isinstance(refused.value, StorageError)
    await ledger.write(lambda tx: (tx.numbers.take("event"), tx.numbers.put("event", 1)))
    assert await ledger.write(adds("later")) == 2
