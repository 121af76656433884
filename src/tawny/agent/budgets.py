"""Keeps turns within their budgets: a reservation before each model call, the true use after it."""

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from tawny.budgets import Budgets, BudgetScope
from tawny.clock import SECOND, Instant, to_datetime
from tawny.domain.budgets import Bounds, Use, Window, exceeded, is_nearly_used, waiting_text, widened, window
from tawny.domain.messages import Outgoing
from tawny.domain.sessions import LOCAL
from tawny.domain.tasks import Task, Usage
from tawny.engine.kinds import Context
from tawny.errors import Refused
from tawny.ledger import budgets, outbox
from tawny.ledger.database import Ledger, Tx
from tawny.models import prices
from tawny.models.spec import ModelSpec

_MICRO = 1_000_000
MILLISECOND = SECOND // 1000
_ACCOUNTS_HELD = 2000
_ANSWER_TOKENS = 2000
"""What an answer is taken to need before it is known."""


class Keeper:
    """The accounts of all scopes, in memory, with what is reserved now; every use is written through.

    Reservations are held in memory: whoever held one is gone with the process.
    """

    def __init__(self, ledger: Ledger, config: Budgets, *, zone: str) -> None:
        self._ledger = ledger
        self._config = config
        self._zone = ZoneInfo(zone)
        self._reserved: dict[str, dict[str, Use]] = {}
        self._used: dict[str, Use] = {}
        self._raised: dict[str, Use] = {}
        self._raises = ledger.bell.subscribe("budgets")
        self._windows: dict[str, Window] = {}
        self._opened: dict[str, Instant] = {}
        """When the window began that what is known of a scope belongs to."""

    def gate(self, ctx: Context, session: str) -> "BudgetGate":
        """The gate of one turn."""
        return BudgetGate(self, ctx, self.scopes(ctx.task, session))

    def scopes(self, task: Task, session: str) -> dict[str, Bounds]:
        """The scopes a turn counts against, and their bounds."""
        day = to_datetime(self._ledger.clock.now(), self._zone).date().isoformat()
        turn = msgspec.structs.replace(_bounds(self._config.turn), model_calls=0, tool_calls=0)
        scopes = {
            # The calls of a turn are counted by its run, which ends there.
            f"turn:{task.task_id}": turn,
            f"task:{task.task_id}": _narrower(_bounds(self._config.task), task),
            f"session:{session}": _bounds(self._config.session),
            f"owner:{task.owner}": _bounds(self._config.owner),
            f"day:{task.owner}:{day}": _bounds(self._config.day),
        }
        if task.automation_id:
            scopes[f"automation:{task.automation_id}"] = _bounds(self._config.automation)
        return {scope: bounds for scope, bounds in scopes.items() if not bounds.is_open}

    async def reserve(self, holder: str, scopes: Mapping[str, Bounds], want: Use) -> tuple[str, str] | None:
        """Hold `want` in every scope; else the scope in which it does not fit, and why."""
        if self._raises.is_set():
            self._raises.clear()
            self._raised.clear()
        now = self._ledger.clock.now()
        for scope in scopes:
            start = self._window(scope, now).start
            if self._opened.get(scope) != start:
                self._opened[scope] = start
                self._used.pop(scope, None)
                self._raised.pop(scope, None)
        unknown = [scope for scope in scopes if scope not in self._used or scope not in self._raised]
        if unknown:
            found = await self._ledger.read(lambda tx: [budgets.get(tx, scope) for scope in unknown])
            for account in (one.since(self._opened[one.scope]) for one in found):
                # What was booked meanwhile is in memory already, and newer than what was read.
                self._used.setdefault(account.scope, account.used)
                self._raised[account.scope] = account.raised
        # From here to the end nothing is awaited: what is checked is what is reserved.
        for scope, bounds in scopes.items():
            held = self._held(scope, but=holder)
            why = exceeded(widened(bounds, self._raised[scope]), self._used[scope], held, want)
            if why is not None:
                return scope, why
        for scope in scopes:
            self._reserved.setdefault(scope, {})[holder] = want
        return None

    def note(self, holder: str, scopes: Mapping[str, Bounds], used: Use) -> None:
        """Count the true use in place of what was reserved; `book` makes it durable."""
        self.release(holder, scopes)
        for scope in scopes:
            self._used[scope] = self._used.get(scope, Use()).plus(used)

    def book(self, scopes: Mapping[str, Bounds], used: Use) -> None:
        """Write down what was noted; durable with the commit that follows."""
        now = self._ledger.clock.now()

        def write(tx: Tx) -> None:
            for scope, bounds in scopes.items():
                account = budgets.add(tx, scope, used, since=self._window(scope, now).start, at=now)
                near = is_nearly_used(widened(bounds, account.raised), account.used)
                if near and not account.warned:
                    budgets.warn(tx, scope, near)

        self._ledger.note(write)
        while len(self._used) > _ACCOUNTS_HELD:
            forgotten = next(iter(self._used))
            self._used.pop(forgotten)
            self._raised.pop(forgotten, None)
            self._opened.pop(forgotten, None)

    def tell(self, task: Task, key: str, text: str) -> None:
        """Say to who asked from outside that the task waits; in the session itself the wait is seen."""
        target = task.origin.reply_to
        if not target or target.partition(":")[0] in LOCAL:
            return
        self._ledger.note(
            lambda tx: outbox.put(
                tx,
                task_id=task.task_id,
                transition=key,
                target=target,
                message=Outgoing(key="", text=text),
                severity="high",
            )
        )

    def release(self, holder: str, scopes: Mapping[str, Bounds]) -> None:
        """Let go of a reservation whose call was not made."""
        for scope in scopes:
            held = self._reserved.get(scope, {})
            held.pop(holder, None)
            if not held:
                self._reserved.pop(scope, None)

    def _held(self, scope: str, *, but: str) -> Use:
        total = Use()
        for holder, use in self._reserved.get(scope, {}).items():
            if holder != but:
                total = total.plus(use)
        return total

    def ends(self, scope: str) -> Instant | None:
        """When the scope begins anew by itself; `None` where it never does."""
        return self._window(scope, self._ledger.clock.now()).end or None

    def _window(self, scope: str, now: Instant) -> Window:
        kind = scope.partition(":")[0]
        found = self._windows.get(kind)
        if found is None or not found.start <= now < (found.end or now + 1):
            found = self._windows[kind] = window(scope, now, self._zone)
        return found


