"""Looks at watches: probes, decides, keeps the state, and starts the action when the condition comes to hold.

A look that changes nothing writes nothing but its next time, and asks no model.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tawny.clock import Clock
from tawny.domain import holes, watching
from tawny.domain.expressions import EvaluationError
from tawny.domain.origin import merge, read_from
from tawny.domain.tasks import Json, Origin
from tawny.engine import firing
from tawny.errors import NotFound, TawnyError
from tawny.ledger import automations, occurrences, outbox, standing
from tawny.ledger.automations import Automation
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import outlast
from tawny.log import Log

T = TypeVar("T")
_log = Log("engine.watches")

Probe = Callable[[Automation, Mapping[str, Json]], Awaitable[Json]]
"""Reads what a watch looks at. Raises `TawnyError` when it does not answer."""


class Watches:
    """The scheduler's eyes."""

    def __init__(self, ledger: Ledger, clock: Clock, probe: Probe) -> None:
        self._ledger = ledger
        self._clock = clock
        self._probe = probe

    async def look(self, automation: Automation) -> None:
        """Look once; never raises for what the probe or the condition does."""
        watch = automation.spec.watch
        assert watch is not None
        if self._is_night(automation):
            return
        try:
            # A probe may read the ledger: that being away is not the watched place's failure.
            observed = await self._outlast(lambda: self._probe(automation, watch.probe))
        except TawnyError as error:
            problem = error.message
            await self._write(lambda tx: _failed(tx, automation.automation_id, problem))
            return
        except Exception as error:  # noqa: BLE001 - a probe is a stranger's code or content; the failure is recorded
            _log.error("probe failed", exc=error, automation_id=automation.automation_id)
            problem = f"{type(error).__name__}: {error}"
            await self._write(lambda tx: _failed(tx, automation.automation_id, problem))
            return
        if self._is_quiet(automation, observed):
            return
        await self._write(lambda tx: _take(tx, automation.automation_id, observed))

    async def _write(self, fn: Callable[[Tx], None]) -> None:
        """Write what was seen, however long the disk refuses: the next look may be hours away."""
        await self._outlast(lambda: self._ledger.write(fn))

    async def _outlast(self, work: Callable[[], Awaitable[T]]) -> T:
        return await outlast(self._clock, work, name="watches")

    def _is_night(self, automation: Automation) -> bool:
        """Outside its active hours a watch does not look: what has changed by then is seen in the morning."""
        now = self._clock.now()
        return firing.opening(automation, now) > now

    def _is_quiet(self, automation: Automation, observed: Json) -> bool:
        """Whether this look leaves everything as it was, so that nothing needs to be written."""
        watch = automation.spec.watch
        assert watch is not None
        if watching.failures(automation.state):
            return False
        try:
            step = watching.step(watch, automation.state, observed)
        except EvaluationError:
            return False
        return not step.fires and step.state == automation.state


def _take(tx: Tx, automation_id: str, observed: Json) -> None:
    try:
        automation = automations.get(tx, automation_id)
    except NotFound:
        return  # it was removed while the probe was on its way
    watch = automation.spec.watch
    if watch is None or automation.status != "active":
        return
    if watching.failures(automation.state):
        outbox.close_incident(tx, f"automation:{automation_id}:probe")
    try:
        step = watching.step(watch, automation.state, observed)
    except EvaluationError as error:
        firing.alert(tx, automation, f"its condition fails: {error}", cause="condition")
        standing.set_state(tx, automation_id, {**automation.state, "failed": 0, "error": str(error)})
        return
    state = step.state
    if step.fires:
        slot = occurrences.free_slot(tx, automation_id, tx.now)
        reason = f"{watch.condition} ({_brief(step.names['value'])})"
        origin = _origin(automation)
        task = firing.start(
            tx, automation, slot=slot, status="ran", reason=reason, names=step.names, origin=origin
        )
        if task is None:
            # nothing has run: what the last run saw is still what the next one is compared with
            state = {**state, "baseline": automation.state.get("baseline", state["baseline"])}
        if watch.rearm == "once":
            state = {**state, "over": True}
            standing.set_due(tx, automation_id, None)
    standing.set_state(tx, automation_id, state)


def _brief(value: Json) -> str:
    return str(value)[:100]


def _origin(automation: Automation) -> Origin:
    """What a probe has read is nobody's word, least of all the owner's; it counts where it fills anything in."""
    base = firing.origin_of(automation)
    if not holes.has_holes(automation.spec.action.parameters):
        return base
    probe = automation.spec.watch.probe if automation.spec.watch else {}
    what = f"{probe.get('type')} {probe.get('url') or probe.get('name') or probe.get('path') or ''}".strip()
    return merge(base, read_from(f"watched {what}"))


def _failed(tx: Tx, automation_id: str, problem: str) -> None:
    try:
        automation = automations.get(tx, automation_id)
    except NotFound:
        return
    state = watching.failed(automation.state, problem)
    standing.set_state(tx, automation_id, state)
    watch = automation.spec.watch
    if watch is not None and watching.failures(state) == watch.alert_after:
        text = f"cannot be looked at, {watch.alert_after} times in a row: {problem}"
        firing.alert(tx, automation, text, cause="probe")
