"""Times as people say them: the grammar answers at once; what it does not know is put to the configured model."""

import asyncio
import contextlib
from typing import Annotated, Any, Literal

import msgspec

from tawny.domain import phrases
from tawny.domain.phrases import NotUnderstood
from tawny.domain.tasks import Task
from tawny.engine import automations as engine
from tawny.engine import commands
from tawny.engine.spoken import KIND, asking, reading
from tawny.errors import Conflict, TemporaryError
from tawny.gateway.automations import Preview
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ, WRITE
from tawny.gateway.site import Site
from tawny.ledger import tasks
from tawny.ledger.submission import submit

HOLD = 60.0
"""Seconds a caller is held for the model's reading."""


class Phrase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time as people say it: `every weekday at 8`."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    timezone: str | None = None


class Reading(Preview):
    """What was understood, by whom, with its next times. What a model has read wants a person's yes: `confirm`."""

    text: str = ""
    by: Literal["grammar", "model"] = "grammar"
    confirm: bool = False


async def parse(call: Call[Nothing, Phrase]) -> dict[str, Any]:
    """A model costs money: it is asked only for those who may also start work."""
    text, site = call.body.text, call.site
    zone = call.body.timezone or site.limits.zone
    by = "grammar"
    try:
        schedule = phrases.parse(text, now=site.clock.now(), timezone=zone).schedule
    except NotUnderstood:
        if WRITE not in call.principal.scopes or KIND not in site.kinds or site.config.model.name == "demo":
            raise
        by = "model"
        schedule, _ = reading(await _asked(site, call, zone))
    shown = engine.preview(schedule, now=site.clock.now(), timezone=zone)
    return {**shown, "text": text, "by": by, "confirm": by == "model"}


async def _asked(site: Site, call: Call[Nothing, Phrase], zone: str) -> Task:
    """The ended task that has put it to the model."""
    who = call.principal
    submission = asking(
        call.body.text,
        timezone=zone,
        owner="owner" if who.is_owner else who.name,
        origin=who.origin(call.via),
    )
    ended = site.ledger.bell.subscribe("ended")
    try:
        task = await site.ledger.write(
            lambda tx: submit(tx, submission, actor=who.actor, limits=site.limits), urgent=True
        )
        return await _end(site, task, ended)
    finally:
        site.ledger.bell.unsubscribe(ended)


async def _end(site: Site, task: Task, ended: asyncio.Event) -> Task:
    task_id = task.task_id
    try:
        async with asyncio.timeout(HOLD):
            while not task.status.is_terminal:
                await ended.wait()
                ended.clear()
                task = await site.ledger.read(lambda tx: tasks.get(tx, task_id))
    except TimeoutError:
        with contextlib.suppress(Conflict):  # it ended just now, and nobody waits for it any more
            await site.ledger.write(lambda tx: commands.cancel(tx, task_id, reason="nobody waits for it"))
        raise TemporaryError(
            "the model has not answered in time", hint="write it as cron, every or at"
        ) from None
    return task


OPERATION = Operation(
    name="automations.parse",
    method="POST",
    path="/v1/automations/parse",
    scope=READ,
    summary="A time as people say it, as a schedule; what a model has read is to be confirmed",
    body=Phrase,
    answer=Reading,
    errors=(403, 429, 503),
    act=parse,
)
