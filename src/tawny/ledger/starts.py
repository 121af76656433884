"""Starts of the process that did not end in order: three within a quarter of an hour are a restart storm."""

from tawny.clock import MINUTE, Instant
from tawny.ledger import events
from tawny.ledger.database import Tx

STORM = 3
WITHIN = 15 * MINUTE
STABLE = MINUTE
"""How long the process has to live before automations go on after a storm."""


def begin(tx: Tx) -> Instant | None:
    """Note a start; until when automations wait, `None` where there is no storm."""
    tx.execute("DELETE FROM unclean_starts WHERE started_at < :old", old=tx.now - WITHIN)
    before = crashes(tx)
    tx.execute("INSERT INTO unclean_starts (started_at) VALUES (:now) ON CONFLICT DO NOTHING", now=tx.now)
    if before < STORM:
        return None
    events.append(tx, "system.restart_storm", {"crashes": before, "held_seconds": STABLE // 1_000_000})
    return tx.now + STABLE


def crashes(tx: Tx) -> int:
    """Starts of late that did not end in order; the running process counts as one."""
    return int(
        tx.value("SELECT COUNT(*) AS n FROM unclean_starts WHERE started_at >= :since", since=tx.now - WITHIN)
    )


def settled(tx: Tx) -> None:
    """The process has lived long enough: the storm is over."""
    tx.execute("DELETE FROM unclean_starts WHERE started_at < :now", now=tx.now)
    events.append(tx, "system.storm_over", {})


def end(tx: Tx) -> None:
    """The process ends in order: its start was none to worry about."""
    tx.execute("DELETE FROM unclean_starts WHERE started_at = (SELECT MAX(started_at) FROM unclean_starts)")
