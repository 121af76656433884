"""Devices and tokens: who was let in, with what; letting in by a code, and putting out."""

from typing import Annotated, Any, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.clock import DAY, Instant, iso
from tawny.errors import InvalidInput, Refused
from tawny.gateway import devicekey
from tawny.gateway.auth import rotate_owner_token
from tawny.gateway.documents import Page, Time
from tawny.gateway.endpoint import answer, client_address, header, json_body
from tawny.gateway.errors import HttpError, unauthenticated
from tawny.gateway.operation import Call, Nothing, Operation, checked
from tawny.gateway.principal import ADMIN, GUEST, OWNER, PAIRING, SCOPES
from tawny.gateway.signin import browser_name, send_cookie
from tawny.gateway.site import Site
from tawny.ledger import audit, credentials, pairing
from tawny.ledger.credentials import BROWSER, DEVICE, TOKEN, Credential
from tawny.ledger.database import Tx

Name = Annotated[str, msgspec.Meta(max_length=100)]
ScopeName = Literal["read", "write", "approvals", "admin", "pairing"]
_LASTS = 180 * DAY
_KEY = "^([A-Za-z0-9+/_-]{43}=*)?$"
"""32 bytes in base64, URL-safe or not, padded or not; or nothing."""


class Device(msgspec.Struct):
    device_id: str
    name: str
    kind: Literal["browser", "device"]
    role: str
    scopes: list[str]
    created_at: Time
    last_seen: Time | None
    current: bool
    revoked: bool


class Token(msgspec.Struct):
    id: str
    name: str
    scopes: list[str]
    created_at: Time
    last_seen: Time | None
    revoked: bool


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named token for a program; `lasts` in days, for ever without."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    scopes: tuple[ScopeName, ...]
    days: Annotated[float, msgspec.Meta(ge=1, le=36500)] | None = None


class Made(msgspec.Struct):
    """The token's secret, told this once."""

    id: str
    name: str
    scopes: list[str]
    token: str


class NewPairing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the device that shows the code is granted: never more than whoever asks has."""

    name: Name = ""
    role: Literal["owner", "guest"] | None = None
    scopes: tuple[ScopeName, ...] | None = None


class PairingCode(msgspec.Struct):
    """Type the code, or open the address on the new device; once, within ten minutes. `qr` is that as an image."""

    code: str
    url: str
    qr: str
    expires_at: Time


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code. A browser gets a cookie; a device that gives its Ed25519 `public_key` (base64) gets a token."""

    code: Annotated[str, msgspec.Meta(max_length=100)]
    name: Name = ""
    public_key: Annotated[str, msgspec.Meta(max_length=200, pattern=_KEY)] = ""


class Claimed(msgspec.Struct):
    device_id: str
    token: str
    role: str
    scopes: list[str]


class Rotated(msgspec.Struct):
    token: str


def _device(entry: Credential, asking: str) -> dict[str, Any]:
    document = entry.document()
    return {"device_id": document.pop("id"), "current": entry.credential_id == asking, **document}


