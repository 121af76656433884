"""Brings what the outbox owes to people, in order, and writes down what became of it.

An intent is committed before each send and a receipt after it. What certainly was not sent is tried again; what nobody
can know is asked of the channel, else it stands there as unknown. Nothing polls: the bell rings when a line is added,
one timer waits for the next due one.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TypeVar

import msgspec

from tawny.clock import SECOND, Clock, Instant
from tawny.delivery.channel import AmbiguousSend, Channel, ChannelDown
from tawny.delivery.compose import compose
from tawny.delivery.roster import Roster, Route
from tawny.domain import notify
from tawny.domain.messages import Outgoing, Receipt
from tawny.errors import NotFound, PermanentError, TemporaryError
from tawny.ids import new_id
from tawny.ledger import artifacts, channels, deliveries, outbox
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import outlast, rounds
from tawny.ledger.outbox import Line
from tawny.log import Log

_log = Log("delivery")
_HANGS_AFTER = 120.0
_GRACE = 5.0
_TELL_OUTAGE_AT = 4

T = TypeVar("T")
Settle = Callable[[Tx], None]


class _Repeatable(TemporaryError):
    """Nobody knows whether it arrived, and the other side drops a repeat."""


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """When the person wants to hear things; `breaks` is the severity that gets through. `digest` in µs, 0 is none."""

    quiet: notify.QuietHours | None = None
    digest: int = 0
    breaks: str = "high"
    zone: tzinfo = UTC


class Dispatcher:
    """The one reader of the outbox. `parallel` sends at once per channel."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        roster: Roster,
        manners: Manners | None = None,
        *,
        parallel: int = 8,
        artifacts_root: Path | None = None,
    ) -> None:
        self._ledger = ledger
        self._artifacts_root = artifacts_root
        self._clock = clock
        self._roster = roster
        self._manners = manners or Manners()
        self._parallel = parallel
        self._sender = new_id("send", clock.now())
        self._busy: set[str] = set()
        self._slots: dict[str, asyncio.Semaphore] = {}
        # Whatever an earlier process was told of a channel is over with the first message that arrives.
        self._troubled = set(roster.channels)
        self._bell = ledger.bell.subscribe("outbox")
        self._idle = asyncio.Event()
        self._resting = False

    async def run(self) -> None:
        """Deliver until cancelled; then finish what is being sent, for five seconds at most."""
        async with asyncio.TaskGroup() as group:
            # Asking takes as long as the slowest channel; no other message waits for that.
            group.create_task(self._recover())
            try:
                await rounds(self._clock, self._bell, lambda: self._start_due(group), name="deliveries")
            except asyncio.CancelledError:
                await self._finish()
                raise

    async def run_until_idle(self) -> None:
        """Deliver what is due now, then return; for tests and one-off commands."""
        await self._recover()
        while True:
            async with asyncio.TaskGroup() as group:
                await self._start_due(group)
                if not self._busy:
                    return

    async def _start_due(self, group: asyncio.TaskGroup) -> Instant | None:
        """Start a drain for each conversation with something due; when the next one will be."""
        self._bell.clear()
        lines, held = await self._ledger.read(deliveries.heads)
        now = self._clock.now()
        later = [held] if held is not None else []
        for head in lines:
            if head.conversation in self._busy or head.status != "pending":
                continue
            if head.next_at <= now:
                self._busy.add(head.conversation)
                self._idle.clear()
                group.create_task(self._drain(head.conversation))
            else:
                later.append(head.next_at)
        return min(later, default=None)

    async def _finish(self) -> None:
        self._resting = True
        try:
            async with asyncio.timeout(_GRACE):
                while self._busy:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            _log.warning("sends cut off at shutdown", conversations=len(self._busy))

    async def _drain(self, conversation: str) -> None:
        """Send what is due in one conversation, one after the other."""

        def claim(tx: Tx) -> Line | None:
            return deliveries.claim(
                tx, conversation, sender=self._sender, plan=self._plan, resolve=self._roster.sent_to
            )

        try:
            line = await self._durably(claim)
            while line is not None:
                settle = await self._bring(line)

                def settle_and_claim(tx: Tx, settle: Settle = settle) -> Line | None:
                    settle(tx)
                    return None if self._resting else claim(tx)

                line = await self._durably(settle_and_claim)
        finally:
            self._busy.discard(conversation)
            self._idle.set()
            self._bell.set()

    async def _durably(self, fn: Callable[[Tx], T]) -> T:
        """Write, however long the disk refuses: what has been sent must not be forgotten."""
        return await outlast(self._clock, lambda: self._ledger.write(fn), name="deliveries")

    def _plan(self, line: Line, now: Instant) -> Instant | None:
        """Until when quiet hours or the digest hold a line back."""
        manners = self._manners
        is_held = manners.digest or manners.quiet is not None
        if not is_held or line.message.buttons or notify.is_loud(line.severity, manners.breaks):
            return None
        if line.transition not in notify.CHANGES or not self._roster.is_for_people(line.target):
            return None
        due = notify.digest_due(now, manners.digest) if manners.digest else now
        quiet = manners.quiet.until(due, manners.zone) if manners.quiet else None
        return quiet or (due if due > now else None)

    async def _bring(self, line: Line) -> Settle:
        """Send a claimed line; what to write down about it."""
        if line.target == notify.MONITORS:
            names = self._roster.monitors
            return lambda tx: deliveries.fan_out(tx, line, names)
        try:
            route = await self._route(line.target)
        except (PermanentError, ValueError) as error:
            return self._give_up(line, str(error))
        line = await self._with_files(line)
        slots = self._slots.setdefault(route.channel.name, asyncio.Semaphore(self._parallel))
        async with slots:
            return await self._send_pieces(line, route)

    async def _with_files(self, line: Line) -> Line:
        """The line with the paths of the artifacts that go along."""
        wanted = [file.artifact_id for file in line.message.attachments if file.artifact_id and not file.path]
        if not wanted:
            return line

        def look(tx: Tx) -> dict[str, str]:
            found = {artifact_id: artifacts.get(tx, artifact_id) for artifact_id in wanted}
            if self._artifacts_root is not None:
                for artifact in found.values():
                    artifacts.bring(tx, self._artifacts_root, artifact)
            return {artifact_id: f"artifacts/{artifact.path}" for artifact_id, artifact in found.items()}

        try:
            paths = await self._ledger.read(look)
        except NotFound as error:
            _log.warning("artifact is gone", delivery_id=line.delivery_id, error=error.message)
            return line
        files = tuple(
            msgspec.structs.replace(file, path=file.path or paths.get(file.artifact_id, ""))
            for file in line.message.attachments
        )
        return msgspec.structs.replace(line, message=msgspec.structs.replace(line.message, attachments=files))

    async def _route(self, target: str) -> Route:
        route = self._roster.route(target)
        if route.needs_home:
            # Whoever paired since is at home there now.
            self._roster.homes = await self._ledger.read(channels.homes)
            route = self._roster.route(target)
        return route

    async def _send_pieces(self, line: Line, route: Route) -> Settle:
        receipt = line.receipt
        pieces = compose(line.message, route, repeat=bool(receipt.detail.get("repeat")))
        for index, piece in enumerate(pieces[_done(receipt) :], start=_done(receipt)):
            tried_at = deliveries.in_doubt_since(receipt) or self._clock.now()
            try:
                part = await _found(route.channel, piece, receipt) or await _send(route.channel, piece)
            except AmbiguousSend as doubt:
                part = await self._ask(route.channel, piece, tried_at)
                if part is None:
                    why = str(doubt) or "the answer never came"
                    return self._doubtful(line, route, receipt, why, tried_at=tried_at)
                if isinstance(part, _Repeatable):
                    return self._again(line, route, part, in_doubt=_doubting(receipt, tried_at))
                if isinstance(part, TemporaryError):
                    return self._again(line, route, part)
            except TemporaryError as error:
                return self._again(line, route, error)
            except ChannelDown as error:
                return self._down(line, route.channel, error)
            except PermanentError as error:
                return self._give_up(line, error.message, channel=route.channel.name)
            except Exception as error:  # noqa: BLE001 - a channel is a stranger's code; nobody knows how far it came
                _log.error(
                    "channel broke", exc=error, channel=route.channel.name, delivery_id=line.delivery_id
                )
                return self._unknown(line, route, receipt, f"{type(error).__name__} in the channel: {error}")
            receipt = _add(receipt, part, done=index + 1)
            if index + 1 < len(pieces):
                await self._durably(_keep(line.delivery_id, receipt))
        return self._arrived(line, route, receipt)

    async def _ask(
        self, channel: Channel, piece: Outgoing, tried_at: Instant
    ) -> Receipt | TemporaryError | None:
        """What an ambiguous send came to: a receipt, a reason to try again, or nobody knows."""
        if channel.idempotent:
            return _Repeatable("no answer; the key makes a repeat harmless")
        try:
            async with asyncio.timeout(_HANGS_AFTER):
                receipt = await channel.reconcile(msgspec.structs.replace(piece, tried_at=tried_at))
        except AmbiguousSend:
            return None
        except Exception as error:  # noqa: BLE001 - a channel is a stranger's code; not knowing is the safe answer
            _log.warning("cannot reconcile", channel=channel.name, error=str(error))
            return None
        return receipt or TemporaryError("the channel says it did not arrive")

    def _arrived(self, line: Line, route: Route, receipt: Receipt) -> Settle:
        name = route.channel.name
        was_troubled = name in self._troubled
        self._troubled.discard(name)

        def settle(tx: Tx) -> None:
            deliveries.delivered(tx, line, receipt, sent_to=route.sent_to)
            channels.sent(tx, name)
            if was_troubled:
                for incident in (_outage(name), _off(name)):
                    outbox.close_incident(tx, incident)

        return settle

    def _again(
        self, line: Line, route: Route, error: TemporaryError, *, in_doubt: Receipt | None = None
    ) -> Settle:
        """Try again later; `in_doubt` is the receipt of one that may have arrived already."""
        name = route.channel.name
        self._troubled.add(name)
        asked = error.retry_after is not None
        delay = error.retry_after if error.retry_after is not None else notify.retry_delay(line.attempts)
        at = self._clock.now() + int(delay * SECOND)

        def settle(tx: Tx) -> None:
            if in_doubt is not None:
                deliveries.arrived_in_part(tx, line.delivery_id, in_doubt)
            deliveries.retry(tx, line, error.message, at=at, counts=not asked)
            channels.troubled(tx, name, error.message)
            if line.attempts == _TELL_OUTAGE_AT and not asked:
                text = f"Channel {name!r} cannot be reached: {error.message}. Messages wait."
                self._alert(tx, name, text, incident=_outage(name))

        return settle

    def _doubtful(self, line: Line, route: Route, receipt: Receipt, why: str, *, tried_at: Instant) -> Settle:
        if not line.at_least_once:
            return self._unknown(line, route, receipt, why)
        doubting = _doubting(receipt, tried_at)
        marked = Receipt(doubting.ids, {**doubting.detail, "repeat": True})
        return self._again(line, route, TemporaryError(f"{why}; sent again as asked"), in_doubt=marked)

    def _unknown(self, line: Line, route: Route, receipt: Receipt, why: str) -> Settle:
        name = route.channel.name
        self._troubled.add(name)

        def settle(tx: Tx) -> None:
            deliveries.unknown(tx, line, why, receipt=receipt, sent_to=route.sent_to)
            channels.troubled(tx, name, why)

        return settle

    def _give_up(self, line: Line, why: str, *, channel: str = "") -> Settle:
        fallback = self._roster.next_rung(line.target)

        def settle(tx: Tx) -> None:
            deliveries.failed(tx, line, why, fallback=fallback)
            if channel:
                channels.troubled(tx, channel, why)

        return settle

    def _down(self, line: Line, channel: Channel, error: ChannelDown) -> Settle:
        is_new = self._roster.disable(channel.name, error.message)
        give_up = self._give_up(line, error.message)

        def settle(tx: Tx) -> None:
            give_up(tx)
            if is_new:
                self._shut(tx, channel, error)

        return settle

    async def shut(self, channel: Channel, error: ChannelDown) -> None:
        """Take a channel out of service, with one alert; for whoever finds out while listening."""
        if self._roster.disable(channel.name, error.message):
            await self._durably(lambda tx: self._shut(tx, channel, error))

    def _shut(self, tx: Tx, channel: Channel, error: ChannelDown) -> None:
        channels.opened(tx, channel.name, channel.kind, disabled=error.message)
        channels.troubled(tx, channel.name, error.message)
        mend = f" {error.hint}." if error.hint else ""
        text = f"Channel {channel.name!r} is off: {error.message}.{mend}"
        self._alert(tx, channel.name, text, incident=_off(channel.name))

    def _alert(self, tx: Tx, channel: str, text: str, *, incident: str) -> None:
        """One message an incident, over another channel than the one in trouble."""
        try:
            default = self._roster.route(notify.DEFAULT).channel.name
        except PermanentError:
            default = notify.INBOX
        outbox.put(
            tx,
            task_id=None,
            transition="system.channel",
            target=notify.INBOX if default == channel else notify.DEFAULT,
            message=Outgoing(key="", text=text, title="Channel trouble", severity="high"),
            severity="high",
            incident=incident,
        )

    async def _recover(self) -> None:
        """What a dead process was sending: ask the channel, repeat where that is harmless, else say unknown."""
        lines = await outlast(
            self._clock,
            lambda: self._ledger.read(lambda tx: deliveries.stranded(tx, self._sender)),
            name="deliveries",
        )
        async with asyncio.TaskGroup() as group:
            for line in lines:
                group.create_task(self._settle_stranded(line))

    async def _settle_stranded(self, line: Line) -> None:
        settle = await outlast(self._clock, lambda: self._recover_one(line), name="deliveries")
        await self._durably(settle)
        self._bell.set()

    async def _recover_one(self, line: Line) -> Settle:
        if line.target == notify.MONITORS:
            return lambda tx: deliveries.retry(tx, line, "interrupted", at=tx.now)
        try:
            route = await self._route(line.target)
        except (PermanentError, ValueError) as error:
            why = f"the process ended while sending, and {error}"
            return lambda tx: deliveries.unknown(tx, line, why)
        receipt = line.receipt
        pieces = compose(line.message, route, repeat=bool(receipt.detail.get("repeat")))
        done = _done(receipt)
        if done >= len(pieces):
            return self._arrived(line, route, receipt)
        # It was claimed, or its piece before this one noted, before this piece can have gone out.
        tried_at = deliveries.in_doubt_since(receipt) or line.updated_at
        part = await self._ask(route.channel, pieces[done], tried_at)
        if isinstance(part, Receipt):
            receipt = _add(receipt, part, done=done + 1)
            if done + 1 == len(pieces):
                return self._arrived(line, route, receipt)
            kept = _keep(line.delivery_id, receipt)

            def go_on(tx: Tx) -> None:
                kept(tx)
                deliveries.retry(tx, line, "interrupted between pieces", at=tx.now)

            return go_on
        if isinstance(part, _Repeatable):
            doubting = _doubting(receipt, tried_at)

            def repeat(tx: Tx) -> None:
                deliveries.arrived_in_part(tx, line.delivery_id, doubting)
                deliveries.retry(tx, line, "interrupted; the key makes a repeat harmless", at=tx.now)

            return repeat
        if part is not None:
            return lambda tx: deliveries.retry(tx, line, "interrupted before it was sent", at=tx.now)
        return self._doubtful(line, route, receipt, "the process ended while sending", tried_at=tried_at)


