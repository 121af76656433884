"""Structured logs: JSON lines with facts as fields; and the one choke point where secrets are taken out of texts."""

import base64
import html
import json
import logging
import logging.handlers
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, quote_plus

_MAX_BYTES = 10 * 1024 * 1024
_KEEP = 5


_LEAST = 6
"""A shorter secret is no secret, and would tear holes into every text."""
_MANY = 24
"""From so many forms on, one pass of an automaton is cheaper than a look for each."""
REDACTED = "[redacted]"
_SMALL = re.compile("%[0-9A-F]{2}")


class _Known:
    """The secrets known at one time: their forms, the longest first, and a quick way to tell that a text has none."""

    __slots__ = ("_pattern", "forms", "shortest")

    def __init__(self, forms: tuple[str, ...], *, compiled: bool) -> None:
        self.forms = forms
        self.shortest = min(map(len, forms), default=0)
        self._pattern = _compile(forms) if compiled and len(forms) > _MANY else None

    def are_in(self, text: str) -> bool:
        if self._pattern is not None:
            try:
                return self._pattern.search(text) is not None
            except UnicodeEncodeError:
                pass  # half a surrogate pair, which RE2 cannot read
        for form in self.forms:  # noqa: SIM110 - a generator would cost more than the search
            if form in text:
                return True
        return False


class Redactor:
    """Takes every secret that was ever resolved in this process out of a text, also where it was encoded.

    There is one, `redact`, because a part that forgot to be given one would leak: logs, every write to the ledger,
    and what a tool gives to a model pass it. Hardly any text has a secret in it, so finding that out is what has to
    be cheap: one look at all of a statement's values together, none at what is shorter than the shortest form.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._compiled = False
        self._known = _Known((), compiled=False)

    def learn(self, secret: str) -> None:
        """From now on this is not to be seen anywhere."""
        parts = {part for part in {secret.strip(), *secret.split("\n")} if len(part) >= _LEAST}
        with self._lock:
            fresh = parts - self._secrets
            if fresh:
                self._secrets |= fresh
                known = {*self._known.forms}.union(*map(_forms, fresh))
                # The longest first, so that no tail of one is left by another that it contains.
                self._replace(tuple(sorted(known, key=len, reverse=True)))

    def compile(self) -> None:
        """Look for many secrets in one pass from now on; for a process that lives long, as it loads a library."""
        with self._lock:
            self._compiled = True
            self._replace(self._known.forms)

    def forget(self) -> None:
        """Know none any more; for tests."""
        with self._lock:
            self._secrets.clear()
            self._compiled = False
            self._replace(())

    def _replace(self, forms: tuple[str, ...]) -> None:
        # One assignment: the ledger's writer reads it in a thread of its own.
        self._known = _Known(forms, compiled=self._compiled)

    def __call__(self, text: str) -> str:
        known = self._known
        if len(text) < known.shortest or not known.are_in(text):
            return text
        for form in known.forms:
            text = text.replace(form, REDACTED)
        return text

    def values(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values with every secret taken out of the texts among them: the same object where there is none."""
        known = self._known
        if not known.forms:
            return values
        shortest = known.shortest
        texts = [value for value in values.values() if type(value) is str and len(value) >= shortest]
        # What is in one of them is in the whole; what only the joints make up is in none and replaced nowhere.
        if not texts or not known.are_in("\0".join(texts)):
            return values
        return {name: self(value) if isinstance(value, str) else value for name, value in values.items()}


def _compile(forms: tuple[str, ...]) -> Any:
    """One pattern for all forms; `None` where one has half a surrogate pair, which RE2 does not take."""
    if not all(map(_is_whole, forms)):
        return None
    import re2  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] # only for a long life with many secrets

    library = cast(Any, re2)
    options = library.Options()
    options.max_mem = 64 << 20
    return library.compile("|".join(map(library.escape, forms)), options)


def _is_whole(form: str) -> bool:
    return form.isascii() or not any("\ud800" <= character <= "\udfff" for character in form)


def _forms(secret: str) -> set[str]:
    """The secret as it is, and as JSON, a URL, HTML, hex, or base64 (alone or in something longer) would write it."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {part.replace("/", "\\/") for part in forms}  # as some write JSON
    for url in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        forms |= {url, _SMALL.sub(lambda match: match.group().lower(), url)}
    forms |= {raw.hex(), raw.hex().upper(), html.escape(secret), html.escape(secret, quote=False)}
    forms.add(html.escape(secret).replace("&#x27;", "&#39;"))
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
