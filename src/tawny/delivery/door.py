"""Who may speak to the assistant through a channel: the immutable id counts, and nothing else."""

import re
from typing import TypeVar

import msgspec

from tawny.delivery.channel import Accept, Channel, ChatSettings
from tawny.delivery.compose import chosen
from tawny.domain.addresses import Address
from tawny.domain.messages import Inbound, Outgoing
from tawny.errors import PermanentError
from tawny.ledger import approvals, channels, outbox
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outbox import Line
from tawny.log import Log

_log = Log("delivery")
_LONGEST_CHOICE = 40
_ANSWERS = frozenset({"approve", "always", "deny"})
_NOT_KEPT = re.compile("[\x00\ud800-\udfff]")
"""What no database keeps: the zero, and halves of characters, which programs make that cut a name by units."""
S = TypeVar("S", bound=msgspec.Struct)


class Door:
    """Stands before one channel. What is let in goes to `accept`; a message comes in once, by its event id.

    `rules` are the channel's settings; `None` where whoever reaches the channel is the owner.
    """

    def __init__(self, ledger: Ledger, channel: Channel, rules: ChatSettings | None, accept: Accept) -> None:
        self._ledger = ledger
        self._channel = channel
        self._rules = rules
        self._accept = accept

    async def __call__(self, inbound: Inbound) -> None:
        """Let it in, offer a code, or pass it over in silence; returns once that is durable."""
        name = self._channel.name
        inbound = _keepable(inbound)
        if not inbound.event_id or not inbound.sender.strip():
            _log.warning("inbound without id or sender dropped", channel=name)
            return
        if await self._ledger.read(lambda tx: channels.is_known(tx, name, inbound.event_id)):
            return
        if await self._is_allowed(inbound):
            if inbound.group and not inbound.mentioned and not inbound.action:
                await self._passed_over(inbound)
                return
            await self._let_in(inbound)
        else:
            await self._ledger.write(lambda tx: self._turn_away(tx, inbound))

    async def _is_allowed(self, inbound: Inbound) -> bool:
        rules = self._rules
        if rules is None:
            return True
        is_listed = inbound.sender in {str(entry) for entry in rules.allow}
        if inbound.group:
            # Pairing is for talking alone; and a group's own id lets nobody in.
            return is_listed and inbound.conversation in {str(entry) for entry in rules.groups}
        name = self._channel.name
        return is_listed or await self._ledger.read(lambda tx: channels.is_paired(tx, name, inbound.sender))

    async def _let_in(self, inbound: Inbound) -> None:
        found = await self._understand(inbound)
        if found is None:
            return
        understood, question = found
        verb, _, approval_id = understood.action.partition(":")
        if verb in _ANSWERS and approval_id:
            await self._ledger.write(lambda tx: self._answer(tx, understood, verb, approval_id, question))
            return
        await self._accept(understood)

        def note(tx: Tx) -> None:
            channels.taken_in(tx, inbound.channel, inbound.event_id)
            channels.heard(tx, inbound.channel)
            _close(tx, question)

        # Only after the house has it: what is handed over twice by a crash in between, the session drops by its id.
        await self._ledger.write(note)

    def _answer(self, tx: Tx, inbound: Inbound, verb: str, approval_id: str, question: str) -> None:
        """A tap on an approval: settled, noted and answered in one transaction, so that it counts exactly once."""
        if not channels.taken_in(tx, inbound.channel, inbound.event_id):
            return
        channels.heard(tx, inbound.channel)
        _close(tx, question)
        by = "owner" if self._rules is None else f"{inbound.channel}:{inbound.sender}"
        try:
            approval = approvals.answer(
                tx,
                approval_id,
                status="denied" if verb == "deny" else "approved",
                by=by,
                always=verb == "always",
            )
        except PermanentError as error:
            self._say(tx, inbound, error.message)
            return
        if not self._channel.can_edit:
            self._say(tx, inbound, f"{approval.status.capitalize()}: {approval.tool}")

    def _say(self, tx: Tx, inbound: Inbound, text: str) -> None:
        outbox.put(
            tx,
            task_id=None,
            transition="reply",
            target=self._address(inbound),
            message=Outgoing(key="", text=text),
            severity="high",
        )

    async def _passed_over(self, inbound: Inbound) -> None:
        await self._ledger.write(lambda tx: channels.taken_in(tx, inbound.channel, inbound.event_id))

    def _turn_away(self, tx: Tx, inbound: Inbound) -> None:
        """A stranger gets a code, once, when writing alone; a stranger's tap or group message gets nothing."""
        if not channels.taken_in(tx, inbound.channel, inbound.event_id):
            return
        rules = self._rules
        if rules is None or not rules.pairing or inbound.group or inbound.action:
            return
        code = channels.offer_code(
            tx, inbound.channel, inbound.sender, inbound.sender_name, inbound.conversation
        )
        if code is None:
            return
        outbox.put(
            tx,
            task_id=None,
            transition="pairing",
            target=self._address(inbound),
            message=Outgoing(
                key="",
                text=f"I do not know you. If you are expected, have this run on my machine within the hour:\n\n"
                f"tawny channels pair {code}",
                severity="high",
            ),
            severity="high",
        )

    def _address(self, inbound: Inbound) -> str:
        return str(Address(self._channel.name, inbound.conversation, inbound.thread))

    async def _understand(self, inbound: Inbound) -> tuple[Inbound, str] | None:
        """Turn a numbered reply into the choice it stands for, with the id of the question it answers, if any.

        `None` where it was asked back. The question stays open until the answer is kept.
        """
        reply = inbound.text.strip().splitlines()[0].strip() if inbound.text.strip() else ""
        if inbound.action or not reply or len(reply) > _LONGEST_CHOICE:
            return inbound, ""
        address = self._address(inbound)
        asked = await self._ledger.read(lambda tx: outbox.asked_in(tx, address))
        matching = [(line, value) for line in asked if (value := chosen(line.message, reply)) is not None]
        pointed = [pair for pair in matching if inbound.reply_to and inbound.reply_to in pair[0].receipt.ids]
        if pointed:
            matching = pointed[:1]
        if not matching:
            return inbound, ""
        if len(matching) > 1:
            await self._ledger.write(lambda tx: self._ask_which(tx, inbound, [line for line, _ in matching]))
            return None
        line, value = matching[0]
        return msgspec.structs.replace(inbound, action=value), line.delivery_id

    def _ask_which(self, tx: Tx, inbound: Inbound, lines: list[Line]) -> None:
        channels.taken_in(tx, inbound.channel, inbound.event_id)
        titles = "\n".join(f"- {line.message.text.splitlines()[0][:80]}" for line in lines)
        self._say(
            tx,
            inbound,
            f"{len(lines)} questions are open:\n\n{titles}\n\nPlease answer as a reply to the one you mean.",
        )


def _close(tx: Tx, question: str) -> None:
    if question:
        outbox.answered(tx, question)


def _keepable(inbound: Inbound) -> Inbound:
    """The inbound with the sign for an unknown character where one cannot be kept; it would come again for ever."""
    cleaned = _cleaned(inbound)
    files = tuple(map(_cleaned, cleaned.attachments))
    return cleaned if files == cleaned.attachments else msgspec.structs.replace(cleaned, attachments=files)


def _cleaned(struct: S) -> S:
    changed = {
        name: _NOT_KEPT.sub("\ufffd", value)
        for name, value in msgspec.structs.asdict(struct).items()
        if isinstance(value, str) and _NOT_KEPT.search(value)
    }
    return msgspec.structs.replace(struct, **changed) if changed else struct
