"""The server's own word is found wherever the servers of this world put it."""

import pytest

from tawny.models.complaints import complaint

SAID = {
    "OpenAI": ({"message": "no such tool", "type": "invalid_request_error"}, "no such tool"),
    "OpenAI, whole": ({"error": {"message": "no such tool", "code": None}}, "no such tool"),
    "Anthropic": (
        {"type": "error", "error": {"type": "invalid_request_error", "message": "credit balance is too low"}},
        "credit balance is too low",
    ),
    "Google": ({"error": {"code": 400, "message": "API key not valid", "status": "X"}}, "API key not valid"),
    "Google, streaming": ([{"error": {"code": 400, "message": "API key not valid"}}], "API key not valid"),
    "Ollama": ({"error": "model not found"}, "model not found"),
    "FastAPI": ({"detail": "nobody home"}, "nobody home"),
    "FastAPI, fields": (
        {"detail": [{"loc": ["body", "n"], "msg": "too big"}, {"loc": ["body"], "msg": "missing"}]},
        "body.n: too big; body: missing",
    ),
    "vLLM": ({"object": "error", "message": "too long", "code": 40303}, "too long"),
    "plain words": (" no\n such thing ", "no such thing"),
    "a page": ("<!DOCTYPE html><html><head><title>502 Bad Gateway</title>", "a web page, “502 Bad Gateway”"),
    "a page without a title": ("<html><p>nothing</p>", "a web page"),
    "nothing": (None, ""),
    "numbers": ({"code": 1, "error": 5}, ""),
}


@pytest.mark.parametrize(("body", "word"), SAID.values(), ids=SAID)
def test_the_servers_own_word_is_found(body: object, word: str) -> None:
    assert complaint(body) == word


def test_what_never_ends_is_left() -> None:
    deep: object = "at the bottom"
    for _ in range(50):
        deep = {"error": deep}
    assert complaint(deep) == ""
