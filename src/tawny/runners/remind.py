"""The kind `remind`: says a text; when and to whom is its schedule's and its delivery's matter."""

from typing import Annotated

import msgspec

from tawny.engine.kinds import Context, Kind, Result


class Remind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]


async def _run(_: Context, params: Remind) -> Result:
    return {"text": params.text}


remind = Kind(
    name="remind",
    params=Remind,
    run=_run,
    description="Says a text at its time.",
    title=lambda params: f"Reminder: {params.text[:60]}",
)
