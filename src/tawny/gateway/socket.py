"""`GET /ws`: requests and events on one WebSocket, in the contract's frames.

The server speaks first (`connect.challenge`), the client says who it is (`connect`), and gets what the server has
granted: what it claims of role and scopes can only make that less.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny import __version__
from tawny.errors import InvalidInput, TawnyError
from tawny.gateway import devicekey
from tawny.gateway.auth import COOKIE
from tawny.gateway.endpoint import bearer_of, client_address, cookie_of, decode
from tawny.gateway.errors import HttpError, document_of, forbidden, internal, unauthenticated
from tawny.gateway.feed import STALL, Device, Filter, as_socket, filter_of
from tawny.gateway.guard import refuse
from tawny.gateway.operation import Call, Nothing, Operation, Seq, checked, perform, permit
from tawny.gateway.principal import READ, Principal
from tawny.gateway.site import Site
from tawny.ids import secret_token
from tawny.log import Log

PROTOCOL = 1
FRAMES = "tawny.frames"
"""The scope's extension that writes finished frames, and waits while the other end does not read."""
WriteFrames = Callable[[bytes], Awaitable[None]]
_CONNECT_SECONDS = 15.0
_CONNECT_BYTES = 64 * 1024
_AT_ONCE = 16
_BAD_FRAMES = 10
_log = Log("gateway.socket")
_encode = msgspec.json.Encoder().encode
_NAMES = re.compile(r"\{(\w+)(?::\w+)?\}")


class Request(msgspec.Struct, frozen=True):
    """A frame of the client."""

    type: str
    id: str | int
    method: str
    params: dict[str, Any] = {}


class Auth(msgspec.Struct, frozen=True):
    """A token, or a paired device's signature of the challenge."""

    token: str = ""
    device_id: str = ""
    signature: str = ""


class Connect(msgspec.Struct, frozen=True):
    """Who the client says it is. `after` is the last event it has."""

    client: Any = None
    auth: Auth = Auth()
    role: str = ""
    scopes: list[str] | None = None
    after: Seq | None = None
    topics: str = ""
    task_id: str = ""


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: Seq | None = None
    topics: str = ""
    task_id: str = ""


class _Closed(Exception):
    """The other end has gone, or was sent away."""


class SocketEndpoint:
    """Accepts WebSockets and serves each until it ends."""

    def __init__(self, site: Site, operations: Mapping[str, Operation]) -> None:
        self._site = site
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        address = client_address(scope)
        known: Principal | None = None
        try:
            bearer, cookie = bearer_of(scope), cookie_of(scope, COOKIE)
            if bearer is not None or cookie is not None:
                known = self._site.keyring.identify(bearer=bearer, cookie=cookie, address=address)
        except TawnyError as error:
            await refuse(error, send, prefix="websocket.http.response")
            return
        await send({"type": "websocket.accept"})
        connection = Connection(
            self._site,
            self._operations,
            receive,
            send,
            write=scope["extensions"][FRAMES]["write"],
            address=address,
        )
        try:
            await connection.serve(known)
        except* _Closed:
            pass


