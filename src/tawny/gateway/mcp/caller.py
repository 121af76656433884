"""Who calls by MCP, and what they can be told while they wait."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from tawny.gateway.mcp.session import Session
from tawny.gateway.operation import Operation, perform, permit
from tawny.gateway.principal import Principal
from tawny.gateway.site import Site
from tawny.gateway.socket import call_of

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, BAD_PARAMS, FAILED = -32700, -32600, -32601, -32602, -32603
NO_RESOURCE = -32002
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

Json = dict[str, Any]
Tell = Callable[[Json], Awaitable[None]]


class Fault(Exception):
    """An error of JSON-RPC itself."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def fault(id: Any, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One request's author. `tell` sends a notification ahead of the answer, for who can hear it."""

    site: Site
    operations: Mapping[str, Operation]
    principal: Principal
    address: str
    tell: Tell | None
    gone: Callable[[], Coroutine[Any, Any, None]]
    """Waits until the other end has left."""
    level: str
    open: Callable[[], Awaitable[None]]
    """Begins the answer's stream, so that the client has something to come back to."""
    headers: dict[str, str]
    """More headers for the answer, where it is no stream."""
    session: Session | None = None
    progress_token: str | int | None = None

    def may(self, scope: str) -> bool:
        return scope in self.principal.scopes

    def can(self, ability: str) -> bool:
        """Whether the client takes requests of ours: `elicitation`, `sampling`."""
        return self.tell is not None and self.session is not None and ability in self.session.abilities

    async def ask(self, id: str, method: str, params: Json) -> Json:
        """Ask the client something, ahead of the answer; its message, with a `result` or an `error`.

        Raises:
            Fault: it takes no such requests.
        """
        if self.tell is None or self.session is None or not self.can(method.partition("/")[0]):
            raise Fault(INVALID_REQUEST, f"the client takes no {method}")
        future = self.session.expect(id)
        try:
            await self.tell({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
            return await future
        finally:
            self.session.forget(id)

    async def take_back(self, id: str) -> None:
        """Tell the client that its answer is no longer needed."""
        if self.tell is not None:
            await self.tell(note("notifications/cancelled", {"requestId": id, "reason": "no longer needed"}))

    async def perform(self, name: str, params: Json) -> Any:
        """An operation's document.

        Raises:
            TawnyError: what it refused.
        """
        operation = self.operations[name]
        permit(operation, self.principal)
        call, raw = call_of(
            operation, params, site=self.site, principal=self.principal, via="mcp", address=self.address
        )
        return (await perform(operation, call, raw_body=raw)).document

    async def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far it is, if that was asked for."""
        if self.tell is None or self.progress_token is None:
            return
        params: Json = {"progressToken": self.progress_token, "progress": current}
        if total is not None:
            params["total"] = total
        if message:
            params["message"] = message
        await self.tell(note("notifications/progress", params))

    async def log(self, level: str, data: Any) -> None:
        """Say what happens, if it matters enough for who listens."""
        if self.tell is not None and LEVELS.index(level) >= LEVELS.index(self.level):
            params = {"level": level, "logger": "tawny", "data": data}
            await self.tell(note("notifications/message", params))


def note(method: str, params: Json) -> Json:
    """A notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params}
