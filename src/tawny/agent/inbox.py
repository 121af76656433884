"""Receives what is said, from any channel: session, command or turn; nothing said is lost or taken up twice."""

import asyncio
import contextlib

import msgspec

from tawny.agent.commands import Commands
from tawny.agent.live import Live, Reply
from tawny.agent.settings import TurnSettings
from tawny.domain.addresses import Address
from tawny.domain.budgets import waiting_text
from tawny.domain.messages import Inbound, Outgoing
from tawny.domain.origin import merge, remembered
from tawny.domain.sessions import LOCAL, Queueing, agent_of, parse_command, parse_tap, session_key
from tawny.domain.tasks import Json, Notify, Origin, Priority, Retry, Status, Submission, Task
from tawny.engine import commands as orders
from tawny.ledger import approvals, inputs, outbox, sessions, turns
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.inputs import Input
from tawny.ledger.sessions import Entry, Session
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get

ADDRESSED = "agent_turn"
_HOLD = 60.0


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: `status` is answered (a command), queued, dropped, or seen (before)."""

    session: str
    status: str
    run_id: str | None = None
    text: str = ""

    @property
    def begun(self) -> bool:
        """Whether it has begun a turn; one that was seen before may have been answered long ago."""
        return self.status == "queued"


class Inbox:
    """The one way in for words."""

    def __init__(self, ledger: Ledger, live: Live, commands: Commands, settings: TurnSettings) -> None:
        self._ledger = ledger
        self._live = live
        self._commands = commands
        self._settings = settings

    async def receive(self, inbound: Inbound, *, session: str | None = None, agent: str = "") -> Received:
        """Keep a message and begin what it asks for; durable when this returns. A second time, nothing happens."""
        key = session or session_key(
            inbound, scope=self._settings.scope, links=self._settings.links, agent=agent
        )
        return await self._ledger.write(lambda tx: self._take(tx, inbound, key, agent))

    async def accept(self, inbound: Inbound) -> None:
        """`delivery.channel.Accept`: hand a channel's message in."""
        if inbound.group and not inbound.mentioned:
            return
        await self.receive(inbound)

    async def say(
        self,
        session: str,
        text: str,
        *,
        event_id: str,
        source: str = "http",
        wait: float | None = _HOLD,
        model: str = "",
    ) -> Reply:
        """Say something in a session of the owner's own; with `wait` (seconds) hold for the answer.

        After `wait` the answer tells what is waited for; the turn goes on by itself.
        """
        inbound = Inbound(
            channel=source,
            event_id=event_id,
            sender="owner",
            text=text,
            raw={"model": model} if model else {},
        )
        received = await self.receive(inbound, session=session)
        if received.run_id is None or wait is None:
            return Reply(
                run_id=received.run_id or "", session=session, status=received.status, text=received.text
            )
        return await self.answer(received.run_id, session, wait=wait, begun=received.begun)

    async def answer(self, run_id: str, session: str, *, wait: float = _HOLD, begun: bool = False) -> Reply:
        """The answer of a turn, as soon as there is one; after `wait` seconds, what it waits for.

        One that was `begun` just now, by this very message, is answered under our eyes: the ledger is not asked.
        """
        future = self._live.expect(run_id)
        try:
            if not begun:
                settled = await self._ledger.read(lambda tx: _reply(tx, run_id, session))
                if settled is not None:
                    return settled
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    return await asyncio.shield(future)
        finally:
            self._live.forget(run_id, future)
        task, approval_id = await self._ledger.read(lambda tx: _pending(tx, run_id))
        return Reply(run_id=run_id, session=session, status=task.status, text=pending_text(task, approval_id))

    # --- in the transaction

    def _take(self, tx: Tx, inbound: Inbound, key: str, agent: str) -> Received:
        is_local = inbound.channel in LOCAL
        session = sessions.ensure(
            tx,
            key,
            agent=agent or agent_of(key),
            channel="" if is_local else inbound.channel,
            address="" if is_local else (inbound.conversation or inbound.sender),
            thread="" if is_local else inbound.thread,
        )
        text = inbound.text or inbound.action
        detail = {"sender": inbound.sender, "attachments": msgspec.to_builtins(inbound.attachments)}
        kept = inputs.receive(
            tx, key, source=inbound.channel, event_id=inbound.event_id, text=text, detail=detail
        )
        if kept is None:
            before = inputs.seen(tx, inbound.channel, inbound.event_id)
            assert before is not None
            return Received(session=before.session, status="seen", run_id=before.task_id, text=before.reply)
        command = parse_tap(inbound.action) or parse_command(text)
        if command is not None:
            # A program that was let in speaks over a local channel too, but is not the owner.
            is_owner = not inbound.group
            by = "owner" if is_local and is_owner else f"{inbound.channel}:{inbound.sender}"
            said = self._commands.run(tx, session, command, by=by, is_owner=is_owner)
            return self._settle(tx, session, kept, inbound, said)
        return self._queue(tx, session, kept, inbound)

    def _queue(self, tx: Tx, session: Session, kept: Input, inbound: Inbound) -> Received:
        queueing = self._commands.queueing(session)
        lane = turns.of_lane(tx, session.session)
        waiting = [task for task in lane if task.status is Status.QUEUED and task.attempt == 0]
        if queueing.mode == "interrupt" and lane:
            _interrupt(tx, session, lane)
            waiting = []
        elif len(waiting) >= queueing.cap:
            if queueing.drop == "new":
                said = f"{len(waiting)} messages wait already, so this one was dropped. Say it again later."
                inputs.settle(tx, kept.input_id, "dropped")
                return self._settle(tx, session, kept, inbound, said, status="dropped")
            _drop_oldest(tx, session, waiting[0], queueing)
            waiting = waiting[1:]
        message = _with_attachments(kept.text, inbound)
        if queueing.mode == "collect" and waiting:
            turns.add_words(tx, waiting[-1], message)
            task = self._submit(tx, session, kept, inbound, message)
            turns.fold(tx, task.task_id, into=waiting[-1].task_id)
            inputs.take(tx, [kept.input_id], waiting[-1].task_id)
        else:
            held = queueing.debounce if queueing.mode == "collect" and lane else 0
            task = self._submit(tx, session, kept, inbound, message, held=held)
        return Received(session=session.session, status="queued", run_id=task.task_id)

    def _submit(
        self, tx: Tx, session: Session, kept: Input, inbound: Inbound, message: str, *, held: int = 0
    ) -> Task:
        params = {"message": message, "session": session.session, "input": kept.input_id}
        if model := inbound.raw.get("model"):
            params["model"] = str(model)
        if session.agent:
            params["agent"] = session.agent
        task = submit(
            tx,
            Submission(
                kind=ADDRESSED,
                params=params,
                title=" ".join(kept.text.split())[:60] or "message",
                priority=Priority.INTERACTIVE,
                notify=Notify.SILENT,
                retry=Retry(max=0),
                session=session.session,
                lane=session.session,
                detached=False,
                not_before=tx.now + held if held else None,
                origin=_origin(tx, session, inbound, message),
            ),
        )
        inputs.start_turn(tx, kept.input_id, task.task_id)
        return task

    def _settle(
        self, tx: Tx, session: Session, kept: Input, inbound: Inbound, said: str, *, status: str = "answered"
    ) -> Received:
        """Answer on the spot."""
        inputs.settle(tx, kept.input_id, status, reply=said)
        sessions.say(tx, session.session, said, run_id=kept.input_id)
        if target := reply_target(inbound):
            outbox.put(
                tx,
                task_id=None,
                transition=f"reply:{kept.input_id}",
                target=target,
                message=Outgoing(key="", text=said),
                severity="high",
            )
        return Received(session=session.session, status=status, text=said)


