"""Writes the generated pages of docs/reference from the code, or checks that they are true to it.

python tools/docs.py [--check]
"""

import argparse
import enum
import inspect
import io
import sys
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from tawny import api, config, plugins
from tawny.app import bundled_kinds, open_shelf
from tawny.cli.main import COMMANDS, add_common
from tawny.clock import SystemClock
from tawny.config import Config, Home
from tawny.domain.permissions import OPERATIONS as PERMISSIONS
from tawny.gateway.routes import OPERATIONS
from tawny.ledger.database import Ledger
from tawny.ledger.stores import open_store
from tawny.sandbox.workshop import Workshop
from tawny.tools.catalog import bundled_tools
from tawny.tools.registry import Tool

ROOT = Path(__file__).parent.parent
HEAD = "<!-- Written by tools/docs.py from the code; do not edit. -->\n\n"


def cli_page() -> str:
    """Every command with its options, as `--help` prints them."""
    parts = [HEAD, "# The command line\n"]
    for word, what in COMMANDS.items():
        parts.append(f"\n## tawny {word}\n\n{what[0].upper()}{what[1:]}.\n")
        name = f"tawny.cli.{word}"
        if word == "version" or find_spec(name) is None:
            continue
        module = import_module(name)
        parser = argparse.ArgumentParser(prog=f"tawny {word}", formatter_class=_Wide)
        add_common(parser)
        module.configure(parser)
        parts.append(f"\n```text\n{_usage(parser)}```\n")
    return "".join(parts)


class _Wide(argparse.HelpFormatter):
    """Help that does not depend on the terminal's width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=110)


def _usage(parser: argparse.ArgumentParser) -> str:
    lines: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                sub.formatter_class = _Wide
                lines.append(_one_usage(sub, f"{parser.prog} {name}"))
    return "".join(lines) or _one_usage(parser, parser.prog)


def _one_usage(parser: argparse.ArgumentParser, prog: str) -> str:
    parser.prog = prog
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        parser.print_usage()
    return out.getvalue().removeprefix("usage: ").replace(" [-h] [--home DIR] [--json]", "")


def config_page() -> str:
    """Every key of config.toml with its type and default."""
    parts = [
        HEAD,
        "# config.toml\n\nAn unknown key is an error that names its line. Every table is optional.\n",
    ]
    for table in msgspec.structs.fields(Config):
        parts.append(f"\n## [{table.name}]\n\n")
        if not (isinstance(table.type, type) and issubclass(table.type, msgspec.Struct)):
            parts.append("One table or several of each kind; see the pages of the channels.\n")
            continue
        note = (table.type.__doc__ or "").strip().splitlines()
        if note and not note[0].startswith(table.type.__name__ + "("):
            parts.append(f"{note[0]}\n\n")
        parts.append("| key | default |\n| --- | --- |\n")
        for field in msgspec.structs.fields(table.type):
            parts.append(f"| `{field.encode_name}` | {_default(field.default)} |\n")
    return "".join(parts)


def _default(value: Any) -> str:
    if value is msgspec.NODEFAULT:
        return ""
    return f"`{msgspec.json.encode(msgspec.to_builtins(value)).decode()}`"


def kinds_page() -> str:
    """Every kind of task with its parameters."""
    parts = [HEAD, "# Kinds of task\n\n`tawny tasks kinds` prints them with their JSON schema.\n"]
    kinds = bundled_kinds(Home(Path("/nowhere")), config.Config())
    for name in sorted(kinds):
        kind = kinds[name]
        parts.append(f"\n## {name}\n\n{kind.description}\n\n| parameter | default |\n| --- | --- |\n")
        for field in msgspec.structs.fields(kind.params):
            parts.append(f"| `{field.encode_name}` | {_default(field.default)} |\n")
    return "".join(parts)


def http_page() -> str:
    """The hand-written page, with the table of routes and their scopes between its two marks."""
    before, _, rest = (
        (ROOT / "docs/reference/http.md").read_text(encoding="utf-8").partition("<!-- routes -->\n")
    )
    _, _, after = rest.partition("<!-- /routes -->\n")
    rows = [
        f"| `{entry.method}` | `{entry.path}` | {entry.scope or '–'} | {entry.summary} |\n"
        for entry in OPERATIONS
    ]
    table = "".join(["| method | path | scope | what |\n| --- | --- | --- | --- |\n", *rows])
    return f"{before}<!-- routes -->\n{table}<!-- /routes -->\n{after}"


def tools_page() -> str:
    """The hand-written page, with every tool of the model between its two marks: its words, levels, parameters."""
    before, _, rest = (
        (ROOT / "docs/reference/tools.md").read_text(encoding="utf-8").partition("<!-- tools -->\n")
    )
    _, _, after = rest.partition("<!-- /tools -->\n")
    return f"{before}<!-- tools -->\n{''.join(_tool(tool) for tool in _tools())}<!-- /tools -->\n{after}"


def _tools() -> list[Tool]:
    with TemporaryDirectory() as folder:
        home, settings, clock = Home(Path(folder)), config.Config(), SystemClock()
        home.prepare()
        made = bundled_tools(
            home,
            settings,
            Ledger(open_store(home, settings), clock),
            {},
            shelf=open_shelf(home, settings),
            channels=list,
            workshop=Workshop(home, settings, clock),
        )
        return list(made.values())


def _tool(tool: Tool) -> str:
    note = " ".join((tool.params.__doc__ or "").split())
    levels = "; ".join(
        f"{PERMISSIONS[row].level} (`{row}`: {PERMISSIONS[row].description})" for row in tool.rows
    )
    parts = [f"\n### {tool.name}\n\n{tool.description}\n\n{note}\n\nLevel: {levels}.\n"]
    fields = msgspec.structs.fields(tool.params)
    if fields:
        parts.append("\n| parameter | is | unless told | |\n| --- | --- | --- | --- |\n")
    for field in fields:
        schema = msgspec.json.schema(field.type)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        told = "needed" if default is msgspec.NODEFAULT else _default(default)
        parts.append(
            f"| `{field.encode_name}` | {_kind(schema)} | {told} | {schema.get('description', '')} |\n"
        )
    return "".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    """A JSON schema's type in a few words."""
    if "enum" in schema:
        return " ".join(f"`{one}`" for one in schema["enum"])
    if "$ref" in schema:
        return f"object ({', '.join(_fields(schema))})"
    if "anyOf" in schema:
        inner = [{**one, "$defs": schema.get("$defs", {})} for one in schema["anyOf"]]
        return " or ".join(_kind(one) for one in inner if one.get("type") != "null")
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f" {low} to {high}" if high is not None else f" from {low}" if low is not None else ""
    longest = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return kind + bounds + longest