class BudgetGate:
    """Stands before each call of one turn."""

    def __init__(self, keeper: Keeper, ctx: Context, scopes: dict[str, Bounds]) -> None:
        self._keeper = keeper
        self._ctx = ctx
        self._scopes = scopes
        self._waits = 0
        self._noted = Use()
        self._at = ctx.clock.steady()

    async def before(self, number: int, tokens: int, specs: Sequence[ModelSpec]) -> None:
        """Reserve a call with about `tokens` of input; leaves memory while a budget is used up."""
        if not self._scopes:
            return
        await self._reserve(str(number), _call(tokens, specs))

    async def claim(self, number: int, tokens: int, specs: Sequence[ModelSpec]) -> None:
        """Reserve a model call that can be done without: nobody waits for a budget then.

        Raises:
            Refused: it does not fit.
        """
        if not self._scopes:
            return
        want = _call(tokens, specs)
        if short := await self._keeper.reserve(self._holder(str(number)), self._scopes, want):
            scope, why = short
            raise Refused(f"the model is not asked: {scope}: {why}", hint="raise the budget in [budgets]")

    async def before_tool(self, number: int) -> None:
        """Reserve a call of a tool."""
        if self._scopes:
            await self._reserve(f"tool{number}", Use(tool_calls=1, milliseconds=1))

    def after_tool(self, number: int) -> None:
        """Count a call of a tool that was made; written down with the next model call."""
        if self._scopes:
            self._note(f"tool{number}", Use(tool_calls=1))

    async def _reserve(self, number: str, want: Use) -> None:
        while short := await self._keeper.reserve(self._holder(number), self._scopes, want):
            await self._wait(number, *short)

    def _note(self, number: str, used: Use) -> None:
        now = self._ctx.clock.steady()
        used = used.plus(Use(milliseconds=(now - self._at) // MILLISECOND))
        self._at = now
        self._noted = self._noted.plus(used)
        self._keeper.note(self._holder(number), self._scopes, used)

    async def _wait(self, number: str, scope: str, why: str) -> None:
        self._waits += 1
        self._book()
        until = self._keeper.ends(scope)
        key, reason = f"budget:{number}:{self._waits}", f"{scope}: {why}"
        if not self._ctx.is_recorded(key):
            self._keeper.tell(self._ctx.task, key, waiting_text(scope, reason))
        await self._ctx.wait_budget(key, scope=scope, reason=reason, until=until)

    def after(self, number: int, usage: Usage) -> None:
        """Book what the call has used."""
        if self._scopes:
            used = Use(
                tokens=usage.input_tokens + usage.output_tokens,
                micro_usd=int((usage.cost or 0) * _MICRO),
                model_calls=1,
            )
            self._note(str(number), used)
            self._book()

    def _book(self) -> None:
        self._keeper.book(self._scopes, self._noted)
        self._noted = Use()

    def failed(self, number: int) -> None:
        """The call was not made after all."""
        self._keeper.release(self._holder(str(number)), self._scopes)

    def _holder(self, number: str) -> str:
        return f"{self._ctx.task.task_id}:{number}"


def _call(tokens: int, specs: Sequence[ModelSpec]) -> Use:
    """What a call with about so many tokens of input is taken to use; an unknown price is next to none.

    A failing model hands the call to the next, so the dearest of them counts: what is held is never too little.
    """
    priced = {(spec.provider, spec.model, spec.base_url): spec for spec in specs}.values()
    cost = max(prices.cost(spec, input_tokens=tokens, output_tokens=_ANSWER_TOKENS) or 0 for spec in priced)
    return Use(
        tokens=tokens + _ANSWER_TOKENS, model_calls=1, micro_usd=max(1, int(cost * _MICRO)), milliseconds=1
    )


def _bounds(scope: BudgetScope) -> Bounds:
    return Bounds(
        tokens=scope.tokens,
        micro_usd=int(scope.cost * _MICRO),
        model_calls=scope.model_calls,
        tool_calls=scope.tool_calls,
        milliseconds=int(scope.seconds * 1000),
    )


def _narrower(bounds: Bounds, task: Task) -> Bounds:
    """The task's own budget where it names one."""
    own = task.budget
    if own is None:
        return bounds
    return Bounds(
        tokens=own.tokens or bounds.tokens,
        micro_usd=int(own.cost * _MICRO) if own.cost else bounds.micro_usd,
        model_calls=own.model_calls or bounds.model_calls,
        tool_calls=own.tool_calls or bounds.tool_calls,
        milliseconds=int(own.seconds * 1000) if own.seconds else bounds.milliseconds,
    )