def _outage(channel: str) -> str:
    return f"channel:{channel}"


def _off(channel: str) -> str:
    return f"channel-off:{channel}"


async def _send(channel: Channel, piece: Outgoing) -> Receipt:
    try:
        async with asyncio.timeout(_HANGS_AFTER):
            return await channel.send(piece)
    except TimeoutError as error:
        raise AmbiguousSend(f"no answer within {_HANGS_AFTER:.0f} s") from error


async def _found(channel: Channel, piece: Outgoing, receipt: Receipt) -> Receipt | None:
    """The receipt of an earlier try that arrived after all, where the channel can tell; else its key drops a repeat.

    A key is remembered for a while, and an outage may be longer.
    """
    since = deliveries.in_doubt_since(receipt)
    if not since or not channel.idempotent:
        return None
    try:
        async with asyncio.timeout(_HANGS_AFTER):
            return await channel.reconcile(msgspec.structs.replace(piece, tried_at=since))
    except TimeoutError as error:
        raise TemporaryError(f"no answer within {_HANGS_AFTER:.0f} s whether it is there") from error
    except AmbiguousSend:
        return None


def _doubting(receipt: Receipt, tried_at: Instant) -> Receipt:
    """The receipt, with a note that the piece after those in it may have arrived, first tried at `tried_at`."""
    return Receipt(receipt.ids, {**receipt.detail, outbox.IN_DOUBT: tried_at})


def _keep(delivery_id: str, receipt: Receipt) -> Settle:
    return lambda tx: deliveries.arrived_in_part(tx, delivery_id, receipt)


def _done(receipt: Receipt) -> int:
    """How many pieces have certainly arrived."""
    return int(receipt.detail.get("pieces", 0))


def _add(receipt: Receipt, part: Receipt, *, done: int) -> Receipt:
    known = {name: value for name, value in receipt.detail.items() if name != outbox.IN_DOUBT}
    return Receipt(receipt.ids + part.ids, {**known, **part.detail, "pieces": done})
