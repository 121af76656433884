"""A model's plain answer, without tools or history: for kinds of task that let it rank, write or read."""

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelMessage, ModelRequest, SystemPromptPart, TextPart, UserPromptPart

from tawny.domain.tasks import Usage
from tawny.engine.kinds import Context
from tawny.errors import TemporaryError
from tawny.models import prices
from tawny.models.failures import ModelFailure, ModelsUnavailable
from tawny.models.router import Router


async def ask(ctx: Context, router: Router, *, system: str, prompt: str) -> str:
    """The model's text; what it used is spent on the run.

    Raises:
        TemporaryError: no account answered, or the model could not.
    """
    messages: list[ModelMessage] = [ModelRequest(parts=[SystemPromptPart(system), UserPromptPart(prompt)])]

    async def call() -> tuple[str, int, int]:
        async with model_request_stream(router, messages) as stream:
            async for _ in stream:
                pass
            response = stream.get()
        said = "".join(part.content for part in response.parts if isinstance(part, TextPart))
        return said, response.usage.input_tokens, response.usage.output_tokens

    try:
        (said, tokens_in, tokens_out), spec = await router.attempt(call, retrying=lambda: None)
    except (ModelFailure, ModelsUnavailable) as error:
        raise TemporaryError(f"the model did not answer: {error}") from error
    cost = prices.cost(spec, input_tokens=tokens_in, output_tokens=tokens_out)
    ctx.spend(Usage(input_tokens=tokens_in, output_tokens=tokens_out, cost=cost, model_calls=1))
    return said
