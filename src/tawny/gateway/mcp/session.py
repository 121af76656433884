"""A session of MCP: what its client can do, what it watches, which answers it may come back for.

It grants nothing: every request shows its token, and a session is found only with the token that began it. Its id
says what the client can do, so that one that is older than this process goes on where the work is concerned; what it
watched is gone with the process, and the client is told so (404) when it comes back to listen.
"""

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, cast

from starlette.types import Receive, Send

_ABILITIES = {"e": "elicitation", "s": "sampling"}
_PRIMED = "p"
_PRIMES_FROM = "2025-11-25"
"""From this revision on, clients understand an event without data."""
_ID = re.compile(r"([esp]{0,3})-([0-9a-f]{32})")
_PER_CREDENTIAL = 32
_KEPT_REPLIES = 8
MAX_WATCHED = 100


class Reply(Protocol):
    """An answer that is under way, or was (`reply.py`)."""

    @property
    def id(self) -> str: ...

    @property
    def ended(self) -> bool: ...

    def give_up(self) -> None: ...

    async def replay(self, after: int, receive: Receive, send: Send) -> None: ...


class Session:
    """One client's conversation, in the memory of this process."""

    def __init__(self, id: str) -> None:
        letters = id.partition("-")[0]
        self.id = id
        self.abilities = frozenset(name for letter, name in _ABILITIES.items() if letter in letters)
        self.primes = _PRIMED in letters
        self.watched: set[str] = set()
        self.close_listener: Callable[[], None] = lambda: None
        self._replies: OrderedDict[str, Reply] = OrderedDict()
        self._calls: dict[Hashable, Reply] = {}
        self._questions: dict[str, asyncio.Future[dict[str, Any]]] = {}

    # What the client may come back for.

    def keep(self, reply: Reply) -> None:
        """Remember a stream, and forget the oldest that has ended."""
        self._replies[reply.id] = reply
        for id in [id for id, known in self._replies.items() if known.ended][:-_KEPT_REPLIES]:
            del self._replies[id]

    def reply(self, id: str) -> Reply | None:
        return self._replies.get(id)

    # What is under way.

    def begin(self, request: Hashable, reply: Reply) -> Callable[[], None]:
        """Note a call, so that the client can take it back; the returned function ends the note."""
        self._calls[request] = reply

        def done() -> None:
            self._calls.pop(request, None)

        return done

    def cancel(self, request: Hashable) -> None:
        """The client no longer wants to know; the work goes on."""
        if (reply := self._calls.get(request)) is not None:
            reply.give_up()

    # What the client was asked.

    def expect(self, id: str) -> "asyncio.Future[dict[str, Any]]":
        """The answer to a question of ours."""
        self._questions[id] = future = asyncio.get_running_loop().create_future()
        return future

    def forget(self, id: str) -> None:
        self._questions.pop(id, None)

    def answered(self, message: dict[str, Any]) -> None:
        """Take an answer to a question of ours; one to anything else is nothing."""
        id = message.get("id")
        future = self._questions.get(id) if isinstance(id, str) else None
        if future is not None and not future.done():
            future.set_result(message)

    def end(self) -> None:
        self.close_listener()
        for reply in [*self._calls.values()]:
            reply.give_up()


class Sessions:
    """All sessions of this process: so many for each credential, the one longest unused goes first."""

    def __init__(self) -> None:
        self._known: dict[str, OrderedDict[str, Session]] = {}

    def begin(self, credential_id: str, *, capabilities: Any, version: str) -> Session:
        """A new session of a client with these capabilities, which speaks this revision."""
        given = cast("dict[str, Any]", capabilities) if isinstance(capabilities, dict) else {}
        letters = "".join(letter for letter, name in _ABILITIES.items() if name in given)
        if version >= _PRIMES_FROM:
            letters += _PRIMED
        return self._add(credential_id, Session(f"{letters}-{secrets.token_hex(16)}"))

    def find(self, credential_id: str, id: str) -> Session | None:
        """The session, if this credential has begun it in this process."""
        mine = self._known.get(credential_id, OrderedDict())
        if (session := mine.get(id)) is not None:
            mine.move_to_end(id)
        return session

    def resume(self, credential_id: str, id: str) -> Session | None:
        """The session, made anew where it is older than this process; `None` where the id is none of ours."""
        if (session := self.find(credential_id, id)) is not None:
            return session
        return self._add(credential_id, Session(id)) if _ID.fullmatch(id) else None

    def end(self, credential_id: str, session: Session) -> None:
        mine = self._known.get(credential_id, OrderedDict())
        mine.pop(session.id, None)
        session.end()

    def _add(self, credential_id: str, session: Session) -> Session:
        mine = self._known.setdefault(credential_id, OrderedDict())
        mine[session.id] = session
        while len(mine) > _PER_CREDENTIAL:
            _, oldest = mine.popitem(last=False)
            oldest.end()
        return session
