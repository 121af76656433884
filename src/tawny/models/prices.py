"""What a call cost, from the price data that ships with `genai-prices`; a price nobody knows is `None`."""

from tawny.models.spec import ModelSpec

_IDS = {"openai": "openai", "anthropic": "anthropic", "google": "google"}


def cost(spec: ModelSpec, *, input_tokens: int, output_tokens: int) -> float | None:
    """US dollars; 0 for the built-in model, `None` where no price is known (a server of one's own, say)."""
    if spec.provider in ("demo", "scripted"):
        return 0.0
    if spec.base_url or spec.provider not in _IDS:
        return None
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - 14 MB of data, loaded with the first paid call

    try:
        price = calc_price(
            Usage(input_tokens=input_tokens, output_tokens=output_tokens),
            model_ref=spec.model,
            provider_id=_IDS[spec.provider],
        )
    except (LookupError, ValueError):
        return None
    return float(price.total_price)
