"""What a line of shell says, by a real grammar: one plain command whose words are known, or something that asks.

The grammar is tree-sitter's for bash (MIT; bashlex is under the GPL). A line is plain only if the grammar finds exactly
one command made of literal words, and the standard library's own splitter reads the very same words.
"""

import re
import shlex
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_LINE = 100_000
_SPECIAL = re.compile(r"[*?\[\]{}~!$`&;|<>()#\n\r\"']")
_LITERALS = frozenset({"word", "number", "raw_string", "string", "concatenation"})
# Words that mean something to a shell alone; there is no program to run.
_SHELL_ONLY = frozenset(
    """
    . : alias bg bind break builtin cd command compgen complete coproc declare dirs disown enable eval exec exit
    export fc fg function getopts hash history jobs let local logout mapfile popd pushd read readarray readonly
    return select set shift shopt source suspend time times trap typeset ulimit umask unalias unset until wait if
    then else elif fi case esac for while do done in { } [[ ]] !
    """.split()  # noqa: SIM905 - read more easily as a text
)


class Line(msgspec.Struct, frozen=True):
    """A line of shell. `words` is set where it is one plain command; `programs` are all command names that occur in it.

    `because` says what keeps it from being plain.
    """

    words: tuple[str, ...] | None
    programs: tuple[str, ...]
    because: str = ""


def parse(line: str) -> Line:
    """Read a line of shell. What cannot be read is not plain."""
    if len(line) > MAX_LINE:
        return Line(None, (), f"it is longer than {MAX_LINE} characters")
    strange = next(
        (c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\t\n"), ""
    )
    if strange:
        return Line(None, (), f"it has the invisible character U+{ord(strange):04X} in it")
    text = line.strip(" \t")
    root = _parser().parse(text.encode()).root_node
    programs = tuple(dict.fromkeys(_programs(root)))
    if root.has_error:
        return Line(None, programs, "the shell's grammar does not know it")
    if len(root.children) != 1 or root.children[0].type != "command":
        return Line(None, programs, _what(root))
    words = _words(root.children[0])
    if words is None:
        return Line(None, programs, _what(root.children[0]))
    if not words[0] or "=" in words[0] or words[0] in _SHELL_ONLY:
        return Line(None, programs, f"{words[0]!r} is the shell's own")
    try:
        agreed = tuple(shlex.split(text)) == words
    except ValueError:
        agreed = False
    if not agreed:
        return Line(None, programs, "its quoting can be read two ways")
    return Line(words, programs)


def commands_in(line: str) -> list[list[str]]:
    """The words, as they are written, of every command anywhere in the line."""
    root = _parser().parse(line.encode()).root_node
    return [
        [_text(child) for child in node.children if child.is_named]
        for node in _walk(root)
        if node.type == "command"
    ]


def has_loop(line: str) -> bool:
    """Whether the line goes round in a loop."""
    root = _parser().parse(line.encode()).root_node
    return any(
        node.type in ("while_statement", "for_statement", "c_style_for_statement") for node in _walk(root)
    )


@cache
def _parser() -> "Parser":
    import tree_sitter_bash  # noqa: PLC0415 - a compiled grammar, loaded with the first command
    from tree_sitter import Language, Parser  # noqa: PLC0415 - see above

    return Parser(Language(tree_sitter_bash.language()))


def _words(command: "Node") -> tuple[str, ...] | None:
    """The literal words of a command; `None` where one of them is anything else."""
    words: list[str] = []
    for child in command.children:
        node = child.children[0] if child.type == "command_name" and len(child.children) == 1 else child
        word = _literal(node)
        if word is None:
            return None
        words.append(word)
    return tuple(words)


def _literal(node: "Node") -> str | None:
    if node.type not in _LITERALS:
        return None
    text = _text(node)
    if node.type == "raw_string":
        return text[1:-1]
    if node.type == "string":
        if any(child.type not in ('"', "string_content") for child in node.children):
            return None
        inner = text[1:-1]
        return None if re.search(r"[$`\\]", inner) else inner
    if node.type == "concatenation":
        parts = [_literal(child) for child in node.children]
        return None if None in parts else "".join(part for part in parts if part is not None)
    bare = re.sub(r"\\([ -~])", r"", text)
    if _SPECIAL.search(bare) or "\\" in bare:
        return None
    return re.sub(r"\\(.)", r"\1", text)


def _programs(root: "Node") -> Iterator[str]:
    for node in _walk(root):
        if node.type == "command_name":
            yield _text(node)


def _walk(node: "Node") -> Iterator["Node"]:
    yield node
    for child in node.children:
        yield from _walk(child)


_REASONS = {
    "pipeline": "it is a pipeline",
    "list": "it is more than one command",
    "redirected_statement": "it redirects",
    "command_substitution": "it substitutes the output of a command",
    "process_substitution": "it substitutes a process",
    "subshell": "it is a subshell",
    "simple_expansion": "it expands a variable",
    "expansion": "it expands a variable",
    "variable_assignment": "it sets a variable",
    "ansi_c_string": "it has $'…' quoting",
    "translated_string": 'it has $"…" quoting',
    "while_statement": "it is a loop",
    "for_statement": "it is a loop",
    "function_definition": "it defines a function",
    "arithmetic_expansion": "it computes",
    "heredoc_redirect": "it has a here-document",
    "herestring_redirect": "it has a here-string",
}


def _what(root: "Node") -> str:
    """What keeps the node from being one plain command, in words."""
    for node in _walk(root):
        if node.type in _REASONS:
            return _REASONS[node.type]
    if root.type == "program" and len(root.children) != 1:
        return "it is more than one command" if root.children else "it is empty"
    return "it has shell characters that are not quoted"


def _text(node: "Node") -> str:
    return (node.text or b"").decode()
