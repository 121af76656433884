"""Cross-signing: the account vouches for its one device, as clients by now ask before they give it a key.

The account's identity is made here, once, if it has none. Where it has one already (somebody logged in elsewhere),
only its holder can vouch for this device, and nothing is done.
"""

import base64
import importlib
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_log = logging.getLogger("tawny.matrix")
_KEYS = "/_matrix/client/v3/keys"
Ask = Callable[[Any, str, str, dict[str, Any]], Awaitable[tuple[int, Any]]]


async def sign_device(client: Any, kept: Path, ask: Ask) -> None:
    """Give the account an identity and have it sign this device, unless that was done."""
    user, device = str(client.user_id), str(client.device_id)
    _, known = await ask(client, "POST", f"{_KEYS}/query", {"device_keys": {user: []}})
    own = known.get("device_keys", {}).get(user, {}).get(device)
    has_identity = user in known.get("master_keys", {})
    if own is None:
        return
    if not has_identity:
        seeds = _load(kept) or {name: _seed() for name in ("master", "self_signing", "user_signing")}
        _save(kept, seeds)
        status, answer = await ask(client, "POST", f"{_KEYS}/device_signing/upload", _identity(user, seeds))
        if status != 200:
            _log.warning(
                "the homeserver takes no identity for the account",
                extra={"facts": {"status": status, "code": str(answer.get("errcode", ""))}},
            )
            return
    seeds = _load(kept)
    public = _public(seeds["self_signing"]) if seeds else ""
    if seeds is None or (
        has_identity
        and public not in known.get("self_signing_keys", {}).get(user, {}).get("keys", {}).values()
    ):
        _log.info("the account's identity is kept elsewhere; verify this device from there")
        return
    if f"ed25519:{public}" in own.get("signatures", {}).get(user, {}):
        return
    await ask(
        client,
        "POST",
        f"{_KEYS}/signatures/upload",
        {user: {device: _signed(own, user, seeds["self_signing"])}},
    )


def _identity(user: str, seeds: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, seed in seeds.items():
        public = _public(seed)
        key = {"user_id": user, "usage": [name], "keys": {f"ed25519:{public}": public}}
        made[f"{name}_key"] = key if name == "master" else _signed(key, user, seeds["master"])
    return made


def _signed(document: dict[str, Any], user: str, seed: str) -> dict[str, Any]:
    """The document with the seed's signature beside those it has."""
    bare = {key: value for key, value in document.items() if key not in ("signatures", "unsigned")}
    text = json.dumps(bare, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    signature = _unpadded(_private(seed).sign(text))
    return {**bare, "signatures": {user: {f"ed25519:{_public(seed)}": signature}}}


def _private(seed: str) -> Any:
    ed25519 = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    return ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed))


def _public(seed: str) -> str:
    return _unpadded(_private(seed).public_key().public_bytes_raw())


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _seed() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _load(kept: Path) -> dict[str, str] | None:
    return json.loads(kept.read_text()) if kept.exists() else None


def _save(kept: Path, seeds: dict[str, str]) -> None:
    """Written before it is published: an identity whose key is lost could never be used."""
    with open(kept, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump(seeds, file)
        file.flush()
        os.fsync(file.fileno())
