"""The owner's `policy.yaml` as it is now: read again when the file has changed."""

from pathlib import Path

from tawny.domain.rules import Rules, load
from tawny.errors import ConfigError
from tawny.log import Log

_log = Log("policy")


def read_rules(path: Path) -> Rules:
    """The rules in the file; none where there is no file.

    Raises:
        ConfigError: file, line and mend.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Rules()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="make it readable") from error
    return load(text, file=str(path))


class Rulebook:
    """Hands out the rules. A mistake at the start stops the start; a later one keeps the rules that were good."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._rules = read_rules(path)

    def __call__(self) -> Rules:
        """The rules as the file says them now."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._rules = read_rules(self._path)
            except ConfigError as error:
                _log.error("policy.yaml has a mistake; the rules before it stay", problem=error.message)
        return self._rules

    def _look(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino)
