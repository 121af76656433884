"""The way out for the gateway's own work: resolve once, check, dial exactly that address.

Everything that fetches on behalf of a task goes through `Egress`. The name is resolved once; every address it has is
checked; the connection goes to the checked address itself, so that a second answer of the name server changes nothing.
Each redirect is a new request to a new place and passes the same check.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from urllib.parse import urljoin

import httpx
import msgspec

from tawny.domain.charsets import decoded_page
from tawny.domain.ipaddresses import Address
from tawny.domain.network import (
    Rules,
    Target,
    check_address,
    check_target,
    local_addresses,
    parse_url,
)
from tawny.errors import PermanentError, Refused, TawnyError, TemporaryError

MAX_REDIRECTS = 5
MAX_BODY = 10 * 1024 * 1024
"""Bytes of a response that are read at most, unless told otherwise."""

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
"""All addresses of a host name, in the order they should be tried."""

# Headers that describe the request itself. Everything else may be a secret and stays with the origin it was meant for.
_HARMLESS = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "user-agent", "idempotency-key", "range"}
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def system_resolver(host: str, port: int) -> Sequence[Address]:
    """Ask the machine's resolver.

    Raises:
        TemporaryError: it has no answer.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TemporaryError(f"the name {host} cannot be resolved: {error.strerror or error}") from error
    addresses = [ip_address(str(entry[4][0]).split("%", 1)[0]) for entry in found]
    return list(dict.fromkeys(addresses))


class Gate:
    """Admits a target: names are resolved here, once, and only a checked address comes out."""

    def __init__(self, rules: Rules, *, resolve: Resolver = system_resolver) -> None:
        self.rules = rules
        self._resolve = resolve

    async def admit(self, target: Target) -> Address:
        """The address to dial for the target.

        Raises:
            Refused: the target, or one of its addresses, may not be reached; says why.
            TemporaryError: the name has no address now.
        """
        check_target(self.rules, target)
        if target.address is not None:
            return target.address
        if target.is_local_name:
            return local_addresses(self.rules, target)[0]
        addresses = await self._resolve(target.host, target.port)
        if not addresses:
            raise TemporaryError(f"the name {target.host} has no address")
        # One forbidden address among good ones is how rebinding begins: the whole answer is refused.
        for address in addresses:
            check_address(self.rules, target, address)
        return addresses[0]


class EgressTransport(httpx.AsyncBaseTransport):
    """An httpx transport that dials only what its gate admits. Every request has a connection of its own."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        # Connections are not kept: one to a shared address, checked for one name, must not serve another.
        self._inner = httpx.AsyncHTTPTransport(
            trust_env=False, limits=httpx.Limits(max_keepalive_connections=0), retries=0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = parse_url(str(request.url))
        address = await self._gate.admit(target)
        headers = request.headers.copy()
        headers["host"] = httpx.URL(target.url).netloc.decode("ascii")
        pinned = httpx.Request(
            request.method,
            httpx.URL(target.url).copy_with(host=str(address)),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.host},
        )
        try:
            return await self._inner.handle_async_request(pinned)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            # Nothing has been sent yet: trying again is safe.
            raise TemporaryError(
                f"{target.authority} cannot be reached: {error or type(error).__name__}"
            ) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


class Fetched(msgspec.Struct, frozen=True):
    """A whole response. `url` is where it came from in the end; `truncated` tells that the body was longer."""

    status: int
    url: str
    headers: dict[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text, by the charset of its content type, else the page's own, else the likeliest."""
        kind = self.headers.get("content-type", "")
        return decoded_page(self.body, kind.partition("charset=")[2].split(";")[0].strip("\"' "))


Fill = Callable[[str, str], str]


def _as_it_is(value: str, _url: str) -> str:
    return value


