"""The kind `simulate`: the simulated long task, one journaled step each."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from tawny.clock import sleep
from tawny.domain.tasks import Effect, Json
from tawny.engine.kinds import Context, Kind, Result
from tawny.errors import PermanentError, TemporaryError

Post = Callable[[str, dict[str, Json], str], Awaitable[None]]
"""POSTs a JSON body to a URL with an `Idempotency-Key`, under the network list."""


class Simulate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`steps` of `step_seconds` each; `fail_at` fails there with `error` (`temporary` or `permanent`)."""

    steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10
    step_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 1.0
    fail_at: int | None = None
    error: str = "permanent"
    effect_url: str | None = None


def simulate(post: Post) -> Kind:
    """The kind, with its way to the outside."""

    async def run(ctx: Context, params: Simulate) -> Result:
        for number in range(1, params.steps + 1):
            await _one(ctx, params, number, post)
            await ctx.progress(number, params.steps, unit="steps", message=f"Step {number} of {params.steps}")
        return {"text": f"Simulated {params.steps} steps.", "steps": params.steps}

    return Kind(
        name="simulate",
        params=Simulate,
        run=run,
        description="The simulated long task: steps that sleep, report progress and may have an effect.",
        title=lambda params: f"Simulated task of {params.steps} steps",
    )


async def _one(ctx: Context, params: Simulate, number: int, post: Post) -> None:
    key = f"step-{number}"

    async def body() -> Json:
        if params.step_seconds:
            await sleep(ctx.clock, params.step_seconds)
        if params.fail_at == number:
            failure = TemporaryError if params.error == "temporary" else PermanentError
            raise failure(f"simulated {params.error} failure at step {number}")
        if params.effect_url is not None:
            document: dict[str, Json] = {"task_id": ctx.task.task_id, "step": number}
            await post(params.effect_url, document, ctx.idempotency_key(key))
        return number

    effect = Effect.IDEMPOTENT if params.effect_url is not None else Effect.PURE
    await ctx.step(key, body, input=number, effect=effect, name=f"Step {number}")
