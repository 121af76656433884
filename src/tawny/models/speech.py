"""What a model says, without what is for nobody's ears: thoughts it speaks aloud in tags, halves of characters.

The library knows a tag that comes alone in its piece; many servers send pieces of other sizes, and templates that write
the opening tag into the prompt leave the closing one alone.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import (
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

_OPEN, _CLOSE = "<think>", "</think>"
_THOUGHT = re.compile(r"\s*<think>(.*?)(?:</think>\s*|\Z)", re.DOTALL)
_LONE_CLOSE = re.compile(r"</think>[ \t]{0,8}\n\s*")
_WINDOW = 32
"""Characters in which a tag and the end of its line are seen, whatever pieces they come in."""
_HALF = re.compile("[\ud800-\udfff]")
_FIRST_HALF = re.compile("[\ud800-\udbff]\\Z")


def whole(text: str) -> str:
    """The text with halves of one character put together, and those that stay alone replaced (U+FFFD)."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Speech:
    """One text while it comes in: passes on what is said, as soon as it is sure to be."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._held = ""
        self._thinks = False
        self._speaks = False
        """Whether a word has come that is no thought."""
        self._told_apart = False
        """Whether thoughts have been told from words already; else a closing tag may come that stands alone."""
        self._tail = ""

    def hear(self, piece: str) -> None:
        """Take one more piece."""
        text, self._held = self._held + piece, ""
        half = ""
        if _FIRST_HALF.search(text):
            text, half = text[:-1], text[-1]
        self._take(whole(text))
        self._held += half

    def end(self) -> None:
        """Nothing more comes: what was held back is said after all."""
        held, self._held = whole(self._held), ""
        if self._told_apart and not self._speaks:
            held = held.lstrip()
        if held and not self._thinks:
            self._say(held)

    def _take(self, text: str) -> None:
        while text and not self._speaks:
            if self._thinks:
                _, closed, after = text.partition(_CLOSE)
                if not closed:
                    # The end of the tag may be still to come.
                    self._held = text[1 - len(_CLOSE) :]
                    return
                self._thinks, text = False, after
                continue
            begun = text.lstrip()
            if begun.startswith(_OPEN):
                self._thinks = self._told_apart = True
                text = begun[len(_OPEN) :]
            elif _OPEN.startswith(begun):
                # Spaces are no word yet, and a tag may follow them.
                self._held = text
                return
            else:
                self._speaks = True
                text = begun if self._told_apart else text
        if text:
            self._say(text)

    def _say(self, text: str) -> None:
        if not self._told_apart:
            seen, self._tail = self._tail + text, (self._tail + text)[-_WINDOW:]
            lone = _LONE_CLOSE.search(seen)
            if _OPEN in seen[: lone.start() if lone else None]:
                self._told_apart = True
            elif lone is not None:
                # All of it was thought aloud: the opening tag stood in the prompt.
                self._told_apart = True
                self._speaks = False
                self._tell("", "void")
                self._take(seen[lone.end() :])
                return
        self._tell(text, "text")


def sound(answer: ModelResponse) -> ModelResponse:
    """The answer with thoughts told from words, no halves of characters, and an id of its own for each call."""
    parts: list[ModelResponsePart] = []
    ids: set[str] = set()
    for part in answer.parts:
        if isinstance(part, TextPart):
            parts.extend(_told_apart(part))
        elif isinstance(part, ThinkingPart):
            parts.append(replace(part, content=whole(part.content)))
        elif isinstance(part, ToolCallPart):
            call_id = whole(part.tool_call_id)
            while call_id in ids:
                call_id += "-2"
            ids.add(call_id)
            parts.append(
                replace(
                    part,
                    tool_name=whole(part.tool_name),
                    args=_whole_arguments(part),
                    tool_call_id=call_id,
                )
            )
        else:
            parts.append(part)
    return replace(answer, parts=parts)


def _told_apart(part: TextPart) -> list[ModelResponsePart]:
    text = whole(part.content)
    thoughts: list[str] = []
    lone = _LONE_CLOSE.search(text)
    if lone is not None and _OPEN not in text[: lone.start()]:
        thoughts.append(text[: lone.start()].strip())
        text = text[lone.end() :]
    while found := _THOUGHT.match(text):
        thoughts.append(found[1].strip())
        text = text[found.end() :]
    if not thoughts:
        return [part if text == part.content else replace(part, content=text)]
    told: list[ModelResponsePart] = [ThinkingPart("\n".join(thoughts))] if any(thoughts) else []
    return [*told, replace(part, content=text)] if text else told


def _whole_arguments(part: ToolCallPart) -> str | dict[str, Any] | None:
    if part.args is None or isinstance(part.args, str):
        return part.args if part.args is None else whole(part.args)
    written = json.dumps(part.args, ensure_ascii=False)
    return part.args if _HALF.search(written) is None else json.loads(whole(written))
