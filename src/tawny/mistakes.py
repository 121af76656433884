"""What is wrong in a configuration, in one line: file, line, key and mend."""

import difflib
import re
from typing import Any, Literal, get_args, get_origin

import msgspec

from tawny.errors import ConfigError

_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_MISSING = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_WRONG = re.compile(r"(.+?) - at `\$\.?([^`]*)`")
_WRONG_KEY = re.compile(r"(.+?) - at `key` in `\$\.?([^`]*)`")


def explain(problem: str, text: str, file: str, schema: type[msgspec.Struct]) -> ConfigError:
    """Turn the checker's words into: file, line, key, mend."""
    if match := _UNKNOWN.match(problem):
        key, parent = match.group(1), match.group(2) or ""
        path = f"{parent}.{key}" if parent else key
        known = _fields(parent, schema)
        close = difflib.get_close_matches(key, known, n=1)
        mend = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return ConfigError(f"{file}:{line_of(text, path)}: unknown key {path!r}", hint=mend)
    if match := _MISSING.match(problem):
        key, parent = match.group(1), match.group(2) or ""
        return ConfigError(
            f"{file}:{line_of(text, parent)}: [{_plain(parent)}] has no {key!r}",
            hint=f"add {key} = …",
        )
    if match := _WRONG_KEY.match(problem):
        what, path = match.group(1), match.group(2)
        where = f"{file}:{line_of(text, path)}: a key of {_plain(path)!r}"
        known = _keys(path, schema)
        return ConfigError(
            f"{where}: {what}", hint=f"one of {', '.join(known)}" if known else "correct the key"
        )
    if match := _WRONG.match(problem):
        what, path = match.group(1), match.group(2)
        mend = ""
        key, _, rest = what.partition(" ")
        if rest and key in _fields(path, schema):
            # A table's own check: the key it is about, what is wrong, the mend.
            path = f"{path}.{key}" if path else key
            what, _, mend = rest.rpartition("; ") if "; " in rest else (rest, "", "")
        elif choices := _choices(path, schema):
            mend = f"one of {', '.join(choices)}"
        where = f"{file}:{line_of(text, path)}: {_plain(path)!r}"
        return ConfigError(f"{where}: {what}", hint=mend or "correct the value")
    return ConfigError(f"{file}: {problem}", hint="correct the value")


def _plain(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", path)


def _fields(path: str, schema: type[msgspec.Struct]) -> list[str]:
    """The keys known in the table at `path`."""
    return list(_types(path, schema))


def _choices(path: str, schema: type[msgspec.Struct]) -> tuple[str, ...]:
    """The values that the key at `path` may have, where they are listed."""
    return _listed(_type(path, schema))


def _keys(path: str, schema: type[msgspec.Struct]) -> tuple[str, ...]:
    """The keys that the table at `path` may have, where they are listed."""
    kind = _type(path, schema)
    return _listed(get_args(kind)[0]) if get_origin(kind) is dict else ()


def _type(path: str, schema: type[msgspec.Struct]) -> Any:
    parent, _, key = _plain(path).rpartition(".")
    return _types(parent, schema).get(key)


def _listed(kind: Any) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _types(path: str, schema: type[msgspec.Struct]) -> dict[str, Any]:
    """The keys of the table at `path`, with their types."""
    current: Any = schema
    for name in filter(None, _plain(path).split(".")):
        info = {field.encode_name: field.type for field in msgspec.structs.fields(current)}
        current = info.get(name)
        arguments = getattr(current, "__args__", ())
        if arguments:
            current = arguments[0]
        if not (isinstance(current, type) and issubclass(current, msgspec.Struct)):
            return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(current)}


def line_of(text: str, path: str) -> int:
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
