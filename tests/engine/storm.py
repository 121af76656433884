"""Three starts of late that did not end in order: what the next start takes for a restart storm."""

from tawny.clock import MINUTE
from tawny.ledger.database import Tx


def three_crashes(tx: Tx) -> None:
    """Write them down, a minute apart."""
    for n in range(1, 4):
        tx.execute("INSERT INTO unclean_starts (started_at) VALUES (:at)", at=tx.now - n * MINUTE)
