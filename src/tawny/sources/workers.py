"""Has children read: one that fetches, and one in the sandbox that makes sense of what was fetched."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tawny import errors
from tawny.errors import PermanentError, TawnyError, TemporaryError
from tawny.sources.children import Children, Confine, Gone
from tawny.sources.place import Place, bare, shown
from tawny.sources.worker import FETCHING, PARSING

_DOCUMENTS = 100
"""How many jobs a parser may do before another takes its place: what one document did to it, it does to no more."""


class _Answer(msgspec.Struct):
    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] | None = None


class Workers:
    """Two children at most for each kind of work.

    `confine` finds the sandbox for parsers; without it they are children like the others. `wall` is the time in
    seconds a job may take, `cpu` its CPU time.
    """

    def __init__(
        self,
        *,
        size: int = 2,
        wall: float = 60.0,
        cpu: int = 30,
        most: int = _DOCUMENTS,
        confine: Confine | None = None,
    ) -> None:
        self._cpu = cpu
        self._fetchers = Children(size=size, wall=wall, most=most)
        self._parsers = (
            self._fetchers if confine is None else Children(size=size, wall=wall, most=most, confine=confine)
        )

    @property
    def started(self) -> int:
        """How many children there have been, of both kinds."""
        pools = {id(pool): pool for pool in (self._fetchers, self._parsers)}
        return sum(pool.started for pool in pools.values())

    async def read(self, noun: str, place: Place, query: msgspec.Struct) -> Any:
        """Fetch, then parse; the answer as plain values.

        Raises:
            TawnyError: what a child says, or why it had to be ended.
        """
        found = await self.do(f"{noun}.collect", place, query)
        return msgspec.json.decode(await self.do(f"{noun}.parse", place, query, found))

    async def ask(self, job: str, place: Place, query: msgspec.Struct, *, again: bool = True) -> Any:
        """Have a child do a job that needs no other; its answer as plain values.

        `again` says that a job may be repeated in a new child when an idle one turns out to have ended: not so for
        jobs that write.

        Raises:
            TawnyError: what the child says, or why it had to be ended.
        """
        return msgspec.json.decode(await self.do(job, place, query, again=again))

    async def do(
        self,
        job: str,
        place: Place,
        query: msgspec.Struct,
        found: msgspec.Raw | None = None,
        *,
        again: bool = True,
    ) -> msgspec.Raw:
        """Have a child do a job, with what another has found; its answer as it came, for the next job or to be decoded.

        Raises:
            TawnyError: what the child says, or why it had to be ended.
        """
        parses = job in PARSING
        assert parses or job in FETCHING, job
        request = {
            "job": job,
            "place": bare(place) if parses else place,
            "query": query,
            "found": found,
            "cpu": self._cpu,
        }
        try:
            children = self._parsers if parses else self._fetchers
            body = await children.ask(msgspec.json.encode(request), place, again=again)
        except Gone as gone:
            raise PermanentError(
                f"{place.label}: what is there cannot be read: {gone}",
                hint=f"look at {shown(place)}; remove what is damaged",
            ) from gone
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.DecodeError as error:
            # A parser that something has taken over may say anything.
            raise PermanentError(f"{place.label}: what its reader answers is no answer: {error}") from error
        if answer.error is not None:
            raise _rebuild(answer.error, place)
        return answer.ok

    async def close(self) -> None:
        """End the idle children."""
        await self._fetchers.close()
        await self._parsers.close()


def _rebuild(said: Mapping[str, Any], place: Place) -> TawnyError:
    kind = getattr(errors, str(said.get("class")), PermanentError)
    message = str(said.get("message", ""))
    if place.label not in message:
        message = f"{place.label}: {message}"
    hint = str(said.get("hint") or f"look at {shown(place)}")
    where = shown(place)
    if (where.partition("://")[2] or where) not in f"{message} {hint}":
        hint += f" (in {where})"
    if issubclass(kind, TemporaryError):
        return kind(message, hint=hint, retry_after=said.get("retry_after"))
    return kind(message, hint=hint)
