"""What calls cost."""

import pytest

from tawny.models.prices import cost
from tawny.models.spec import ModelSpec


@pytest.mark.parametrize(
    ("provider", "model", "dollars"),
    [
        ("openai", "gpt-4o", 0.0025 + 0.01),
        ("anthropic", "claude-sonnet-4-5", 0.003 + 0.015),
        ("google", "gemini-2.5-pro", 0.00125 + 0.01),
    ],
)
def test_a_call_costs_what_its_provider_asks_for(provider: str, model: str, dollars: float) -> None:
    spec = ModelSpec(provider=provider, model=model)
    assert cost(spec, input_tokens=1000, output_tokens=1000) == pytest.approx(dollars)
    assert cost(spec, input_tokens=0, output_tokens=0) == 0


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(provider="openai", model="no-such-model-of-anyone"),
        ModelSpec(provider="openai", model="gpt-4o", base_url="http://127.0.0.1:8080/v1"),
        ModelSpec(provider="ollama", model="gpt-4o"),
    ],
)
def test_a_price_nobody_knows_is_none(spec: ModelSpec) -> None:
    assert cost(spec, input_tokens=1000, output_tokens=1000) is None


@pytest.mark.parametrize("provider", ["demo", "scripted"])
def test_the_built_in_models_are_free(provider: str) -> None:
    assert cost(ModelSpec(provider=provider, model=provider), input_tokens=1000, output_tokens=1000) == 0
