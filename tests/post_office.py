"""A mail server that takes mail in, in a way the test chooses."""

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Post:
    """A mail server that takes mail in, in a way the test chooses."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refused: dict[str, str] = {}
        self.next = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: list[SMTP] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        behaviour, self.next = self.next, ""
        if behaviour in ("", "drop"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        if behaviour.startswith("drop"):
            assert server.transport is not None
            server.transport.abort()
        if behaviour == "hang":
            await asyncio.sleep(3600)
        if behaviour.startswith("say "):
            return behaviour.removeprefix("say ")
        return behaviour if behaviour[:1].isdigit() else "250 OK"

    async def start(self) -> None:
        def connect() -> SMTP:
            made = SMTP(
                self, authenticator=self._check, auth_required=False, auth_require_tls=False, hostname="mx"
            )
            self._open.append(made)
            return made

        self._server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _check(self, server: Any, session: Any, envelope: Any, mechanism: str, auth_data: Any) -> AuthResult:
        return AuthResult(success=auth_data.password == b"pw", handled=False)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for each in self._open:
            if each.transport is not None:
                each.transport.abort()
