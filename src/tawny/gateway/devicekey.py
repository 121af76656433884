"""Paired devices prove themselves by their key: an Ed25519 signature of the connection's challenge."""

import base64
import binascii
from typing import Any

from tawny.errors import NotFound, TawnyError
from tawny.gateway.errors import HttpError, unauthenticated
from tawny.gateway.site import Site
from tawny.ledger import credentials
from tawny.ledger.credentials import Credential


def message(nonce: str, device_id: str) -> bytes:
    """What a device signs."""
    return f"tawny connect v1\n{nonce}\n{device_id}".encode()


async def credential(site: Site, device_id: str) -> Credential:
    """The device's standing credential.

    Raises:
        HttpError: 401, it is unknown, or it or what let it in stands no more.
    """
    try:
        found = await site.ledger.read(lambda tx: credentials.get(tx, device_id))
    except NotFound:
        raise unauthenticated("this device is not paired") from None
    if found.revoked_at is not None or found.public_key is None or not site.keyring.stands(device_id):
        raise unauthenticated("this device is not paired (any more)")
    return found


async def prove(site: Site, device_id: str, signature: str, nonce: str, *, address: str) -> None:
    """Check the signature against the key the device was paired with.

    Raises:
        HttpError: 401, it does not fit; wrong ones count like wrong tokens.
    """
    if wait := site.keyring.attempts.wait(address):
        raise HttpError(
            429,
            "too_many_attempts",
            "too many wrong tokens from this address",
            headers={"retry-after": str(wait)},
        )
    try:
        found = await credential(site, device_id)
        assert found.public_key is not None
        verify(found.public_key, signature, message(nonce, device_id))
    except TawnyError:
        site.keyring.attempts.count(address)
        raise


def verify(public_key: str, signature: str, signed: bytes) -> None:
    """Check an Ed25519 signature; key and signature are base64 (URL-safe or not).

    Raises:
        HttpError: 401 it does not fit, 501 the library is missing.
    """
    ed25519, wrong = _library()
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(unbase64(public_key))
        key.verify(unbase64(signature), signed)
    except (wrong, ValueError):
        raise unauthenticated("the device's signature does not fit") from None


def is_key(public_key: str) -> bool:
    """Whether this is an Ed25519 public key in base64."""
    try:
        return len(unbase64(public_key)) == 32
    except ValueError:
        return False


def unbase64(text: str) -> bytes:
    """Base64, URL-safe or not, padded or not.

    Raises:
        ValueError: it is none.
    """
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _library() -> tuple[Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - heavy, and only for devices
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise HttpError(
            501, "not_installed", "device keys need the extra 'pairing'", hint="pip install 'tawny[pairing]'"
        ) from error
    return ed25519, InvalidSignature
