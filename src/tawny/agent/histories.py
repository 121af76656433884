"""Sessions as a turn finds them: their messages are held in memory, so that a turn reads only what is new."""

from collections import OrderedDict
from typing import Any

import msgspec
from pydantic_ai.messages import ModelMessage

from tawny.agent import transcript
from tawny.ledger import inputs, sessions
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.sessions import Entry, Note, Session

_SESSIONS_HELD = 64


class Opening(msgspec.Struct, frozen=True):
    """What a turn begins with: its session (`None` where it is new), what it has to know, and what it has said before.

    `fresh` are the entries after `after`; `own` those of this very run, which a crash cut off.
    """

    session: Session | None
    after: int
    fresh: list[Entry]
    own: list[Entry]
    notes: list[Note]
    attached: list[str]


class History(msgspec.Struct):
    """A session's messages in memory. `ends` holds the entry number of each."""

    starts_after: int
    last: int
    messages: list[ModelMessage]
    ends: list[int]
    chars: int = 0

    def told(self) -> tuple[list[ModelMessage], int]:
        """The messages as a provider takes them, and about how many tokens they are."""
        return transcript.valid(self.messages), self.chars // transcript.CHARS_PER_TOKEN


class Histories:
    """The histories of the sessions that were spoken in last."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held: OrderedDict[str, History] = OrderedDict()

    async def open(self, key: str, run_id: str) -> tuple[Opening, History]:
        """The session as it stands, and its history with what was new."""
        while True:
            opening = await self._ledger.read(lambda tx: self._open(tx, key, run_id))
            if opening.session is None:
                return opening, History(0, 0, [], [])
            if opening.after <= self._known(opening.session):
                return opening, self._take_in(opening.session, opening.fresh)
            # What was held when the read began has been given up since.

    def _open(self, tx: Tx, key: str, run_id: str) -> Opening:
        session = sessions.find(tx, key)
        if session is None:
            return Opening(None, 0, [], [], [], [])
        after = self._known(session)
        fresh = [entry for entry in sessions.entries(tx, key, after=after) if entry.run_id != run_id]
        own = sessions.of_run(tx, key, run_id)
        return Opening(session, after, fresh, own, sessions.notes(tx, key, run_id), _attached(tx, run_id))

    def _known(self, session: Session) -> int:
        """The last entry that is held of a session."""
        held = self._held.get(session.session)
        return (
            held.last
            if held is not None and held.starts_after == session.starts_after
            else session.starts_after
        )

    def _take_in(self, session: Session, fresh: list[Entry]) -> History:
        held = self._held.pop(session.session, None)
        if held is None or held.starts_after != session.starts_after:
            held = History(session.starts_after, session.starts_after, [], [])
        for entry in fresh:
            if entry.message and entry.n > held.last:
                taken = transcript.from_entries([entry])
                held.messages.extend(taken)
                held.chars += sum(map(transcript.size, taken))
                held.ends.append(entry.n)
                held.last = entry.n
        self._held[session.session] = held
        while len(self._held) > _SESSIONS_HELD:
            self._held.popitem(last=False)
        return held

    async def again(self, session: Session, run_id: str) -> History:
        """The history read anew: its beginning has moved."""
        self._held.pop(session.session, None)
        _, history = await self.open(session.session, run_id)
        return history


def _attached(tx: Tx, run_id: str) -> list[str]:
    """The files that came with a turn's message, by their paths in the home."""
    kept = inputs.of_task(tx, run_id)
    files: Any = (kept.detail.get("attachments") if kept is not None else None) or []
    return [str(one["path"]) for one in files if one.get("path")]
