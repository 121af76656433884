"""Starts the child processes that read and parse, asks them, and ends them when they take too long."""

import asyncio
import contextlib
import signal
import struct
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from tawny import config, errors
from tawny.errors import PermanentError, TawnyError, TemporaryError
from tawny.log import Log
from tawny.sources.place import Place
from tawny.sources.worker import MAX_MESSAGE

_PASSED_ON = frozenset(
    {
        "PATH",
        "LANG",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    }
)
_log = Log("sources")


class _Answer(msgspec.Struct):
    ok: Any = None
    error: dict[str, Any] | None = None


class _Gone(Exception):
    """The child ended without an answer."""


class Workers:
    """At most `size` children at once; an idle one ends by itself after half a minute.

    `wall` is the time in seconds a job may take, `cpu` its CPU time.
    """

    def __init__(self, *, size: int = 2, wall: float = 60.0, cpu: int = 30) -> None:
        self._free = asyncio.Semaphore(size)
        self._idle: list[asyncio.subprocess.Process] = []
        self._wall = wall
        self._cpu = cpu
        self.started = 0

    async def ask(self, job: str, place: Place, query: msgspec.Struct, *, again: bool = True) -> Any:
        """Have a child do the job; its answer as plain values.

        `again` says that a job may be repeated in a new child when an idle one turns out to have ended: not so for
        jobs that write.

        Raises:
            TawnyError: what the child says, or why it had to be ended.
        """
        request = {"job": job, "place": place, "query": query, "cpu": self._cpu}
        message = msgspec.json.encode(request)
        async with self._free:
            if again and self._idle:
                child = self._idle.pop()
                try:
                    return await self._exchange(child, place, message)
                except _Gone:
                    pass
            child = await self._start()
            try:
                return await self._exchange(child, place, message)
            except _Gone as gone:
                raise PermanentError(
                    f"{place.label}: what is there cannot be read: {gone}",
                    hint=f"look at {shown(place)}; remove what is damaged",
                ) from gone

    async def close(self) -> None:
        """End the idle children."""
        while self._idle:
            await _end(self._idle.pop())

    async def _start(self) -> asyncio.subprocess.Process:
        self.started += 1
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "tawny.sources.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(config.environment()),
        )

    async def _exchange(self, child: asyncio.subprocess.Process, place: Place, message: bytes) -> Any:
        healthy = False
        try:
            async with asyncio.timeout(self._wall):
                body = await _speak(child, message)
            healthy = True
        except TimeoutError as error:
            raise TemporaryError(
                f"{place.label}: reading took more than {self._wall:.0f} s and was ended",
                hint=f"check {shown(place)}",
            ) from error
        finally:
            if healthy:
                self._idle.append(child)
            else:
                await _end(child)
        answer = msgspec.json.decode(body, type=_Answer)
        if answer.error is not None:
            raise _rebuild(answer.error, place)
        return answer.ok


async def _speak(child: asyncio.subprocess.Process, message: bytes) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(struct.pack(">I", len(message)) + message)
        await child.stdin.drain()
        (size,) = struct.unpack(">I", await child.stdout.readexactly(4))
        if size > MAX_MESSAGE:
            raise _Gone("its content is too large")
        return await child.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise _Gone(_why(await child.wait())) from error


def _why(code: int) -> str:
    """Why a child ended, in words."""
    if code == -signal.SIGXCPU:
        return "it keeps the processor busy for too long"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its reader was ended by {signal.Signals(-code).name}"
    return "its reader ended"


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    try:
        await child.wait()
    finally:
        # The pipe's transport is closed when its end has been read; without this it outlives the loop.
        transport: Any = getattr(child, "_transport", None)
        if transport is not None:
            transport.close()


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


def shown(place: Place) -> str:
    """The place's address without user and password."""
    scheme, separator, rest = place.url.partition("://")
    if not separator:
        return place.url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in own.items() if name.upper() in _PASSED_ON or name.startswith("LC_")
    }
