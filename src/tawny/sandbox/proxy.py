"""The only way out of a sandbox: an HTTP proxy on a listener that was made inside its network namespace.

It speaks CONNECT and plain HTTP with absolute addresses. Each request is checked against the task's list, resolved
once, and the checked address is dialled. A refusal is told to the caller in the answer's body, and written down for the
person and the model. In a tunnel that begins like TLS the name asked for must be the name that was checked.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from tawny.domain.network import Target, parse_authority, parse_rules, parse_url
from tawny.errors import Refused, TawnyError
from tawny.sandbox.egress import Gate
from tawny.sandbox.tls import Incomplete, server_name

_MAX_HEAD = 64 * 1024
_MAX_HELLO = 32 * 1024
_CHUNK = 64 * 1024
_CONNECT_SECONDS = 20.0
_HEAD_SECONDS = 30.0
_MAX_CONNECTIONS = 128
_HOP_BY_HOP = {
    b"proxy-connection",
    b"proxy-authorization",
    b"connection",
    b"keep-alive",
    b"te",
    b"upgrade",
    b"host",
}


class _Head(msgspec.Struct, frozen=True):
    method: str
    address: str
    fields: tuple[tuple[bytes, bytes], ...]

    def value(self, name: bytes) -> bytes | None:
        """The field's value.

        Raises:
            Refused: it is given twice with different values, as smuggled requests do.
        """
        found = {value for key, value in self.fields if key == name}
        if len(found) > 1:
            raise Refused(f"the request has more than one {name.decode()}")
        return found.pop() if found else None


class Proxy:
    """Serves one sandbox's connections."""

    def __init__(self, gate: Gate, *, log: str = "") -> None:
        self._gate = gate
        self._log = log
        self._free = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def serve(self, listener: socket.socket) -> None:
        """Take connections until cancelled."""
        server = await asyncio.start_server(self.handle, sock=listener, limit=_MAX_HEAD)
        async with server:
            await server.serve_forever()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._free:
            try:
                await self._answer(reader, writer)
            except Refused as refusal:
                self._note({"reason": refusal.message, "hint": refusal.hint})
                await _say(writer, 403, "Forbidden", refusal)
            except TawnyError as error:
                await _say(writer, 502, "Bad Gateway", error)
            except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                pass  # the other side went away or talks no HTTP: the connection is closed, which says as much
            finally:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = _parse(await reader.readuntil(b"\r\n\r\n"))
        if head.method == "CONNECT":
            await self._tunnel(head, reader, writer)
        else:
            await self._forward(head, reader, writer)

    async def _tunnel(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = parse_authority(head.address)
        out_reader, out_writer = await self._dial(target)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            first = await _hello(reader, target)
            out_writer.write(first)
            await _both_ways((reader, writer), (out_reader, out_writer))
        finally:
            out_writer.close()

    async def _forward(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = parse_url(head.address)
        if target.scheme != "http":
            raise Refused(f"{target.url} is asked of the proxy in plain", hint="use CONNECT for https")
        length, chunked = head.value(b"content-length"), head.value(b"transfer-encoding")
        if (length is not None and not length.isdigit()) or (
            chunked and (length or chunked.lower() != b"chunked")
        ):
            raise Refused("the request's length can be read two ways")
        out_reader, out_writer = await self._dial(target)
        try:
            host = target.url.split("/", 3)[2]
            lines = [
                f"{head.method} {target.rest} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n".encode()
            ]
            lines += [
                name + b": " + value + b"\r\n" for name, value in head.fields if name not in _HOP_BY_HOP
            ]
            out_writer.write(b"".join(lines) + b"\r\n")
            # Exactly one request goes through: a second one behind it could name another host.
            if chunked:
                await _copy_chunks(reader, out_writer)
            elif length:
                await _copy_exactly(reader, out_writer, int(length))
            await out_writer.drain()
            await _copy(out_reader, writer)
        finally:
            out_writer.close()

    async def _dial(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = await self._gate.admit(target)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                streams = await asyncio.open_connection(str(address), target.port)
        except (OSError, TimeoutError) as error:
            raise TawnyError(f"{target.authority} cannot be reached: {error or 'no answer'}") from error
        self._note({"reached": target.authority})
        return streams

    def _note(self, fact: dict[str, str]) -> None:
        if not self._log:
            return
        with open(self._log, "ab") as file:
            file.write(msgspec.json.encode({"time": time.time_ns() // 1000, **fact}) + b"\n")


def serve_in_thread(descriptor: int, settings: Mapping[str, Any], log: str) -> threading.Thread:
    """Start the proxy on a listener, beside a supervisor's loop; it ends with the process."""
    listener = socket.socket(fileno=descriptor)
    rules = parse_rules(settings["allow"], settings["allow_private"])
    thread = threading.Thread(target=_run, args=(listener, Gate(rules), log), name="proxy", daemon=True)
    thread.start()
    return thread


def _run(listener: socket.socket, gate: Gate, log: str) -> None:
    async def serve() -> None:
        await Proxy(gate, log=log).serve(listener)

    asyncio.run(serve())


def _parse(raw: bytes) -> _Head:
    first, *rest = raw[:-4].split(b"\r\n")
    words = first.split(b" ")
    if (
        len(words) != 3
        or not words[2].startswith(b"HTTP/1.")
        or not words[0].isalpha()
        or b"\n" in raw[:-4].replace(b"\r\n", b"")
    ):
        raise Refused("this is no HTTP request")
    fields: list[tuple[bytes, bytes]] = []
    for line in rest:
        name, colon, value = line.partition(b":")
        # A folded line or a blank before the colon is read differently by different servers.
        if (
            not colon
            or not name
            or name != name.strip()
            or b" " in name
            or b"\0" in value
            or b"\r" in value
            or b"\n" in value
        ):
            raise Refused("the request's header can be read two ways")
        fields.append((name.lower(), value.strip()))
    return _Head(words[0].decode("ascii").upper(), words[1].decode("latin-1"), tuple(fields))


async def _hello(reader: asyncio.StreamReader, target: Target) -> bytes:
    """The tunnel's first bytes, once it is known that they name the host that was checked."""
    data = await reader.read(_CHUNK)
    if not data.startswith(b"\x16"):
        if target.port == 443 and data:
            raise Refused(f"the tunnel to {target.authority} does not speak TLS")
        return data
    while True:
        try:
            name = server_name(data)
        except Incomplete:
            more = await reader.read(_CHUNK)
            if not more or len(data) > _MAX_HELLO:
                raise Refused(f"the tunnel to {target.authority} begins with no whole TLS greeting") from None
            data += more
            continue
        break
    if name is None:
        return data
    if target.address is not None or name.lower().removesuffix(".") != target.host:
        raise Refused(f"the tunnel to {target.authority} asks for another host: {name[:100]}")
    return data


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _copy_exactly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length > 0:
        data = await reader.read(min(length, _CHUNK))
        if not data:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(data)
        writer.write(data)
        await writer.drain()


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        size = line[:-2].split(b";")[0]
        if not size or len(size) > 8 or not all(c in b"0123456789abcdefABCDEF" for c in size):
            raise Refused("the request's chunks can be read two ways")
        writer.write(size + b"\r\n")
        length = int(size, 16)
        if length == 0:
            break
        await _copy_exactly(reader, writer, length)
        if await reader.readexactly(2) != b"\r\n":
            raise Refused("the request's chunks can be read two ways")
        writer.write(b"\r\n")
    # Trailers are dropped: nothing needs them and they have been used to smuggle.
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    writer.write(b"\r\n")


async def _both_ways(
    inside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    outside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _copy(reader, writer)
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(one_way(inside[0], outside[1]))
        group.create_task(one_way(outside[0], inside[1]))


async def _say(writer: asyncio.StreamWriter, status: int, phrase: str, error: TawnyError) -> None:
    text = f"Tawny: {error.message}\n" + (f"{error.hint}\n" if error.hint else "")
    body = text.encode()
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    head += f"x-tawny-refused: {int(status == 403)}\r\ncontent-length: {len(body)}\r\n\r\n"
    try:
        writer.write(head.encode("latin-1") + body)
        await writer.drain()
    except OSError:
        return
