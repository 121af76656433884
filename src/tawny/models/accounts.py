"""Which accounts may be asked now. Failures rest an account, for longer each time, and that outlives a restart."""

from collections.abc import Mapping

from tawny.clock import Clock, Instant
from tawny.domain.cooldown import Rest, after_failure, probe
from tawny.ledger import rests
from tawny.ledger.database import Ledger
from tawny.log import Log
from tawny.models.failures import ModelFailure

_log = Log("models.accounts")


class Accounts:
    """The state of every account, held in memory and written through to the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rests: dict[str, Rest] | None = None

    async def _loaded(self) -> dict[str, Rest]:
        if self._rests is None:
            self._rests = await self._ledger.read(rests.load)
        return self._rests

    async def states(self) -> Mapping[str, Rest]:
        """Accounts with failures behind them."""
        return dict(await self._loaded())

    async def claim(self, account: str) -> Instant | None:
        """`None` when the account may be asked now; else until when it rests.

        An account whose rest is over is lent to one caller, who probes it; the others wait another window.
        """
        known = await self._loaded()
        rest = known.get(account)
        if rest is None:
            return None
        trying = probe(rest, self._clock.now())
        if trying is None:
            return rest.until
        known[account] = trying
        await self._ledger.write(lambda tx: rests.save(tx, trying))
        return None

    async def failed(self, account: str, failure: ModelFailure) -> None:
        known = await self._loaded()
        rest = after_failure(
            known.get(account),
            account=account,
            reason=failure.kind,
            now=self._clock.now(),
            retry_after=failure.retry_after,
        )
        known[account] = rest
        _log.warning("account rests", account=account, reason=rest.reason, strikes=rest.strikes)
        await self._ledger.write(lambda tx: rests.save(tx, rest))

    async def succeeded(self, account: str) -> None:
        known = await self._loaded()
        if known.pop(account, None) is not None:
            await self._ledger.write(lambda tx: rests.clear(tx, account))