def reply_target(inbound: Inbound) -> str | None:
    """The full address answers to a message go to; `None` where they stay in the session."""
    if inbound.channel in LOCAL:
        return None
    return str(Address(inbound.channel, inbound.conversation or inbound.sender, inbound.thread))


def _pending(tx: Tx, run_id: str) -> tuple[Task, str]:
    """The turn, and the question it waits for."""
    asked, _ = approvals.page(tx, status="pending", task_id=run_id, limit=1)
    return get(tx, run_id), asked[0].approval_id if asked else ""


def pending_text(task: Task, approval_id: str = "") -> str:
    """What a turn that has not answered yet waits for, for a person."""
    waiting = task.waiting_for
    if waiting is None:
        return "I am still working on it, and will answer here."
    if waiting.kind == "approval":
        what = f"{waiting.detail.get('tool', '')} – {waiting.detail.get('reason', '')}"
        return f"This waits for your yes: {what}. Answer with /approve {approval_id} or /deny {approval_id}."
    if waiting.kind == "budget":
        return waiting_text(str(waiting.detail.get("scope", "")), str(waiting.detail.get("reason", "")))
    return f"This waits for {waiting.kind}."


def _reply(tx: Tx, run_id: str, session: str) -> Reply | None:
    """The reply of a run that has ended or answered."""
    task = get(tx, run_id)
    kept = inputs.of_task(tx, run_id)
    if kept is not None and kept.status == "answered":
        return Reply(run_id=run_id, session=session, status=task.status, text=kept.reply)
    if not task.status.is_terminal:
        return None
    result = task.result or {}
    text = str(result.get("text") or (task.error.message if task.error else ""))
    return Reply(run_id=run_id, session=session, status=task.status, text=text)


