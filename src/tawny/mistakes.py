"""What is wrong in a configuration, in one line: file, line, key and mend."""

import difflib
import re
from typing import Any

import msgspec

from tawny.errors import ConfigError

_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_MISSING = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_WRONG = re.compile(r"(.+?) - at `\$\.?([^`]*)`")


def explain(problem: str, text: str, file: str, schema: type[msgspec.Struct]) -> ConfigError:
    """Turn the checker's words into: file, line, key, mend."""
    if match := _UNKNOWN.match(problem):
        key, parent = match.group(1), match.group(2) or ""
        path = f"{parent}.{key}" if parent else key
        known = _fields(parent, schema)
        close = difflib.get_close_matches(key, known, n=1)
        mend = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return ConfigError(f"{file}:{_line(text, path)}: unknown key {path!r}", hint=mend)
    if match := _MISSING.match(problem):
        key, parent = match.group(1), match.group(2) or ""
        return ConfigError(
            f"{file}:{_line(text, parent)}: [{_plain(parent)}] has no {key!r}",
            hint=f"add {key} = …",
        )
    if match := _WRONG.match(problem):
        what, path = match.group(1), match.group(2)
        return ConfigError(f"{file}:{_line(text, path)}: {_plain(path)!r}: {what}", hint="correct the value")
    return ConfigError(f"{file}: {problem}", hint="correct the value")


def _plain(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", path)


def _fields(path: str, schema: type[msgspec.Struct]) -> list[str]:
    """The keys known in the table at `path`."""
    current: Any = schema
    for name in filter(None, _plain(path).split(".")):
        info = {field.name: field.type for field in msgspec.structs.fields(current)}
        current = info.get(name)
        arguments = getattr(current, "__args__", ())
        if arguments:
            current = arguments[0]
        if not (isinstance(current, type) and issubclass(current, msgspec.Struct)):
            return []
    return [field.name for field in msgspec.structs.fields(current)]


def _line(text: str, path: str) -> int:
    """The line, from 1, on which the key at `path` stands; the table's where it has no line of its own."""
    wanted = [part for part in _plain(path).split(".") if part]
    index = re.findall(r"\[(\d+)\]", path)
    skip = int(index[0]) if index else 0
    table: list[str] = []
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.match(r"\[\[?\s*([^\]]+?)\s*\]\]?", stripped):
            table = [part.strip().strip("\"'") for part in header.group(1).split(".")]
            if table == wanted[: len(table)]:
                if stripped.startswith("[[") and skip:
                    skip -= 1
                    table = []
                    continue
                best = number
                if table == wanted:
                    return number
        elif "=" in stripped and not stripped.startswith("#"):
            keys = [part.strip().strip("\"'") for part in stripped.split("=", 1)[0].split(".")]
            if table + keys == wanted[: len(table) + len(keys)]:
                return number
    return best
