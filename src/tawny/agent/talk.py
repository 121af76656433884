"""One turn's dealings with its session and with who waits for it: what is said, and when it goes to the background."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from tawny.agent.histories import Opening
from tawny.agent.live import Delta, Live, Reply
from tawny.domain.messages import Outgoing
from tawny.domain.origin import to_remember
from tawny.domain.sessions import LOCAL
from tawny.domain.tasks import Delivery, Json, Notify
from tawny.engine.kinds import Context
from tawny.ledger import inputs, outbox, sessions, transitions, turns
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.sessions import Entry, Session
from tawny.ledger.tasks import get, to_json
from tawny.log import Log, redact

_log = Log("agent.talk")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn is asked. `chat` marks one that a person waits for; `tools` names the tools it has, `None` all."""

    session: str
    text: str
    chat: bool
    agent: str = ""
    model: str = ""
    tools: tuple[str, ...] | None = None
    helper: bool = False


class Talk:
    """A turn's side of the conversation."""

    def __init__(
        self,
        ledger: Ledger,
        live: Live,
        ctx: Context,
        *,
        request: Request,
        session: Session,
        opening: Opening,
        queue: str,
    ) -> None:
        self.session = session
        self.notes = opening.notes
        self.task_ids: list[str] = []
        self.handed_over = request.chat and ctx.task.detached
        self._ledger = ledger
        self._live = live
        self._ctx = ctx
        self._request = request
        self._queue = queue
        self._run_id = ctx.task.task_id

    def tell(self, text: str, kind: str) -> None:
        if kind in ("text", "tool", "void"):
            self._live.tell(
                Delta(session=self.session.session, run_id=self._run_id, text=redact(text), kind=kind)
            )

    async def steer(self, call_id: str) -> list[str]:
        """What was said meanwhile and is to be heeded at once; taken up once, journaled."""
        held = self.session.settings.get("queue")
        mode = self._queue if held is None else str(held.get("mode", self._queue))
        if not self._request.chat or self.handed_over or mode != "steer":
            return []
        run_id, key = self._run_id, self.session.session

        async def take() -> Json:
            return await self._ledger.write(lambda tx: _take_queued(tx, key, run_id))

        taken: list[str] = await self._ctx.step(f"steer:{call_id}", take, name="messages meanwhile")
        return taken

    # --- hand-over to the background

    def watch(self, tool: str, seconds: float) -> Callable[[], None]:
        """Hand the turn over to the background if the tool is not done after `seconds`; call the result when it is."""
        if not self._request.chat or self.handed_over:
            return lambda: None
        handle = asyncio.get_running_loop().call_later(seconds, self.hand_over, f"{tool} is still at work")
        return handle.cancel

    def bound(self, calls: int, most: int) -> None:
        """Hand the turn over if it wants more than `most` calls of tools in all."""
        if calls > most:
            self.hand_over(f"it takes more than {most} steps")

    def hand_over(self, why: str) -> None:
        """Go on in the background: acknowledged at once, the chat is free, the result is delivered as a task's."""
        if self.handed_over or not self._request.chat:
            return
        self.handed_over = True
        title = " ".join(self._request.text.split())[:60]
        said = (
            f'This takes longer ({why}), so I go on in the background as "{title}"'
            f" ({self._run_id}) and tell you here when it is done. Ask me anything meanwhile."
        )
        user = Entry(role="user", text=self._request.text, message=sessions.user_message(self._request.text))
        entries = [user, Entry(role="assistant", text=said, message=sessions.assistant_message(said))]

        def write(tx: Tx) -> list[str]:
            task = get(tx, self._run_id)
            if task.status.is_terminal or task.attempt != self._ctx.task.attempt:
                return []
            transitions.set_columns(
                tx,
                task,
                "handed_over",
                detached=1,
                lane=None,
                title=title,
                notify=Notify.DONE_ONLY,
                delivery=to_json(Delivery(channels=("chat",))),
            )
            self._record(tx, entries, said, [self._run_id])
            tx.wake("queue")
            return turns.folded(tx, self._run_id)

        future = self._ledger.post(write)
        future.add_done_callback(lambda done: self._answered(done, said, "running", [self._run_id]))

    # --- the end

    def finish(self, entries: list[Entry], said: str, *, status: str = "succeeded") -> Awaitable[list[str]]:
        """Record the turn and tell it. Not waited for on the good path: the task's end is committed right behind it."""
        if self.handed_over:
            # The acknowledgement was this turn's answer; the result is delivered as the task's.
            done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
            done.set_result([])
            return done

        def write(tx: Tx) -> list[str]:
            sessions.take_notes(tx, self.notes, self._run_id)
            self._keep_origin(tx)
            self._record(tx, entries, said, self.task_ids)
            return turns.folded(tx, self._run_id)

        future = self._ledger.post(write)
        future.add_done_callback(lambda done: self._answered(done, said, status, self.task_ids))
        return future

    def _keep_origin(self, tx: Tx) -> None:
        """What this turn has read stays in the session's history, so it counts for the turns after it."""
        before = self.session.settings.get("read")
        kept = to_remember(before, self._ctx.task.origin, what="an earlier turn of this conversation")
        if kept and kept != before:
            sessions.set_setting(tx, self.session.session, "read", kept)

    def _record(self, tx: Tx, entries: list[Entry], said: str, task_ids: list[str]) -> None:
        key = self.session.session
        if not sessions.append(tx, key, self._run_id, entries) or not self._request.chat:
            return
        inputs.answer(tx, self._run_id, said)
        sessions.say(tx, key, said, run_id=self._run_id, task_ids=task_ids)
        target = self._ctx.task.origin.reply_to
        if target and target.partition(":")[0] not in LOCAL:
            outbox.put(
                tx,
                task_id=self._run_id,
                transition="reply",
                target=target,
                message=Outgoing(key="", text=said),
                severity="high",
            )

    def _answered(
        self, done: "asyncio.Future[list[str]]", said: str, status: str, task_ids: list[str]
    ) -> None:
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            _log.error("turn not recorded", exc=error, run_id=self._run_id)
            return
        for run_id in (self._run_id, *done.result()):
            self._live.answered(
                Reply(
                    run_id=run_id,
                    session=self.session.session,
                    status=status,
                    text=said,
                    task_ids=list(task_ids),
                )
            )


def _take_queued(tx: Tx, session: str, run_id: str) -> list[str]:
    """Take up what waits: the inputs' own turns are folded into this run."""
    waiting = [one for one in inputs.queued(tx, session) if one.task_id not in (None, run_id)]
    taken: list[str] = []
    for one in waiting:
        assert one.task_id is not None
        if turns.fold(tx, one.task_id, into=run_id):
            taken.append(one.input_id)
    inputs.take(tx, taken, run_id)
    return [one.text for one in waiting if one.input_id in taken]