class Connection:
    """One client on its WebSocket."""

    def __init__(
        self,
        site: Site,
        operations: Mapping[str, Operation],
        receive: Receive,
        send: Send,
        *,
        write: WriteFrames,
        address: str,
    ) -> None:
        self._site = site
        self._operations = operations
        self._receive = receive
        self._send_raw = send
        self._write_raw = write
        self._address = address
        self._sending = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._device: Device | None = None

    async def serve(self, known: Principal | None) -> None:
        nonce = secret_token()
        await self._text(
            _encode({"type": "event", "event": "connect.challenge", "payload": {"nonce": nonce}})
        )
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                request = await self._first()
        except TimeoutError:
            await self._close(1008, "connect expected")
            return
        try:
            wish: Connect = checked(request.params, Connect, what="connect")
            principal = await self._admit(wish, nonce, known)
        except TawnyError as error:
            await self._refuse(request.id, error)
            await self._close(1008, error.code)
            return
        async with self._site.feed.device(after=wish.after, filter=self._filter(wish, principal)) as device:
            self._device = device
            detach = self._site.keyring.attach(principal, device.close)
            try:
                await self._result(request.id, self._hello(principal, device))
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._events(device))
                    group.create_task(self._requests(principal, group))
            finally:
                detach()

    async def _admit(self, wish: Connect, nonce: str, known: Principal | None) -> Principal:
        auth = wish.auth
        if auth.device_id:
            await devicekey.prove(self._site, auth.device_id, auth.signature, nonce, address=self._address)
            credential = await devicekey.credential(self._site, auth.device_id)
            principal = self._site.keyring.principal(credential)
        elif auth.token:
            principal = self._site.keyring.identify(bearer=auth.token, cookie=None, address=self._address)
        elif known is not None:
            principal = known
        else:
            raise unauthenticated()
        await self._site.keyring.note_use(principal)
        if wish.scopes is not None:
            principal = msgspec.structs.replace(principal, scopes=principal.scopes & set(wish.scopes))
        return principal

    def _filter(self, wish: Connect | Subscribe, principal: Principal) -> Filter:
        if READ not in principal.scopes:
            return Filter(frozenset({"nothing"}))
        return filter_of(wish.topics, wish.task_id)

    def _hello(self, principal: Principal, device: Device) -> dict[str, Any]:
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "server": {"name": "tawny", "version": __version__},
            "role": principal.role,
            "scopes": sorted(principal.scopes),
            "seq": device.seq,
            "methods": sorted(
                name for name, entry in self._operations.items() if entry.scope in principal.scopes
            ),
            "policy": {"max_payload": 1024 * 1024, "max_requests": _AT_ONCE},
        }

    async def _first(self) -> Request:
        text = await self._frame()
        if len(text) > _CONNECT_BYTES:
            await self._close(1009, "too large")
            raise _Closed
        request = await self._parse(text)
        if request is None or request.method != "connect":
            if request is not None:
                error = HttpError(401, "unauthenticated", "the first request must be 'connect'")
                await self._refuse(request.id, error)
            await self._close(1008, "connect expected")
            raise _Closed
        return request

    async def _requests(self, principal: Principal, group: asyncio.TaskGroup) -> None:
        bad = 0
        while True:
            text = await self._frame()
            request = await self._parse(text)
            if request is None:
                bad += 1
                if bad >= _BAD_FRAMES:
                    await self._close(1008, "too many malformed frames")
                    raise _Closed
                continue
            await self._slots.acquire()
            group.create_task(self._answer(principal, request))

    async def _answer(self, principal: Principal, request: Request) -> None:
        try:
            await self._result(request.id, await self._perform(principal, request))
        except TawnyError as error:
            await self._refuse(request.id, error)
        except (_Closed, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the same last net as the guard's
            _log.error("request failed", exc=error, method=request.method)
            await self._refuse(request.id, internal())
        finally:
            self._slots.release()

    async def _perform(self, principal: Principal, request: Request) -> Any:
        if self._device is None or (self._device.closed and not self._site.feed.stopped):
            raise unauthenticated()  # put out, and not yet gone: it may have stopped reading
        if request.method == "subscribe":
            return self._subscribe(principal, request)
        operation = self._operations.get(request.method)
        if operation is None:
            raise HttpError(404, "unknown_method", f"there is no method {request.method!r}")
        permit(operation, principal)
        call, raw_body = call_of(
            operation,
            request.params,
            site=self._site,
            principal=principal,
            via="socket",
            address=self._address,
        )
        return (await perform(operation, call, raw_body=raw_body)).document

    def _subscribe(self, principal: Principal, request: Request) -> dict[str, Any]:
        if READ not in principal.scopes:
            raise forbidden(READ)
        wish: Subscribe = checked(request.params, Subscribe, what="subscribe")
        assert self._device is not None
        self._device.move(wish.after, self._filter(wish, principal))
        return {"seq": self._device.seq}

    async def _events(self, device: Device) -> None:
        while not device.closed:
            if lump := await device.lump(as_socket):
                await self._write(lump)
        await self._close(1012 if self._site.feed.stopped else 1008, "the gateway or the device was stopped")
        raise _Closed

    # Frames.

    async def _frame(self) -> str | bytes:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise _Closed
        text = message.get("text")
        return text if text is not None else message.get("bytes", b"")

    async def _parse(self, text: str | bytes) -> Request | None:
        try:
            return checked(decode(text), Request, what="frame")
        except TawnyError as error:
            await self._refuse(None, InvalidInput(f"a request frame is expected: {error.message}"))
            return None

    async def _result(self, id: str | int, payload: Any) -> None:
        await self._text(_encode({"type": "res", "id": id, "ok": True, "payload": payload}))

    async def _refuse(self, id: str | int | None, error: TawnyError) -> None:
        await self._text(_encode({"type": "res", "id": id, "ok": False, **document_of(error)}))

    async def _text(self, frame: bytes) -> None:
        await self._pass(lambda: self._send_raw({"type": "websocket.send", "text": frame.decode()}))

    async def _write(self, frames: bytes) -> None:
        await self._pass(lambda: self._write_raw(frames))

    async def _pass(self, send: Callable[[], Awaitable[None]]) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(STALL):
                    await send()
            except TimeoutError:
                raise _Closed from None
            except (OSError, RuntimeError):
                raise _Closed from None  # it went away while we spoke

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            await self._send_raw({"type": "websocket.close", "code": code, "reason": reason})


def call_of(
    operation: Operation,
    params: Mapping[str, Any],
    *,
    site: Site,
    principal: Principal,
    via: str,
    address: str = "",
) -> tuple[Call[Any, Any], Any]:
    """The call a method's parameters stand for, and its body: path, query and body are one flat object there.

    Raises:
        InvalidInput: names what is missing or wrong.
    """
    rest = dict(params)
    key = rest.pop("idempotency_key", None)
    if key is not None and not isinstance(key, str):
        raise InvalidInput("idempotency_key: a text is expected")
    path: dict[str, str] = {}
    for name in _NAMES.findall(operation.path):
        value = rest.pop(name, None)
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"{name}: is missing")
        path[name] = value
    wanted = operation.query.__struct_encode_fields__
    query = {name: rest.pop(name) for name in wanted if name in rest} if operation.has_body else rest
    body: Any = rest if operation.has_body else {}
    call = Call(
        site=site,
        principal=principal,
        path=path,
        query=checked(query, operation.query, what="params", strict=False),
        body=checked(body, operation.body, what="params") if operation.has_body else Nothing(),
        via=via,
        key=key,
        address=address,
    )
    return call, body
