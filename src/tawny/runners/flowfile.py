"""Flow files: YAML or JSON, found in the workspace, with the line of a mistake."""

from pathlib import Path
from typing import Any, cast

import yaml

from tawny.domain.flows import parse_flow
from tawny.engine.flows import check_flow
from tawny.engine.kinds import Kinds
from tawny.errors import InvalidInput, NotFound

_MAX_BYTES = 1_000_000


def read_flow(folder: Path, name: str) -> dict[str, Any]:
    """The checked document of a flow's file in `folder`; `.yaml` may be left out.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no flow; names file and line.
    """
    root = folder.resolve()
    for candidate in (
        folder / name,
        folder / f"{name}.yaml",
        folder / f"{name}.yml",
        folder / f"{name}.json",
    ):
        path = candidate.resolve()
        if path.is_relative_to(root) and path.is_file():
            return load_flow(path)
    raise NotFound(f"there is no flow {name!r} in {folder}", hint="put a YAML file there")


def load_flow(path: Path, *, kinds: Kinds | None = None) -> dict[str, Any]:
    """The checked document in a file; with `kinds`, those are all the kinds there are.

    Raises:
        InvalidInput: it is no flow; names file and line.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidInput(f"{path}: larger than a flow may be ({_MAX_BYTES} bytes)")
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except OSError as error:
        raise InvalidInput(
            f"{path}: {error.strerror or error}", hint="name a YAML or JSON file that can be read"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no UTF-8: {error.reason}", hint="save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{path}:{line}: {error.problem}", hint="mend the YAML there") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}:1: a flow is a mapping with 'steps'", hint="see docs/how-to/flows.md")
    try:
        if kinds is None:
            parse_flow(document)  # pyright: ignore[reportUnknownArgumentType]
        else:
            check_flow(document, kinds)  # pyright: ignore[reportUnknownArgumentType]
    except InvalidInput as error:
        raise InvalidInput(
            f"{path}:{_line(text, error.message)}: {error.message}", hint=error.hint
        ) from error
    return document  # pyright: ignore[reportUnknownVariableType]


def _line(text: str, message: str) -> int:
    """The line, from 1, of the place that a message begins with (`steps[2].then[0]…`)."""
    node = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    line = 1
    for part in _parts(message):
        following = _child(node, part)
        if following is None:
            break
        node = following
        line = node.start_mark.line + 1
    return line


def _parts(message: str) -> list[str]:
    place = message.split(":", 1)[0].split(" ", 1)[0]
    return [part for part in place.replace("[", ".").replace("]", "").split(".") if part]


def _child(node: yaml.Node | None, part: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        return node.value[int(part)]
    return None
