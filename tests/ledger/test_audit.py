"""The audit trail cannot be changed, thinned out or cut off unnoticed."""

import msgspec
import pytest

from tawny.ledger import audit
from tawny.ledger.audit import Filter


@pytest.fixture
async def trail(ledger):
    for number in range(2500 // 250):
        await ledger.write(
            lambda tx, number=number: [
                audit.append(tx, f"kind.{n % 3}", actor="owner", task_id=f"task_{number}", detail={"n": n})
                for n in range(250)
            ]
        )
    return ledger


async def _verify(ledger, head=None):
    return await ledger.read(lambda tx: audit.verify(tx, known_head=head))


async def test_an_untouched_trail_is_whole(trail):
    found = await _verify(trail)
    assert (found.ok, found.rows, found.broken_at) == (True, 2500, None)
    assert found.head == await trail.read(audit.head)
    assert (await _verify(trail, found.head)).ok


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        ("UPDATE audit SET detail = '{\"n\": 1}' WHERE seq = 1700", "row 1700 was changed"),
        ("UPDATE audit SET actor = 'nobody' WHERE seq = 1700", "row 1700 was changed"),
        ("UPDATE audit SET time = time + 1 WHERE seq = 1700", "row 1700 was changed"),
        ("UPDATE audit SET decision = 'allow' WHERE seq = 1700", "row 1700 was changed"),
        ("DELETE FROM audit WHERE seq = 1700", "row 1700 is missing"),
    ],
)
async def test_a_changed_or_missing_row_is_the_first_broken_link(trail, tamper, says):
    await trail.write(lambda tx: tx.execute(tamper))
    found = await _verify(trail)
    assert (found.ok, found.broken_at, found.rows) == (False, 1700, 1699)
    assert found.problem == says


async def test_a_row_rewritten_with_a_fitting_hash_breaks_the_next_link(trail):
    def rewrite(tx):
        row = dict(tx.one("SELECT * FROM audit WHERE seq = 1700"))
        row["actor"] = "nobody"
        tx.execute("UPDATE audit SET actor = 'nobody', hash = :hash WHERE seq = 1700", hash=audit.digest(row))

    await trail.write(rewrite)
    found = await _verify(trail)
    assert (found.broken_at, found.problem) == (1701, "row 1701 does not follow the one before it")


async def test_a_cut_off_end_is_found(trail):
    head = await trail.read(audit.head)
    await trail.write(lambda tx: tx.execute("DELETE FROM audit WHERE seq > 2400"))
    assert (await _verify(trail)).problem.startswith("the end was cut off: 2500 rows")
    # Who can also turn the counter back is found out by a head kept elsewhere.
    await trail.write(lambda tx: tx.execute("UPDATE counters SET value = 2400 WHERE name = 'audit'"))
    assert (await _verify(trail)).ok
    found = await _verify(trail, head)
    assert not found.ok
    assert "the given head is not in the chain" in found.problem


async def test_a_head_stays_known_when_the_trail_grows(trail):
    head = await trail.read(audit.head)
    await trail.write(lambda tx: audit.append(tx, "more", actor="owner"))
    assert (await _verify(trail, head)).ok


async def test_pages_and_filters(trail):
    chosen = Filter(action="kind.1", task_id="task_3")
    first, cursor = await trail.read(lambda tx: audit.page(tx, chosen, limit=50))
    second, end = await trail.read(lambda tx: audit.page(tx, chosen, limit=50, cursor=cursor))
    assert (len(first), len(second), end) == (50, 33, None)
    assert [row.seq for row in first + second] == sorted((row.seq for row in first + second), reverse=True)
    everything = await trail.read(lambda tx: list(audit.export(tx)))
    assert [row.seq for row in everything] == list(range(1, 2501))
    assert msgspec.json.encode(everything[0].document())
