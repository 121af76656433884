"""Structured logs: JSON lines with facts as fields; and the one choke point where secrets are taken out of texts."""

import base64
import json
import logging
import logging.handlers
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

_MAX_BYTES = 10 * 1024 * 1024
_KEEP = 5


_LEAST = 6
"""A shorter secret is no secret, and would tear holes into every text."""
REDACTED = "[redacted]"


class Redactor:
    """Takes every secret that was ever resolved in this process out of a text, also where it was encoded.

    There is one, `redact`, because a part that forgot to be given one would leak: logs, every write to the ledger,
    and what a tool gives to a model pass it.
    """

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def learn(self, secret: str) -> None:
        """From now on this is not to be seen anywhere."""
        for part in {secret.strip(), *secret.split("\n")}:
            if len(part) >= _LEAST:
                known = {*self._forms, *_forms(part)}
                # The longest first, so that no tail of one is left by another that it contains.
                self._forms = tuple(sorted(known, key=len, reverse=True))

    def forget(self) -> None:
        """Know none any more; for tests."""
        self._forms = ()

    def __call__(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text


def _forms(secret: str) -> set[str]:
    """The secret as it is, and as JSON, a URL, or base64 (on its own or inside something longer) would write it."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {quote(secret, safe=""), quote(secret), raw.hex()}
    if len(raw) >= 9:
        for shift in range(3):
            # What stands before and after moves the bits: keep the characters that the secret alone decides.
            whole = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
            sure = whole[(shift * 8 + 5) // 6 : (shift * 8 + len(raw) * 8) // 6]
            forms |= {sure, sure.replace("+", "-").replace("/", "_")}
    return forms


redact = Redactor()


class _JsonFormatter(logging.Formatter):
    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("tawny."),
            "event": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            entry.update(facts)  # pyright: ignore[reportUnknownArgumentType]
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return self._redact(json.dumps(entry, ensure_ascii=False, default=str))


class Log:
    """A logger whose facts are keyword arguments: `log.info("claimed", task_id=task.id)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"tawny.{name}")

    def debug(self, event: str, **facts: object) -> None:
        self._logger.debug(event, extra={"facts": facts})

    def info(self, event: str, **facts: object) -> None:
        self._logger.info(event, extra={"facts": facts})

    def warning(self, event: str, **facts: object) -> None:
        self._logger.warning(event, extra={"facts": facts})

    def error(self, event: str, *, exc: BaseException | None = None, **facts: object) -> None:
        self._logger.error(event, extra={"facts": facts}, exc_info=exc)


def to_file(folder: Path, *, level: str = "INFO") -> None:
    """Send our logs to `folder/tawny.jsonl`, rotated at 10 MB, five kept."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        folder / "tawny.jsonl",
        maxBytes=_MAX_BYTES,
        backupCount=_KEEP,
        encoding="utf-8",
        delay=True,
    )
    handler.setFormatter(_JsonFormatter(redact))
    root = logging.getLogger("tawny")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
