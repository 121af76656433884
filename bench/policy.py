"""Which policy a figure was taken with: one hash over the sources that decide."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "tawny"
SOURCES = (
    "domain/policy.py",
    "domain/origin.py",
    "domain/permissions.py",
    "domain/mentions.py",
    "domain/rules.py",
    "domain/scope.py",
    "tools/call.py",
)


def digest() -> str:
    """SHA-256 over the files' names and contents, in this order."""
    made = hashlib.sha256()
    for name in SOURCES:
        made.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return made.hexdigest()
