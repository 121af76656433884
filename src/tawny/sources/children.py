"""One kind of child process: those that fetch, or those in the sandbox that parse; how they are started and asked."""

import asyncio
import contextlib
import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tawny import config
from tawny.errors import Refused, TemporaryError
from tawny.sources.place import Place, shown
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
_WORKER = (sys.executable, "-I", "-m", "tawny.sources.worker")
_START = 30.0


class Confined(Protocol):
    """How to start a program in the sandbox. `descriptors` are inherited, and ours to close once it is started."""

    @property
    def argv(self) -> Sequence[str]: ...

    @property
    def env(self) -> Mapping[str, str]: ...

    @property
    def descriptors(self) -> Sequence[int]: ...

    @property
    def seal(self) -> bytes: ...


Confine = Callable[[Sequence[str]], Confined]
"""Finds the way to run a program in the sandbox; refuses where there is none."""


class Gone(Exception):
    """The child ended without an answer."""


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.jobs = 0


class Children:
    """At most `size` at once; an idle one is used again, up to `most` jobs, or ends by itself after half a minute.

    With `confine` each of them is started in the sandbox, or not at all.
    """

    def __init__(self, *, size: int, wall: float, most: int, confine: Confine | None = None) -> None:
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Child] = []
        self._wall = wall
        self._most = most
        self._confine = confine
        self._closed = False
        self.started = 0

    async def ask(self, message: bytes, place: Place, *, again: bool = True) -> bytes:
        """The answer's bytes. `again` says that an idle child may be asked first, and another where that has ended.

        Raises:
            Gone: the child ended; how.
            TemporaryError: it took too long and was ended.
            Refused: the sandbox cannot be had.
        """
        async with self._free:
            if again and self._idle:
                try:
                    return await self._exchange(self._idle.pop(), place, message)
                except Gone:
                    pass
            return await self._exchange(await self._start(), place, message)

    async def close(self) -> None:
        """End the idle children; who works still is ended when that is done."""
        self._closed = True
        while self._idle:
            await _end(self._idle.pop().process)

    async def _start(self) -> _Child:
        self.started += 1
        if self._confine is None:
            return _Child(await _spawn(_WORKER, _environment(config.environment())))
        # It may try the sandbox out first, which is a process of its own.
        cell = await asyncio.to_thread(self._confine, (*_WORKER, "sealed"))
        try:
            process = await _spawn(cell.argv, cell.env, descriptors=cell.descriptors)
        finally:
            for descriptor in cell.descriptors:
                os.close(descriptor)
        sealed = False
        try:
            async with asyncio.timeout(_START):
                await _speak(process, cell.seal)
            sealed = True
        except (Gone, TimeoutError) as error:
            raise Refused(
                f"what strangers wrote is parsed in a sandbox, which does not start: {error or 'it does not answer'}",
                hint="'tawny doctor' tells what this machine lacks",
            ) from error
        finally:
            if not sealed:
                await _end(process)
        return _Child(process)

    async def _exchange(self, child: _Child, place: Place, message: bytes) -> bytes:
        healthy = False
        try:
            async with asyncio.timeout(self._wall):
                body = await _speak(child.process, message)
            healthy = True
        except TimeoutError as error:
            raise TemporaryError(
                f"{place.label}: reading took more than {self._wall:.0f} s and was ended",
                hint=f"check {shown(place)}",
            ) from error
        finally:
            child.jobs += 1
            if healthy and child.jobs < self._most and not self._closed:
                self._idle.append(child)
            else:
                await _end(child.process)
        return body


async def _spawn(
    argv: Sequence[str], env: Mapping[str, str], *, descriptors: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(env),
        pass_fds=descriptors,
    )


async def _speak(child: asyncio.subprocess.Process, message: bytes) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(struct.pack(">I", len(message)))
        child.stdin.write(message)
        await child.stdin.drain()
        (size,) = struct.unpack(">I", await child.stdout.readexactly(4))
        if size > MAX_MESSAGE:
            raise Gone("its content is too large")
        return await child.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Gone(_why(await child.wait())) from error


def _why(code: int) -> str:
    """Why a child ended, in words; a sandbox says 128 and the signal."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGXCPU:
        return "it keeps the processor busy for too long"
    with contextlib.suppress(ValueError):
        return f"its reader was ended by {signal.Signals(number).name}"
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


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in own.items() if name.upper() in _PASSED_ON or name.startswith("LC_")
    }