def devices(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    found = credentials.everything(tx, kinds=(BROWSER, DEVICE))
    asking = call.principal.credential_id
    return {"items": [_device(entry, asking) for entry in found], "next_cursor": None}


def tokens(tx: Tx, _: Call[Nothing, Nothing]) -> dict[str, Any]:
    found = credentials.everything(tx, kinds=(TOKEN,))
    return {"items": [entry.document() for entry in found], "next_cursor": None}


def revoke(tx: Tx, call: Call[Nothing, Nothing]) -> None:
    """Put out; only what has no more scopes than oneself, unless it is oneself."""
    entry = credentials.get(tx, call.id)
    asking = call.principal
    if (
        not asking.is_owner
        and entry.credential_id != asking.credential_id
        and not entry.scopes <= asking.scopes
    ):
        raise Refused("that one has scopes of which you have none", hint="ask the owner")
    credentials.revoke(tx, call.id, actor=asking.actor)


def make_token(tx: Tx, call: Call[Nothing, NewToken]) -> dict[str, Any]:
    asking, body = call.principal, call.body
    scopes = _granted(frozenset(body.scopes), asking.scopes)
    made, secret = credentials.create(
        tx,
        TOKEN,
        name=body.name,
        role=GUEST,
        scopes=scopes,
        actor=asking.actor,
        granted_by=None if asking.kind == "owner" else asking.credential_id,
        expires_at=None if body.days is None else tx.now + int(body.days * DAY),
    )
    return {"id": made.credential_id, "name": made.name, "scopes": sorted(scopes), "token": secret}


def offer(tx: Tx, call: Call[Nothing, NewPairing]) -> dict[str, Any]:
    asking, body = call.principal, call.body
    wanted = asking.scopes if body.scopes is None else frozenset(body.scopes)
    role = body.role or asking.role
    if role == OWNER and not asking.is_owner:
        raise Refused("only the owner lets in as the owner", hint="ask for the role 'guest'")
    code, expires_at = pairing.offer(
        tx,
        name=body.name,
        role=role,
        scopes=_granted(wanted, asking.scopes),
        granted_by=None if asking.is_owner else asking.credential_id,
        actor=asking.actor,
    )
    url = f"{call.site.public_address}/#pair={code}"
    return {"code": code, "url": url, "qr": _image(url), "expires_at": iso(expires_at)}


def _image(address: str) -> str:
    import segno  # noqa: PLC0415 - only where a device is let in

    code = segno.make(address, error="m", micro=False)
    return code.svg_data_uri(border=4, light="white", omitsize=True, svgclass=None, lineclass=None)


def _granted(wanted: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """Nobody gives what he has not got."""
    if missing := wanted - own:
        raise Refused(
            f"you have no scope {sorted(missing)[0]!r} to give", hint=f"yours: {', '.join(sorted(own))}"
        )
    return wanted & SCOPES


async def rotate(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    """A new owner's token; the old one, and every browser it signed in, is out at once."""
    if not call.principal.is_owner:
        raise Refused("only the owner changes the owner's token")
    site, actor = call.site, call.principal.actor
    token = rotate_owner_token(site.home.token_file)
    await site.keyring.load()
    await site.ledger.write(lambda tx: audit.append(tx, "credential.rotate", actor=actor))
    return {"token": token}


async def _elsewhere(_: Call[Any, Any]) -> None:
    raise AssertionError("claiming is served by its own endpoint")


class ClaimEndpoint:
    """The new device shows the code. Wrong codes count like wrong tokens."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        site, address = self._site, client_address(scope)
        wish: Claim = checked(await json_body(scope, receive), Claim, what="body")
        if wait := site.keyring.attempts.wait(address):
            raise HttpError(
                429, "too_many_attempts", "too many wrong codes", headers={"retry-after": str(wait)}
            )
        if wish.public_key and not devicekey.is_key(wish.public_key):
            raise InvalidInput("public_key: an Ed25519 key of 32 bytes in base64 is expected")
        kind = DEVICE if wish.public_key else BROWSER
        name = wish.name or browser_name(header(scope, b"user-agent") or "")

        def take(tx: Tx) -> tuple[Credential, str] | None:
            grant = pairing.take(tx, wish.code)
            return None if grant is None else _let_in(tx, grant, kind, name, wish.public_key)

        made = await site.ledger.write(take)
        if made is None:
            site.keyring.attempts.count(address)
            raise unauthenticated("this code is not valid (any more)")
        await site.keyring.load()
        entry, secret = made
        if kind == BROWSER:
            await send_cookie(scope, send, secret, lasts=_LASTS)
            return
        document = {
            "device_id": entry.credential_id,
            "token": secret,
            "role": entry.role,
            "scopes": sorted(entry.scopes),
        }
        await answer(send, 201, document)


def _let_in(tx: Tx, grant: pairing.Offer, kind: str, name: str, public_key: str) -> tuple[Credential, str]:
    lasts: Instant | None = tx.now + _LASTS if kind == BROWSER else None
    return credentials.create(
        tx,
        kind,
        name=grant.name or name,
        role=grant.role,
        scopes=grant.scopes,
        actor=f"pairing:{grant.pairing_id}",
        public_key=public_key or None,
        granted_by=grant.granted_by,
        expires_at=lasts,
    )


def _revoking(noun: str, scope: str) -> Operation:
    return Operation(
        name=f"{noun}.revoke",
        method="DELETE",
        path=f"/v1/{noun}/" + "{id}",
        scope=scope,
        summary="Put out, with its open connections, at once",
        answer=None,
        status=204,
        errors=(404,),
        regrants=True,
        change=revoke,
    )


OPERATIONS = (
    Operation(
        name="devices.list",
        method="GET",
        path="/v1/devices",
        scope=PAIRING,
        summary="Signed-in browsers and paired devices, newest first",
        answer=Page[Device],
        read=devices,
    ),
    _revoking("devices", PAIRING),
    Operation(
        name="pairing.offer",
        method="POST",
        path="/v1/pairing",
        scope=PAIRING,
        summary="A code that lets one device in",
        body=NewPairing,
        answer=PairingCode,
        status=201,
        secret=True,
        change=offer,
    ),
    Operation(
        name="pairing.claim",
        method="POST",
        path="/v1/pairing/claim",
        scope=None,
        summary="Show the code: a browser gets a cookie (204), a device with a key a token (201)",
        body=Claim,
        answer=Claimed,
        status=201,
        also=(204,),
        errors=(401, 429),
        act=_elsewhere,
    ),
    Operation(
        name="tokens.list",
        method="GET",
        path="/v1/tokens",
        scope=ADMIN,
        summary="Named tokens, without their secrets",
        answer=Page[Token],
        read=tokens,
    ),
    Operation(
        name="tokens.add",
        method="POST",
        path="/v1/tokens",
        scope=ADMIN,
        summary="A named token for a program; its secret is told this once",
        body=NewToken,
        answer=Made,
        status=201,
        secret=True,
        regrants=True,
        change=make_token,
    ),
    _revoking("tokens", ADMIN),
    Operation(
        name="tokens.rotate",
        method="POST",
        path="/v1/tokens/rotate",
        scope=ADMIN,
        summary="A new owner's token; all that the old one opened is closed",
        answer=Rotated,
        secret=True,
        act=rotate,
    ),
)
