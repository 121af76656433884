"""What fires automations by time: one timer, no polling. Also settles ended runs and watches over itself."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tawny.clock import MINUTE, SECOND, Clock, Instant, format_duration, iso, sleep
from tawny.domain.messages import Outgoing
from tawny.engine import firing, settlement
from tawny.engine.stability import Stability
from tawny.ledger import automations, endings, events, outbox, standing
from tawny.ledger.automations import Automation
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import rounds

OVERDUE = 2 * MINUTE
_BATCH = 100
AT_ONCE = 10
"""So much of what is due at a start begins in the same instant; more of it follows in groups."""
GROUPS = 16
PAUSE = SECOND // 20
"""Between two groups: the last of the largest crowd begins within a second of the start."""

Look = Callable[[Automation], Awaitable[None]]
"""Looks at a watch once; see `engine/watches.py`."""


class Scheduler:
    """Acts on automations when they are due, and on the end of their work."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        workspace: Path,
        look: Look,
        stability: Stability,
        most_looks: int = 8,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._workspace = workspace
        self._look = look
        self._places = asyncio.Semaphore(most_looks)
        self._looking: set[str] = set()
        self._started_at: Instant = clock.now()
        self._has_caught_up = False
        self._stability = stability
        self.overdue_since: Instant | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        self._started_at = self._clock.now()
        self._has_caught_up = False
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settle_loop())
            group.create_task(self._self_check())
            await self._fire_loop(group)

    @property
    def is_looking(self) -> bool:
        """Whether a watch is being looked at."""
        return bool(self._looking)

    # --- due times

    async def _fire_loop(self, group: asyncio.TaskGroup) -> None:
        changed = self._ledger.bell.subscribe(standing.TOPIC)
        await rounds(self._clock, changed, lambda: self._pass(group), name="scheduler")

    async def _pass(self, group: asyncio.TaskGroup) -> Instant | None:
        """Act on all that is due; the next due time. In a restart storm its end rings the bell."""
        if self._stability.is_held:
            return None
        if not self._has_caught_up:
            await self._catch_up(group)
            self._has_caught_up = True
        while True:
            due = await self._ledger.read(automations.next_due)
            if due is None or due > self._clock.now():
                return due
            await self._act(group, _BATCH)

    async def _catch_up(self, group: asyncio.TaskGroup) -> None:
        """What is due at the start begins group by group, the first one at once: a crowd is not one instant's load."""
        now = self._clock.now()
        crowd = await self._ledger.read(lambda tx: automations.count_due(tx, now))
        size = max(AT_ONCE, -(-crowd // GROUPS))
        for begun in range(0, crowd, size):
            if begun:
                await sleep(self._clock, PAUSE / SECOND)
            await self._act(group, size)

    async def _act(self, group: asyncio.TaskGroup, most: int) -> None:
        for automation in await self._ledger.write(lambda tx: self._fire_batch(tx, most)):
            if automation.automation_id not in self._looking:
                self._looking.add(automation.automation_id)
                group.create_task(self._look_at(automation))

    def _fire_batch(self, tx: Tx, most: int) -> list[Automation]:
        """Fire schedules and tell silences; the watches to look at are returned, their next look set."""
        looks: list[Automation] = []
        for automation in automations.due(tx, tx.now, limit=most):
            if automation.spec.watch is not None:
                firing.set_next_look(tx, automation)
                looks.append(automation)
            elif automation.spec.expect is not None:
                firing.silence(tx, automation)
            else:
                firing.fire(tx, automation, started_at=self._started_at)
        return looks

    async def _look_at(self, automation: Automation) -> None:
        try:
            async with self._places:
                await self._look(automation)
        finally:
            self._looking.discard(automation.automation_id)

    # --- ended work

    async def _settle_loop(self) -> None:
        ended = self._ledger.bell.subscribe(endings.SETTLE_TOPIC)
        await rounds(self._clock, ended, self._settle_all, name="settlement")

    async def _settle_all(self) -> None:
        while await self._ledger.read(settlement.is_owed) and await self._ledger.write(self._settle):
            pass

    def _settle(self, tx: Tx) -> int:
        return settlement.settle_all(tx, changed=self._changed)

    def _changed(self, path: str) -> Instant | None:
        try:
            return (self._workspace / path).stat().st_mtime_ns // 1000
        except OSError:
            return None

    # --- the watch over itself

    async def _self_check(self) -> None:
        """When something is overdue by two minutes, say so loudly; quiet again when it is not."""
        changed = self._ledger.bell.subscribe(standing.TOPIC)
        await rounds(self._clock, changed, self._check, name="the watch over what is overdue")

    async def _check(self) -> Instant | None:
        """Look once; when to look again."""
        due = await self._ledger.read(automations.next_due)
        now = self._clock.now()
        is_late = due is not None and now - due >= OVERDUE and not self._stability.is_held
        if is_late and self.overdue_since is None:
            await self._ledger.write(_alarm)
            self.overdue_since = due
        elif not is_late and self.overdue_since is not None:
            await self._ledger.write(_all_clear)
            self.overdue_since = None
        again = None if due is None else max(due + OVERDUE, now + MINUTE if is_late else 0)
        return now + SECOND if again is not None and again <= now else again


def problems(tx: Tx) -> list[str]:
    """What is overdue by two minutes: readiness is red while there is any."""
    due = automations.next_due(tx)
    if due is None or tx.now - due < OVERDUE:
        return []
    late = automations.due(tx, tx.now - OVERDUE, limit=5)
    names = ", ".join(repr(automation.name) for automation in late)
    return [
        f"automations are overdue since {iso(due)} ({format_duration((tx.now - due) // SECOND * SECOND)}): {names}"
    ]


def _alarm(tx: Tx) -> None:
    text = next(iter(problems(tx)), "automations were overdue")
    events.append(tx, "system.overdue", {"text": text})
    outbox.put(
        tx,
        task_id=None,
        transition="system.overdue",
        target="default",
        message=Outgoing(key="", title="Overdue", text=text, severity="critical"),
        severity="critical",
        incident="system.overdue",
    )


def _all_clear(tx: Tx) -> None:
    outbox.close_incident(tx, "system.overdue")
    events.append(tx, "system.on_time", {})
