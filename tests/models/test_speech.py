"""Thoughts in tags and halves of characters, in whatever pieces they come: heard live as in the whole answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart

from tawny.models.speech import Speech, sound


def live(pieces: list[str]) -> str:
    """What a listener has on the screen at the end."""
    shown: list[str] = []

    def tell(text: str, kind: str) -> None:
        if kind == "void":
            shown.clear()
        else:
            shown.append(text)

    speech = Speech(tell)
    for piece in pieces:
        speech.hear(piece)
    speech.end()
    return "".join(shown)


def words(text: str) -> str:
    return "".join(
        part.content for part in sound(ModelResponse([TextPart(text)])).parts if isinstance(part, TextPart)
    )


SAID = [
    ("plain words", "plain words"),
    ("<think>hm</think>fin", "fin"),
    ("\n<think>\nhm\n</think>\n\nfin", "fin"),
    ("<think>one</think>\n<think>two</think> fin", "fin"),
    ("<think>never closed", ""),
    ("I wonder.\nYes.\n</think>\n\nfin", "fin"),
    ("I wonder.</think> \nfin\n", "fin\n"),
    ("the tag `</think>` ends a thought", "the tag `</think>` ends a thought"),
    ("write\n<think>\nhm\n</think>\nfor a thought", "write\n<think>\nhm\n</think>\nfor a thought"),
    ("<thinking> is another tag", "<thinking> is another tag"),
    ("  <", "  <"),
    ("a < b", "a < b"),
    ("\ud83d\ude00 ok", "\N{GRINNING FACE} ok"),
    ("half \ud83d", "half \N{REPLACEMENT CHARACTER}"),
    ("\ude00 half", "\N{REPLACEMENT CHARACTER} half"),
    ("<think>\ud83d</think>\ud83d\ude00", "\N{GRINNING FACE}"),
]


@pytest.mark.parametrize(("text", "heard"), SAID)
def test_only_words_are_said(text: str, heard: str) -> None:
    assert words(text) == heard
    for cut in range(len(text) + 1):
        assert live([text[:cut], text[cut:]]) == heard, cut
    assert live(list(text)) == heard


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "\n", " ", "<", "a", "\ud83d", "\ude00"]), max_size=12)
)
def test_what_is_heard_live_is_what_was_said(bits: list[str]) -> None:
    text = "".join(bits)
    for pieces in (bits, list(text), ["".join(bits[n : n + 2]) for n in range(0, len(bits), 2)]):
        assert live(pieces) == words(text)
    live(bits).encode()


def test_thoughts_are_kept_as_thoughts_and_calls_are_whole() -> None:
    calls = [ToolCallPart("a", '{"q": "\ud83d"}'), ToolCallPart("b", {"q": ["\ud83d\ude00"]})]
    answer = sound(ModelResponse([TextPart("<think> hm </think>fin"), ThinkingPart("\ud83d"), *calls]))
    assert [part.content for part in answer.parts[:3]] == ["hm", "fin", "\N{REPLACEMENT CHARACTER}"]  # type: ignore[union-attr]
    assert [part.args for part in answer.parts[3:]] == [  # type: ignore[union-attr]
        '{"q": "\N{REPLACEMENT CHARACTER}"}',
        {"q": ["\N{GRINNING FACE}"]},
    ]


def test_each_call_of_an_answer_has_an_id_of_its_own() -> None:
    calls = [ToolCallPart("look", {}, tool_call_id=name) for name in ("c", "c", "c-2", "d")]
    made = [part.tool_call_id for part in sound(ModelResponse(calls)).parts if isinstance(part, ToolCallPart)]
    assert made == ["c", "c-2", "c-2-2", "d"]
