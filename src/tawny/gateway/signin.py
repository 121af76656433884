"""Signing in: a token is exchanged once for a cookie that scripts cannot read and other sites cannot use."""

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.clock import DAY
from tawny.gateway.auth import COOKIE
from tawny.gateway.endpoint import client_address, cookie_of, header, json_body
from tawny.gateway.errors import HttpError
from tawny.gateway.operation import Call, Nothing, Operation, checked
from tawny.gateway.site import Site
from tawny.ledger import credentials
from tawny.ledger.credentials import BROWSER, Credential
from tawny.ledger.database import Tx

_LASTS = 180 * DAY


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The owner's token, or a named one; `name` is what the device list calls this browser."""

    token: str
    name: str = ""


async def _elsewhere(_: Call[Nothing, SignIn]) -> None:
    raise AssertionError("signing in is served by its own endpoint")


SIGNIN = Operation(
    name="signin",
    method="POST",
    path="/v1/signin",
    scope=None,
    summary="Exchange a token for the panel's cookie",
    body=SignIn,
    answer=None,
    status=204,
    errors=(401, 429),
    act=_elsewhere,
)
SIGNOUT = Operation(
    name="signout",
    method="POST",
    path="/v1/signout",
    scope=None,
    summary="End this browser's cookie",
    answer=None,
    status=204,
    act=_elsewhere,
)


class SignInEndpoint:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wish: SignIn = checked(await json_body(scope, receive), SignIn, what="body")
        keyring = self._site.keyring
        principal = keyring.identify(bearer=wish.token, cookie=None, address=client_address(scope))
        name = wish.name[:100] or browser_name(header(scope, b"user-agent") or "")

        def grant(tx: Tx) -> tuple[Credential, str]:
            return credentials.create(
                tx,
                BROWSER,
                name=name,
                role=principal.role,
                scopes=principal.scopes,
                actor=principal.actor,
                granted_by=principal.granted_by if principal.is_owner else principal.credential_id,
                expires_at=tx.now + _LASTS,
            )

        _, secret = await self._site.ledger.write(grant)
        await keyring.load()
        await send_cookie(scope, send, secret, lasts=_LASTS)


class SignOutEndpoint:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        cookie = cookie_of(scope, COOKIE)
        try:
            principal = self._site.keyring.identify(bearer=None, cookie=cookie, address=client_address(scope))
        except HttpError:
            principal = None  # signed out already
        if principal is not None:
            credential_id, actor = principal.credential_id, principal.actor
            await self._site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor=actor))
            await self._site.keyring.load()
        await send_cookie(scope, send, "", lasts=0)


async def send_cookie(scope: Scope, send: Send, secret: str, *, lasts: int) -> None:
    """Answer 204 with the cookie. `Secure` where the browser came over TLS, which the Origin tells."""
    secure = "; Secure" if (header(scope, b"origin") or "").startswith("https:") else ""
    cookie = f"{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts // 1_000_000}{secure}"
    await send({"type": "http.response.start", "status": 204, "headers": [(b"set-cookie", cookie.encode())]})
    await send({"type": "http.response.body", "body": b""})


_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(agent: str) -> str:
    """A short name such as `Firefox on Linux` for a browser's User-Agent."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "Browser")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if system else browser