def _fields(schema: dict[str, Any]) -> list[str]:
    named = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return [f"`{name}`" for name in named["properties"]]


_API_WORDS = {
    "SECOND": "A second in the microseconds that instants and durations count.",
    "Accept": "Hands an `Inbound` to the house; awaited, it is stored. Only then may a channel acknowledge it.",
    "Ask": "A model's plain answer to (context, system, prompt), awaited; what it costs is spent on the run.",
    "Conflict": "It is in a state in which that cannot be done, or the name is taken.",
    "ConfigError": "The configuration is wrong: one line that names key, line and mend.",
    "Instant": "A moment: microseconds since 1970, in UTC.",
    "InvalidInput": "What was given cannot be right; the message names it, `hint` the mend.",
    "Json": "Whatever JSON can hold.",
    "NotFound": "There is nothing of that name or id.",
    "PermanentError": "Trying again will not help.",
    "Priority": "The class of a task in the queue.",
    "Refused": "The rules, or a person, said no.",
    "Result": "What a run returns: an object with `text` and, by kind, more; a plain string stands for that.",
    "Status": "The status of a task.",
    "TemporaryError": "Trying again may help.",
    "hookimpl": "Marks a plugin's answer to one of the hooks.",
}
"""What has no docstring of its own: aliases, plain values, and classes that their names explain."""


def api_page() -> str:
    """Every name of `tawny.api`, with what it takes."""
    hooks = [name for name in vars(plugins.Hooks) if name.startswith("tawny_")]
    parts = [
        HEAD,
        "# What a plugin may import\n\n`tawny.api` is all a script or plugin imports; how: ",
        "[from Python](../how-to/python.md), [a channel of your own](channels.md#a-channel-of-your-own). ",
        "A `?` marks what may be left out.\n\n## Hooks\n\n",
    ]
    parts += [f"- `{name}`: {_first(getattr(plugins.Hooks, name))}\n" for name in hooks]
    for heading, belongs in (
        ("Functions", inspect.isfunction),
        ("Classes", inspect.isclass),
        ("The rest", lambda one: not (inspect.isfunction(one) or inspect.isclass(one))),
    ):
        parts.append(f"\n## {heading}\n\n")
        for name in sorted(api.__all__, key=str.lower):
            if belongs(one := getattr(api, name)):
                words = _API_WORDS.get(name) or _first(one)
                parts.append(f"- `{name}{_takes(one)}`: {words}{_has(one)}\n")
    return "".join(parts)


def _first(one: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(one) or "").partition("\n\n")[0].split())


def _takes(one: Any) -> str:
    if inspect.isfunction(one):
        given = inspect.signature(one).parameters.values()
        shown = [f"{x.name}{'' if x.default is x.empty or x.kind is x.VAR_KEYWORD else '?'}" for x in given]
    elif inspect.isclass(one) and issubclass(one, msgspec.Struct):
        shown = [f"{field.name}{'' if field.required else '?'}" for field in msgspec.structs.fields(one)]
    else:
        return ""
    return f"({', '.join(shown)})"


def _has(one: Any) -> str:
    """The members of a class that is more than its fields."""
    if not inspect.isclass(one) or one.__module__ in ("builtins", "typing") or issubclass(one, Exception):
        return ""
    names = [name for name in vars(one) if not name.startswith("_")]
    if issubclass(one, enum.Enum):
        return f" One of {' '.join(f'`{member.value}`' for member in one)}."
    if issubclass(one, msgspec.Struct) or not names:
        return ""
    return f" Has {' '.join(f'`{name}`' for name in names)}."


PAGES = {
    "docs/reference/api.md": api_page,
    "docs/reference/tools.md": tools_page,
    "docs/reference/http.md": http_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/config.md": config_page,
    "docs/reference/kinds.md": kinds_page,
}


def main() -> int:
    """Write the pages, or name those that are stale."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale: list[str] = []
    for name, write in PAGES.items():
        path, text = ROOT / name, write()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if args.check and stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run python tools/docs.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
