"""Holding an answer until a task rests: its end, or a question that only a person may answer."""

import asyncio

import msgspec

from tawny.domain.tasks import TERMINAL, Status
from tawny.errors import TawnyError, first_of
from tawny.gateway.feed import Device, Frame, filter_of
from tawny.gateway.mcp.caller import Caller, Json
from tawny.gateway.sessions import HOLD

_RESTS = frozenset({"task.waiting", *(f"task.{status.value}" for status in TERMINAL)})


def rests(document: Json) -> bool:
    """Nothing more comes without a person, or at all."""
    if Status(document["status"]) in TERMINAL:
        return True
    waiting: Json | None = document["waiting_for"]
    return waiting is not None and waiting.get("kind") in ("approval", "reconcile", "budget")


async def until_rest(caller: Caller, task_id: str, *, hold: float | None = HOLD, ended: bool = False) -> Json:
    """The task's document when it rests (or has `ended`), or after `hold` seconds; what happens is told meanwhile.

    A caller who leaves, or loses the right to look, is no longer waited for.
    """
    site = caller.site
    rested = _has_ended if ended else rests
    teller = _Teller(caller)
    async with site.feed.device(after=site.feed.last_seq, filter=filter_of("task", task_id)) as device:
        detach = site.keyring.attach(caller.principal, device.close)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_leave(caller, device))
                document = await caller.perform("tasks.get", {"id": task_id})
                if not rested(document):
                    await caller.open()
                try:
                    async with asyncio.timeout(hold):
                        while not rested(document) and not device.closed:
                            if await teller.tell(await device.frames()):
                                document = await caller.perform("tasks.get", {"id": task_id})
                except TimeoutError:
                    document = await caller.perform("tasks.get", {"id": task_id})
                watching.cancel()
        except ExceptionGroup as group:
            raise first_of(group, TawnyError) or group from None
        finally:
            detach()
    return document


async def _leave(caller: Caller, device: Device) -> None:
    await caller.gone()
    device.close()


def _has_ended(document: Json) -> bool:
    return Status(document["status"]) in TERMINAL


class _Teller:
    """Passes on what happens to a task; progress only ever grows, as the protocol wants it."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._highest = -1.0

    async def tell(self, frames: list[Frame]) -> bool:
        """Whether the task is worth another look."""
        changed = False
        for frame in frames:
            data: Json = msgspec.json.decode(frame.json)["data"]
            if frame.type == "task.progress":
                await self._progress(data.get("progress") or data)
            else:
                changed = changed or frame.type in _RESTS
                await self._caller.log("info", {"type": frame.type, "task_id": frame.task_id, "data": data})
        return changed

    async def _progress(self, progress: Json) -> None:
        current = progress.get("current")
        if isinstance(current, (int, float)) and current > self._highest:
            self._highest = current
            await self._caller.progress(current, progress.get("total"), progress.get("message") or "")
