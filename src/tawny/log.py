"""Structured logs: JSON lines with facts as fields; secrets are redacted at this one choke point."""

import json
import logging
import logging.handlers
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

_MAX_BYTES = 10 * 1024 * 1024
_KEEP = 5


class Redactor(Protocol):
    """Takes secrets out of a text."""

    def __call__(self, text: str, /) -> str: ...


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


def to_file(folder: Path, *, redact: Redactor, level: str = "INFO") -> None:
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
