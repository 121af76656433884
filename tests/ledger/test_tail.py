"""The tail: what is committed here is known without a read, what others commit is read once, and nothing is missed."""

import asyncio

import pytest

from tawny.errors import Conflict, StorageError
from tawny.ledger import events
from tawny.ledger.database import Ledger, Tx, write_now
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.tail import Tail


def add(name: str):
    return lambda tx: events.append(tx, f"system.{name}", {"name": name})


async def names(ledger: Ledger, seq: int, **more: int) -> list[str]:
    return [event.data["name"] for event in await ledger.tail.after(seq, **more)]


def reads_since(ledger: Ledger, before: int) -> int | None:
    """How many reads there were; `None` on PostgreSQL, where a bell may ring any time and be followed by one more."""
    return ledger.reads - before if isinstance(ledger.store, SqliteStore) else None


async def settled(ledger: Ledger) -> int:
    """The last sequence number, with the tail up to date."""
    last = await ledger.write(add("first"))
    assert await names(ledger, last) == []
    return last


async def test_what_is_committed_here_is_known_without_a_read(ledger: Ledger):
    last = await settled(ledger)
    reads = ledger.reads
    await ledger.write(add("a"))
    await ledger.write(add("b"))
    assert await names(ledger, last) == ["a", "b"]
    assert await names(ledger, last + 1) == ["b"]
    assert await names(ledger, last, limit=1) == ["a"]
    assert reads_since(ledger, reads) in (0, None)
    assert await ledger.tail.after(last) == await ledger.read(lambda tx: events.after(tx, last))


async def test_what_failed_is_not_in_it(ledger: Ledger):
    last = await settled(ledger)

    def fail(tx: Tx) -> None:
        add("never")(tx)
        raise Conflict("no")

    found = await asyncio.gather(
        ledger.write(add("a")), ledger.write(fail), ledger.write(add("b")), return_exceptions=True
    )
    assert isinstance(found[1], Conflict)
    assert await names(ledger, last) == ["a", "b"]


async def test_what_another_process_commits_is_read_once_for_all(ledger: Ledger):
    last = await settled(ledger)
    write_now(ledger.store, ledger.clock, add("other"))
    ledger.bell.ring(["events"])
    reads = ledger.reads
    found = await asyncio.gather(*(names(ledger, last) for _ in range(5)))
    assert found == [["other"]] * 5
    assert reads_since(ledger, reads) in (1, None)


async def test_what_another_process_commits_unheard_is_missed_by_nobody(ledger: Ledger):
    """Its bell may come late: what is committed here after it shows the gap."""
    last = await settled(ledger)
    write_now(ledger.store, ledger.clock, add("other"))
    await ledger.write(add("own"))
    assert await names(ledger, last) == ["other", "own"]
    await ledger.write(add("next"))
    assert await names(ledger, last) == ["other", "own", "next"]


async def test_what_is_committed_while_others_are_read_stands_once_and_in_its_place(ledger: Ledger):
    last = await settled(ledger)
    write_now(ledger.store, ledger.clock, add("other"))
    ledger.bell.ring(["events"])
    writes = asyncio.gather(*(ledger.write(add(f"own {n}")) for n in range(20)))
    found, _ = await asyncio.gather(names(ledger, last), writes)
    assert found[0] == "other"
    whole = await ledger.tail.after(last)
    assert [event.seq for event in whole] == list(range(last + 1, last + 22))


async def test_who_is_far_behind_reads_on_in_pages(ledger: Ledger):
    last = await settled(ledger)
    await asyncio.gather(*(ledger.write(add(str(n))) for n in range(1500)))
    seen: list[str] = []
    at = last
    while page := await ledger.tail.after(at):
        assert len(page) <= events.PAGE
        at = page[-1].seq
        seen += [event.data["name"] for event in page]
    assert seen == [str(n) for n in range(1500)]


async def test_many_pages_of_another_process_are_all_read(ledger: Ledger):
    last = await settled(ledger)

    def many(tx: Tx) -> None:
        for n in range(1200):
            add(str(n))(tx)

    write_now(ledger.store, ledger.clock, many)
    ledger.bell.ring(["events"])
    assert len(await ledger.tail.after(last + 1000)) == 200
    assert (await ledger.tail.after(last))[0].data["name"] == "0"


async def test_after_a_refusal_of_the_disk_it_looks_again():
    log, rung, refusals = [0], asyncio.Event(), ["first", "second"]

    async def read(fn: object) -> object:
        if refusals:
            refusals.pop()
            raise StorageError("the disk says no", hint="")
        log[0] += 1
        return 0

    tail = Tail(read, rung)
    for _ in range(2):
        with pytest.raises(StorageError):
            await tail.after(0)
        assert not tail.is_sure
    assert await tail.after(0) == []
    assert tail.is_sure
    assert log == [1]
