"""Webhook signatures: the schemes' own examples pass, and everything tampered with does not."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from tawny.clock import MINUTE, SECOND, from_datetime
from tawny.domain.signatures import Unsigned, guess, verify

NOW = from_datetime(datetime(2026, 3, 2, 8, tzinfo=UTC))
STAMP = str(NOW // SECOND)
BODY = b'{"type": "invoice.paid", "id": "evt_1"}'
STANDARD = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def standard() -> dict[str, str]:
    signature = Webhook(STANDARD).sign("msg_1", datetime.fromtimestamp(NOW / SECOND, UTC), BODY.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": STAMP, "webhook-signature": f"v1,AAAA {signature}"}


def github() -> dict[str, str]:
    digest = hmac.new(b"s3cret", BODY, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "x-github-delivery": "72d3162e"}


def stripe() -> dict[str, str]:
    digest = hmac.new(b"s3cret", f"{STAMP}.".encode() + BODY, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={STAMP},v1=00,v1={digest},v0=zz"}


def token() -> dict[str, str]:
    return {"authorization": "Bearer s3cret", "idempotency-key": "k1"}


CASES = {
    "standard": (standard, STANDARD, "msg_1"),
    "github": (github, "s3cret", "72d3162e"),
    "stripe": (stripe, "s3cret", ""),
    "token": (token, "s3cret", "k1"),
}


@pytest.mark.parametrize("scheme", CASES)
def test_a_right_signature_passes_and_names_its_event(scheme: str) -> None:
    make, secret, event_id = CASES[scheme]
    assert guess(make()) == scheme
    assert verify(scheme, headers=make(), body=BODY, secret=secret, now=NOW).event_id == event_id


def test_githubs_published_example_passes() -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": f"sha256={digest}", "x-github-delivery": "1"}
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    assert verify("github", headers=headers, body=body, secret=secret, now=NOW).event_id == "1"


def test_standard_webhooks_published_example_passes() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    now = from_datetime(datetime.fromtimestamp(1614265330, UTC))
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    assert verify("standard", headers=headers, body=body, secret=secret, now=now)


@pytest.mark.parametrize(
    "secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
@pytest.mark.parametrize("brand", ["webhook", "svix"])
def test_svixs_headers_and_a_secret_without_its_prefix_are_read_as_its_own_library_reads_them(
    brand: str, secret: str
) -> None:
    headers = {
        f"{brand}-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        f"{brand}-timestamp": "1614265330",
        f"{brand}-signature": "v1a,AAAA v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= "
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    now = from_datetime(datetime.fromtimestamp(1614265330, UTC))
    assert guess(headers) == "standard"
    signed = verify("standard", headers=headers, body=b'{"test": 2432232314}', secret=secret, now=now)
    assert signed.event_id == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    with pytest.raises(Unsigned):
        verify("standard", headers=headers, body=b'{"test": 2432232315}', secret=secret, now=now)


def test_a_secret_in_plain_text_signs_with_its_bytes() -> None:
    mark = hmac.digest(b"s3cret", f"m.{STAMP}.".encode() + BODY, "sha256")
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": STAMP,
        "webhook-signature": "v1," + base64.b64encode(mark).decode(),
    }
    assert verify("standard", headers=headers, body=BODY, secret="s3cret", now=NOW).event_id == "m"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_%%%", ""])
def test_an_empty_secret_signs_nothing(secret: str) -> None:
    mark = hmac.digest(secret.encode(), f"m.{STAMP}.".encode() + BODY, "sha256")
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": STAMP,
        "webhook-signature": "v1," + base64.b64encode(mark).decode(),
    }
    with pytest.raises(Unsigned):
        verify("standard", headers=headers, body=BODY, secret=secret, now=NOW)


@pytest.mark.parametrize("scheme", CASES)
def test_anything_changed_is_refused(scheme: str) -> None:
    make, secret, _ = CASES[scheme]
    for headers, body, key in [
        ({}, BODY, secret),
        (make(), BODY, "other"),
        (make(), BODY, ""),
        *([] if scheme == "token" else [(make(), BODY + b" ", secret)]),
    ]:
        with pytest.raises(Unsigned):
            verify(scheme, headers=headers, body=body, secret=key, now=NOW)


@pytest.mark.parametrize("scheme", ["standard", "stripe"])
@pytest.mark.parametrize("drift", [-6 * MINUTE, 6 * MINUTE])
def test_a_replay_after_five_minutes_is_refused(scheme: str, drift: int) -> None:
    make, secret, _ = CASES[scheme]
    with pytest.raises(Unsigned):
        verify(scheme, headers=make(), body=BODY, secret=secret, now=NOW + drift)


@pytest.mark.parametrize("junk", ["", "v1,", "v1,%%%", "v2,AAAA", "t=x,v1=", "sha256=", "é"])
def test_junk_is_refused_and_never_a_crash(junk: str) -> None:
    for scheme in CASES:
        headers = {
            "webhook-id": "1", "webhook-timestamp": STAMP, "webhook-signature": junk, "stripe-signature": junk,
            "x-hub-signature-256": junk, "authorization": f"Bearer {junk}",
        }  # fmt: skip
        with pytest.raises(Unsigned):
            verify(scheme, headers=headers, body=BODY, secret="s3cret", now=NOW)
