"""A plain completion: words in, words out, no tools."""

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelMessage, ModelRequest, SystemPromptPart, TextPart, UserPromptPart

from tawny.domain.tasks import Usage
from tawny.engine.kinds import Context
from tawny.models import prices
from tawny.models.router import Router


async def complete(ctx: Context, router: Router, system: str, prompt: str) -> str:
    """The model's answer. Call it within a step of `ctx`: it is paid for each time it is called."""
    request: list[ModelMessage] = [ModelRequest(parts=[SystemPromptPart(system), UserPromptPart(prompt)])]

    async def call() -> tuple[str, int, int]:
        async with model_request_stream(router, request) as stream:
            async for _ in stream:
                pass
            response = stream.get()
        said = "".join(part.content for part in response.parts if isinstance(part, TextPart))
        return said, response.usage.input_tokens, response.usage.output_tokens

    (said, tokens_in, tokens_out), spec = await router.attempt(call, retrying=lambda: None)
    ctx.spend(
        Usage(
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cost=prices.cost(spec, input_tokens=tokens_in, output_tokens=tokens_out),
            model_calls=1,
        )
    )
    return said