class Egress:
    """Fetches on behalf of work, within the network list.

    `fill` puts secrets into a header's value for an address, at the last moment, or refuses to.
    """

    def __init__(
        self, rules: Rules, *, resolve: Resolver = system_resolver, fill: Fill | None = None
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._fill = fill or _as_it_is

    def narrowed(self, allow: Sequence[str]) -> "Egress":
        """The same for one task that may reach only `allow`.

        Raises:
            Refused: the task asks for more than the configuration permits.
        """
        return Egress(self._rules.narrowed(allow), resolve=self._resolve, fill=self._fill)

    def client(self, *, timeout: float = 30.0) -> httpx.AsyncClient:
        """A client for libraries that want one. It follows no redirect by itself: `fetch` does, with care."""
        return httpx.AsyncClient(
            transport=self._transport(),
            follow_redirects=False,
            trust_env=False,
            timeout=timeout,
        )

    def _transport(self) -> EgressTransport:
        return EgressTransport(Gate(self._rules, resolve=self._resolve))

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_body: int = MAX_BODY,
        follow: bool = True,
    ) -> Fetched:
        """Request `url` and read the response, following at most five redirects, each checked anew.

        `timeout` is in seconds for the whole, redirects included; of the body at most `max_body` bytes are read, and
        a longer one is cut and marked `truncated`.

        Raises:
            Refused: the address, or that of a redirect, may not be reached.
            TemporaryError: no connection, no answer in time, or the answer broke off.
            PermanentError: more than five redirects, or the server does not speak HTTP.
        """
        async with self.stream(
            method, url, headers=headers, body=body, timeout=timeout, follow=follow
        ) as response:
            received = bytearray()
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > max_body:
                    break
            return Fetched(
                status=response.status_code,
                url=str(response.extensions["tawny_url"]),
                headers=dict(response.headers),
                body=bytes(received[:max_body]),
                truncated=len(received) > max_body,
            )

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
        follow: bool = True,
    ) -> AsyncGenerator[httpx.Response]:
        """Like `fetch`, with the last response still to be read."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if sent.keys() & {"host", "proxy-authorization", "transfer-encoding", "content-length", "connection"}:
            raise Refused(
                "the headers host, connection and those that frame the body are set by Tawny itself"
            )
        answered, place = False, "the address"
        try:
            target = parse_url(url)
            place = target.authority
            async with asyncio.timeout(timeout), self._transport() as transport:
                for hop in range(MAX_REDIRECTS + 1):
                    filled = {name: self._fill(value, target.url) for name, value in sent.items()}
                    response = await transport.handle_async_request(
                        _request(method, target, filled, body, timeout)
                    )
                    answered = True
                    try:
                        step = _redirect(response, target, method, body) if follow else None
                        if step is None:
                            response.extensions["tawny_url"] = target.url
                            yield response
                            return
                    finally:
                        await response.aclose()
                    if hop == MAX_REDIRECTS:
                        break
                    method, following, body = step
                    if following.origin != target.origin:
                        sent = {name: value for name, value in sent.items() if name in _HARMLESS}
                    if body is None:
                        sent.pop("content-type", None)
                    target, place = following, following.authority
        except TawnyError as error:
            # Once somebody has answered the words may be theirs: where they lead to, say.
            error.own_words = not answered
            raise
        except (TimeoutError, httpx.HTTPError) as error:
            raise _in_words(error, place, timeout, answered=answered) from error
        raise PermanentError(f"{url} redirects more than {MAX_REDIRECTS} times")


def _in_words(
    error: TimeoutError | httpx.HTTPError, place: str, timeout: float, *, answered: bool
) -> TawnyError:
    match error:
        case TimeoutError():
            told = TemporaryError(f"{place} did not answer within {timeout:g} s")
        case httpx.TimeoutException():
            told = TemporaryError(f"{place} did not answer in time")
        case httpx.ProtocolError():
            # It quotes what came.
            return TemporaryError(f"{place} broke off: {error}")
        case httpx.TransportError():
            told = TemporaryError(f"{place} cannot be reached: {error}")
        case _:
            return PermanentError(f"{place}: {error}")
    told.own_words = not answered
    return told


def _request(
    method: str, target: Target, headers: Mapping[str, str], body: bytes | None, timeout: float
) -> httpx.Request:
    defaults = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "tawny"}
    return httpx.Request(
        method.upper(),
        target.url,
        headers={**defaults, **headers},
        content=body,
        extensions={"timeout": httpx.Timeout(timeout).as_dict()},
    )


def _redirect(
    response: httpx.Response, target: Target, method: str, body: bytes | None
) -> tuple[str, Target, bytes | None] | None:
    """Where the response sends us and how, `None` where it does not."""
    location = response.headers.get("location")
    if response.status_code not in _REDIRECTS or not location:
        return None
    try:
        following = parse_url(urljoin(target.url, location))
    except ValueError as error:
        raise Refused(f"{target.authority} redirects to something that is no address: {error}") from error
    if response.status_code == 303 or (response.status_code in (301, 302) and method not in ("GET", "HEAD")):
        return ("HEAD" if method == "HEAD" else "GET"), following, None
    if body is not None and following.origin != target.origin:
        raise Refused(
            f"{target.authority} redirects a {method} with its body to {following.authority}",
            hint=f"send it to {following.authority} directly if that is meant",
        )
    return method, following, body
