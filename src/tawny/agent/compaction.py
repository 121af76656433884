"""Lets a summary stand for the older part of a conversation: recent turns stay, exact names are kept."""

from typing import Any

from pydantic_ai.messages import ModelMessage

from tawny.agent import transcript
from tawny.agent.plain import ask
from tawny.domain.identifiers import missing
from tawny.domain.outline import outline
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Json
from tawny.engine.kinds import Context
from tawny.errors import TemporaryError
from tawny.ledger import sessions
from tawny.ledger.database import Ledger
from tawny.ledger.sessions import Session
from tawny.models.router import Router

_RECENT_TURNS = 3
_INPUT_CHARS = 120_000
_ORDER = (
    "Summarise this conversation for yourself, so that you can go on with it: what the person wants, what was decided "
    "and done, what is open, what you promised. Keep every id, path, address, number and date exactly as it is. "
    "At most 400 words, plain text."
)


def split(messages: list[ModelMessage], *, recent: int = _RECENT_TURNS) -> int:
    """The index before which everything is old: the start of the `recent`-th newest turn."""
    starts = [index for index, message in enumerate(messages) if transcript.role(message) == "user"]
    return starts[-recent] if len(starts) > recent else (starts[-1] if len(starts) > 1 else 0)


class Compactor:
    """Summarises with the model of the turn; the call is journaled like any other."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def compact(
        self, ctx: Context, router: Router, session: Session, *, messages: list[ModelMessage], ends: list[int]
    ) -> Session | None:
        """The session with the summary in place; `None` when there is nothing older than the recent turns.

        `ends` holds the entry number of each message.
        """
        cut = min(split(messages), len(ends))
        if cut <= 0:
            return None
        upto = ends[cut - 1]
        old = "\n".join(
            f"{transcript.role(message)}: {transcript.text(message)}" for message in messages[:cut]
        )
        before = f"What was summarised before:\n{session.summary}\n\n" if session.summary else ""
        source = before + old

        async def summarise() -> Json:
            try:
                return await ask(ctx, router, system=_ORDER, prompt=shorten(source, _INPUT_CHARS))
            except TemporaryError:
                # The conversation must fit all the same: an outline by rules stands in.
                turns = [(transcript.role(message), transcript.text(message)) for message in messages[:cut]]
                return outline(turns, before=session.summary)

        said: Any = await ctx.step(f"compact:{upto}", summarise, name="summarise the older part")
        summary = str(said).strip() or shorten(old, 4000)
        if lost := missing(summary, source):
            # The model dropped exact names: they are put back rather than trusted to come up again.
            summary += "\n\nMentioned: " + ", ".join(lost)
        key = session.session
        return await self._ledger.write(lambda tx: sessions.compact(tx, key, upto=upto, summary=summary))
