"""The kind `remind`: says a text; when and to whom is its schedule's and its delivery's matter."""

from typing import Annotated

import msgspec

from tawny.domain.messages import Button
from tawny.domain.tasks import Json
from tawny.engine.kinds import Context, Kind, Result


class Remind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`buttons` stand under the text: `url` opens, `value` comes back as what the person chose."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
    buttons: Annotated[tuple[Button, ...], msgspec.Meta(max_length=10)] = ()


async def _run(_: Context, params: Remind) -> Result:
    result: dict[str, Json] = {"text": params.text}
    if params.buttons:
        result["buttons"] = msgspec.to_builtins(params.buttons)
    return result


remind = Kind(
    name="remind",
    params=Remind,
    run=_run,
    speaks=True,
    description="Says a text at its time.",
    title=lambda params: f"Reminder: {params.text[:60]}",
)
