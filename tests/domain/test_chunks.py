import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tawny.domain.chunks import chunk, units


def fences_balance(piece: str) -> bool:
    opened = ""
    for line in piece.split("\n"):
        bare = line.strip()
        if bare.startswith("```"):
            if not opened:
                opened = bare[: len(bare) - len(bare.lstrip("`"))]
            elif set(bare) == {"`"} and len(bare) >= len(opened):
                opened = ""
    return not opened


def test_short_text_is_one_piece():
    assert chunk("hello", 100) == ["hello"]


def test_empty_text_gives_no_piece():
    assert chunk("\n\n", 100) == []


def test_a_cut_prefers_paragraphs_then_lines_then_sentences_then_words():
    assert chunk("a" * 30 + "\n\n" + "b" * 30, 40) == ["a" * 30, "b" * 30]
    assert chunk("a" * 30 + "\n" + "b" * 30, 40) == ["a" * 30, "b" * 30]
    assert chunk("One is here, long. " + "Two " * 8, 40)[0] == "One is here, long."
    assert chunk("word " * 20, 32)[0] == ("word " * 6).strip()


def test_an_open_fence_is_closed_and_opened_again_with_its_language():
    code = "\n".join(f"line_{number} = {number}" for number in range(20))
    pieces = chunk(f"Look:\n\n```python\n{code}\n```\n\nThat is all.", 120)
    assert len(pieces) > 2
    assert all(fences_balance(piece) for piece in pieces)
    assert all("line_" not in piece or "```python" in piece for piece in pieces)
    lines = [line for piece in pieces for line in piece.split("\n") if line.startswith("line_")]
    assert "\n".join(lines) == code


def test_a_fence_of_four_is_not_closed_by_three():
    pieces = chunk("````md\n```\n" + "x\n" * 60 + "```\n````", 64)
    assert all(piece.startswith("````") and piece.endswith("````") for piece in pieces)


def test_characters_outside_the_basic_plane_count_twice():
    assert units("a😀") == 3
    assert all(units(piece) <= 40 for piece in chunk("😀" * 100, 40))


def test_a_joined_emoji_is_not_torn_apart():
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    pieces = chunk(family * 12, 33)
    assert all(not piece.startswith("\u200d") for piece in pieces)


def test_a_limit_too_small_is_refused():
    with pytest.raises(ValueError, match="too small"):
        chunk("text", 5)


texts = st.lists(
    st.sampled_from(
        [
            "word",
            "a longer sentence. ",
            "\n",
            "\n\n",
            "```",
            "```py\n",
            "\n```\n",
            "~~~\n",
            "😀",
            "é",
            " ",
            "x" * 50,
        ]
    ),
    max_size=60,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(texts, st.integers(min_value=32, max_value=200))
def test_no_piece_is_too_long_and_no_word_is_lost(text: str, limit: int):
    pieces = chunk(text, limit)
    assert all(0 < units(piece) <= limit for piece in pieces)

    def bare(value: str) -> str:
        return "".join(value.replace("`", "").replace("~", "").split())

    # A fence is opened again in every piece, its language with it; beyond that nothing comes in, and nothing is lost.
    said = iter(bare("".join(pieces)))
    assert all(sign in said for sign in bare(text))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("abc xyz", min_size=1, max_size=30), min_size=1, max_size=40), st.integers(40, 120))
def test_code_is_in_a_fence_in_every_piece(lines: list[str], limit: int):
    text = "```\n" + "\n".join(line or "." for line in lines) + "\n```"
    for piece in chunk(text, limit):
        assert piece.startswith("```")
        assert piece.endswith("```")


SIGNS = (
    "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "e\u0301", "\u0e19\u0e49", "\u0928\u093f",
    "\u0915\u094d\u0937", "\u1112\u1161\u11ab", "\u2764\ufe0f", "x", "\u5b57", "\u05e9\u05b8",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SIGNS), min_size=1, max_size=60), st.integers(32, 40))
@example([SIGNS[0]] * 40, 33)
@example([SIGNS[4]] * 20, 33)
def test_no_sign_that_people_see_as_one_is_torn_apart(signs: list[str], limit: int):
    pieces = chunk("".join(signs), limit)
    assert "".join(pieces) == "".join(signs)
    assert max(map(units, pieces)) <= limit
    between = set(itertools.accumulate(map(len, signs)))
    assert set(itertools.accumulate(map(len, pieces))) <= between


def test_a_heap_of_marks_is_cut_where_it_must_be():
    pieces = chunk("a" + "\u0301" * 500, 32)
    assert "".join(pieces) == "a" + "\u0301" * 500
    assert len(pieces) < 20
