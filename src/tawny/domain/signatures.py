"""Whether a webhook really comes from who shares its secret: Standard Webhooks, GitHub, Stripe's way, a plain token.

Pure: the time is an argument, the raw body is checked as it came, comparisons take the same time whatever differs.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from tawny.clock import MINUTE, SECOND, Instant

TOLERANCE = 5 * MINUTE
"""How far a signed time may lie from ours."""


class Signed(msgspec.Struct, frozen=True):
    """A request that was signed rightly. `event_id` is the sender's own, empty where it gives none."""

    event_id: str
    time: Instant | None = None


class Unsigned(Exception):
    """It was not signed rightly; the message says what is wrong, for the log, not for the sender."""


def verify(scheme: str, *, headers: Mapping[str, str], body: bytes, secret: str, now: Instant) -> Signed:
    """Check a request. `headers` by lower-case name; `scheme` is `standard`, `github`, `stripe` or `token`.

    Raises:
        Unsigned: the signature is missing, wrong, or too old.
    """
    if not secret:
        raise Unsigned("the hook has no secret")
    if scheme == "github":
        return _github(headers, body, secret)
    if scheme == "stripe":
        return _stripe(headers, body, secret, now)
    if scheme == "token":
        return _token(headers, secret)
    return _standard(headers, body, secret, now)


def guess(headers: Mapping[str, str]) -> str:
    """The scheme a request uses, where its hook names none."""
    if "x-hub-signature-256" in headers:
        return "github"
    if "stripe-signature" in headers:
        return "stripe"
    return "standard" if headers.keys() & {"webhook-signature", "svix-signature"} else "token"


def _standard(headers: Mapping[str, str], body: bytes, secret: str, now: Instant) -> Signed:
    """https://www.standardwebhooks.com: `v1,BASE64(HMAC-SHA256(id.timestamp.body))`, several apart by blanks.

    Svix, where the scheme comes from, and those who send through it write `svix-…` for `webhook-…`.
    """
    brand = "svix" if "svix-signature" in headers else "webhook"
    event_id, stamp = headers.get(f"{brand}-id", ""), headers.get(f"{brand}-timestamp", "")
    if not event_id or not stamp:
        raise Unsigned(f"{brand}-id or {brand}-timestamp is missing")
    time, keys = _fresh(stamp, now), _keys(secret)
    expected = [hmac.digest(key, f"{event_id}.{stamp}.".encode() + body, "sha256") for key in keys]
    for part in headers.get(f"{brand}-signature", "").split():
        version, _, given = part.partition(",")
        if version == "v1" and any(hmac.compare_digest(_base64(given), right) for right in expected):
            return Signed(event_id, time)
    raise Unsigned("no signature fits")


def _keys(secret: str) -> list[bytes]:
    """The bytes that a secret stands for: Base64 after `whsec_`; without it Base64, too, or the text itself."""
    if secret.startswith("whsec_"):
        decoded = _base64(secret.removeprefix("whsec_"))
        if not decoded:
            raise Unsigned("the hook's secret is no Base64 after whsec_")
        return [decoded]
    return [key for key in (_base64(secret), secret.encode()) if key]


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _github(headers: Mapping[str, str], body: bytes, secret: str) -> Signed:
    """`X-Hub-Signature-256: sha256=HEX`, over the body alone; the delivery's id makes it once-only."""
    given = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
    if not _same(given, hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()):
        raise Unsigned("x-hub-signature-256 does not fit")
    return Signed(headers.get("x-github-delivery", ""))


def _stripe(headers: Mapping[str, str], body: bytes, secret: str, now: Instant) -> Signed:
    """`Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX]`, over `SECONDS.body`."""
    parts = [part.strip().partition("=") for part in headers.get("stripe-signature", "").split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    time = _fresh(stamp, now)
    expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    if not any(name == "v1" and _same(value, expected) for name, _, value in parts):
        raise Unsigned("stripe-signature does not fit")
    return Signed("", time)


def _token(headers: Mapping[str, str], secret: str) -> Signed:
    """`Authorization: Bearer`, `X-Webhook-Token` or `X-Gitlab-Token`; never in the address, which logs keep."""
    bearer = headers.get("authorization", "")
    given = bearer[7:] if bearer[:7].lower() == "bearer " else ""
    given = given or headers.get("x-webhook-token", "") or headers.get("x-gitlab-token", "")
    if not given or not _same(given, secret):
        raise Unsigned("the token is missing or wrong")
    return Signed(headers.get("idempotency-key", "") or headers.get("webhook-id", ""))


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _fresh(stamp: str, now: Instant) -> Instant:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Unsigned("its time is no number of seconds")
    time = int(stamp) * SECOND
    if abs(now - time) > TOLERANCE:
        raise Unsigned("it was signed too long ago, or in the future")
    return time