def _origin(tx: Tx, session: Session, inbound: Inbound, message: str) -> Origin:
    """Who asks, in which words, and what this session has read before."""
    is_local = inbound.channel in LOCAL
    detail: dict[str, Json] = {"channel": inbound.channel, "sender": inbound.sender}
    if not inbound.group:
        detail["words"] = [message, *sessions.words(tx, session.session, after=session.starts_after)]
    origin = Origin(
        # Whoever speaks in a group may be anybody it lets in; what is said there is no order of the owner's.
        by="contact" if inbound.group else "owner",
        via="chat" if is_local else "channel",
        trusted=not inbound.group,
        reply_to=reply_target(inbound),
        detail=detail,
    )
    before = remembered(session.settings.get("read"))
    return origin if before is None else merge(origin, before)


def _with_attachments(text: str, inbound: Inbound) -> str:
    lines = [f"[attached: {one.name} ({one.media_type}) at {one.path}]" for one in inbound.attachments]
    return "\n".join([text, *lines]) if lines else text


def _interrupt(tx: Tx, session: Session, lane: list[Task]) -> None:
    """Break off what runs and what waits; what was said stays in the transcript."""
    for task in lane:
        orders.cancel(tx, task.task_id, by="owner", reason="another message interrupted it")
        said = str(task.params.get("message", ""))
        note = "(interrupted by the next message)"
        pair = [
            Entry(role="user", text=said, message=sessions.user_message(said)),
            Entry(role="assistant", text=note, message=sessions.assistant_message(note)),
        ]
        sessions.append(tx, session.session, task.task_id, pair)
        inputs.answer(tx, task.task_id, note)


def _drop_oldest(tx: Tx, session: Session, task: Task, queueing: Queueing) -> None:
    orders.cancel(tx, task.task_id, by="queue", reason="too many messages wait")
    kept = inputs.of_task(tx, task.task_id)
    if kept is not None:
        inputs.settle(tx, kept.input_id, "dropped")
        if queueing.drop == "summarize":
            sessions.note(tx, session.session, f"A message was dropped as too many waited: {kept.text[:200]}")
