"""A home that owes somebody a message, and the program that delivers it and can be killed."""

from pathlib import Path

from tawny.clock import SystemClock
from tawny.domain.messages import Outgoing
from tawny.ledger import outbox
from tawny.ledger.database import Tx, read_now, write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore

SENDER = Path(__file__).parent / "crash" / "channel_sender.py"


def owe(home: Path, channel: str, *, text: str = "the result") -> str:
    store = SqliteStore(home / "state.db")
    migrate(store, SystemClock())

    def put(tx: Tx) -> str:
        made = outbox.put(
            tx, task_id=None, transition="reply", target=channel, message=Outgoing(key="", text=text)
        )
        assert made is not None
        return made

    return write_now(store, SystemClock(), put)


def status(home: Path, delivery_id: str) -> str:
    return read_now(
        SqliteStore(home / "state.db"), SystemClock(), lambda tx: outbox.get(tx, delivery_id)
    ).status
