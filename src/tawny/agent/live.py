"""What is being said right now: deltas to whoever listens, and the end of a turn to whoever waits for it."""

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an answer while it is made. `kind` is text, tool, or void: what was streamed so far is taken back."""

    session: str
    run_id: str
    text: str
    kind: Literal["text", "tool", "void"] = "text"

    def document(self) -> dict[str, str]:
        """The event `message.delta`'s data."""
        return {"session": self.session, "run_id": self.run_id, "text": self.text, "kind": self.kind}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended. `status` is a task's, or `waiting`; `text` is what was said."""

    run_id: str
    session: str
    status: str
    text: str
    task_ids: list[str] = []


Listener = Callable[[Delta], None]
_REMEMBERED = 1000
"""Replies that are remembered for whoever began to wait a moment too late."""


class Live:
    """In-process only: nothing here is kept. Listeners are called on the loop and must not block."""

    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._waiting: dict[str, list[asyncio.Future[Reply]]] = {}
        self._next = 0
        self._last: dict[str, Reply] = {}

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every delta until the returned function is called."""
        self._next += 1
        key = self._next
        self._listeners[key] = listener
        return lambda: self._listeners.pop(key, None) and None

    def tell(self, delta: Delta) -> None:
        for listener in list(self._listeners.values()):
            listener(delta)

    def expect(self, run_id: str) -> "asyncio.Future[Reply]":
        """A future of the run's reply, also of one that was given a moment ago.

        Whoever waits for a run that was not begun just now must look into the ledger first.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if (reply := self._last.get(run_id)) is not None:
            future.set_result(reply)
            return future
        self._waiting.setdefault(run_id, []).append(future)
        return future

    def forget(self, run_id: str, future: "asyncio.Future[Reply]") -> None:
        held = self._waiting.get(run_id, [])
        if future in held:
            held.remove(future)
        if not held:
            self._waiting.pop(run_id, None)

    def answered(self, reply: Reply) -> None:
        """The run has said its last word."""
        self._last[reply.run_id] = reply
        if len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]
        for future in self._waiting.pop(reply.run_id, ()):
            if not future.done():
                future.set_result(reply)
