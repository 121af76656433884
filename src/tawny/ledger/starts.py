"""Starts of the process that did not end in order: three within a quarter of an hour are a restart storm."""

import msgspec

from tawny.clock import MINUTE, SECOND, Instant, iso
from tawny.domain.tasks import Priority, Status, Task
from tawny.ledger import events, inbox, standing
from tawny.ledger.database import Tx

STORM = 3
WITHIN = 15 * MINUTE
STABLE = 10 * SECOND
"""How long the process has to live in a storm before work goes on that nobody sits and waits for."""


class Storm(msgspec.Struct, frozen=True):
    """What holds work back: so many starts that ended badly, and until when the running one has to live."""

    starts: int
    until: Instant

    @property
    def text(self) -> str:
        """The reason, to follow "it waits"."""
        return (
            f"the gateway has died {self.starts} times within {WITHIN // MINUTE} minutes, so that only what is"
            f" interactive starts before it has lived for {STABLE // SECOND} seconds (until {iso(self.until)})"
        )


def begin(tx: Tx) -> Storm | None:
    """Note a start; the storm that it comes in, if any."""
    tx.execute("DELETE FROM unclean_starts WHERE started_at < :old", old=tx.now - WITHIN)
    tx.execute("INSERT INTO unclean_starts (started_at) VALUES (:now) ON CONFLICT DO NOTHING", now=tx.now)
    storm = current(tx)
    if storm is not None:
        events.append(tx, "system.restart_storm", {"crashes": storm.starts, "held_seconds": STABLE // SECOND})
    return storm


def current(tx: Tx) -> Storm | None:
    """The storm in which the newest start came, while that has not lived for long enough."""
    newest = tx.value("SELECT MAX(started_at) AS at FROM unclean_starts")
    if newest is None or tx.now >= newest + STABLE:
        return None
    before = tx.value(
        "SELECT COUNT(*) AS n FROM unclean_starts WHERE started_at >= :since AND started_at < :newest",
        since=newest - WITHIN,
        newest=newest,
    )
    return Storm(int(before), newest + STABLE) if int(before) >= STORM else None


def crashes(tx: Tx) -> int:
    """Starts of late that did not end in order; a process that runs counts as one."""
    since = tx.now - WITHIN
    return int(tx.value("SELECT COUNT(*) AS n FROM unclean_starts WHERE started_at >= :since", since=since))


def holding(tx: Tx, task: Task) -> Storm | None:
    """The storm that keeps a task from its start, if one does."""
    if task.status is not Status.QUEUED or not task.detached or task.priority is Priority.INTERACTIVE:
        return None
    return current(tx)


def notice(tx: Tx, task: Task) -> dict[str, str]:
    """What a document about work just handed in adds for the person who waits for it; empty where nothing holds it."""
    storm = holding(tx, task)
    return {} if storm is None else {"notice": f"It waits: {storm.text}."}


def settled(tx: Tx) -> None:
    """The process has lived long enough: what was held back goes on. The next crash is one more, all the same."""
    events.append(tx, "system.storm_over", {})
    tx.wake("queue")
    tx.wake(standing.TOPIC)
    tx.wake(inbox.TOPIC)


def end(tx: Tx) -> None:
    """The process ends in order: its start was none to worry about."""
    tx.execute("DELETE FROM unclean_starts WHERE started_at = (SELECT MAX(started_at) FROM unclean_starts)")
