"""An IMAP server that tells of new mail only in passing, with its answer to a command and in the same packet."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager


class PassingMention:
    """`first` lies there; `second` comes with the answer to a command (`during`) that follows, and is not told again.

    During `IDLE` it comes in the same packet as the word that IDLE has begun, as with Dovecot.
    """

    def __init__(self, first: bytes, second: bytes, *, during: str) -> None:
        self.mails = [first]
        self.second = second
        self.seen: set[int] = set()
        self.fetched: set[int] = set()
        self.during = during
        self.port = 0
        self.connections = 0

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator["PassingMention"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"* OK IMAP4rev1\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                tag, command, *rest = line.decode().split()
                writer.write(b"".join(self._answers(command.upper(), rest)))
                if command.upper() == "IDLE":
                    await reader.readline()
                writer.write(f"{tag} OK done\r\n".encode())
        writer.close()

    def _answers(self, command: str, rest: list[str]) -> Iterator[bytes]:
        what = rest[0].upper() if command == "UID" else command
        if what == "CAPABILITY":
            yield b"* CAPABILITY IMAP4rev1 IDLE\r\n"
        elif what == "SELECT":
            yield f"* {len(self.mails)} EXISTS\r\n".encode()
        elif what == "STATUS":
            yield b'* STATUS "INBOX" (UIDVALIDITY 7 UIDNEXT 1)\r\n'
        elif what == "IDLE":
            yield b"+ idling\r\n"
        elif what == "SEARCH":
            found = " ".join(map(str, self._found(" ".join(rest[1:]))))
            yield f"* SEARCH {found}".rstrip().encode() + b"\r\n"
        elif what == "FETCH":
            uid, part = int(rest[1]), "BODY[]<0>" if "<0." in " ".join(rest) else "BODY[]"
            mail = self.mails[uid - 1]
            size = len(mail)
            yield f"* {uid} FETCH (UID {uid} FLAGS () RFC822.SIZE {size} {part} {{{size}}}\r\n".encode()
            yield mail + b")\r\n"
            self.fetched.add(uid)
        elif what == "LOGOUT":
            yield b"* BYE\r\n"
        elif what == "STORE":
            self.seen.add(int(rest[1]))
        is_time = what == self.during and (what == "STORE" or self.seen or self.fetched)
        if is_time and len(self.mails) == 1:
            self.mails.append(self.second)
            yield b"* 2 EXISTS\r\n"

    def _found(self, criteria: str) -> list[int]:
        span = re.search(r"UID (\d+)(:\*)?", criteria)
        first = int(span[1]) if span else 1
        last = first if span and not span[2] else len(self.mails)
        unseen = "UNSEEN" in criteria
        return [uid for uid in range(first, last + 1) if not (unseen and uid in self.seen)]
