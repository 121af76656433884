"""A turn: opens the session, builds the context, runs the agent durably, records what was said and tells it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from pydantic_ai.messages import ModelMessage

from tawny.agent import transcript
from tawny.agent.budgets import Keeper
from tawny.agent.compaction import Compactor
from tawny.agent.exchange import converse
from tawny.agent.live import Delta, Live, Reply
from tawny.agent.prompt import Piece, Workspace, pieces, render
from tawny.agent.run import Bounds, Ended, Run, is_overflow
from tawny.agent.settings import TurnSettings, megabytes
from tawny.agent.toolbox import Toolbox
from tawny.clock import to_datetime
from tawny.domain.addresses import Address
from tawny.domain.messages import Outgoing
from tawny.domain.origin import remembered, to_remember
from tawny.domain.sessions import LOCAL
from tawny.domain.tasks import Delivery, Json, Notify
from tawny.engine.kinds import Context, Result
from tawny.errors import InvalidInput, PermanentError, TawnyError, TemporaryError
from tawny.ledger import outbox, sessions, transitions, turns
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.sessions import Entry, Note, Session
from tawny.ledger.tasks import get, to_json
from tawny.log import Log
from tawny.models.failures import ModelFailure, ModelsUnavailable, explain
from tawny.models.router import Router
from tawny.tools.call import Door

_log = Log("agent.turn")
_PASSES = 2
_SESSIONS_HELD = 64
_WENT_ON = "\n\n(A restart interrupted me; I went on where I had stopped.)"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn is asked. `chat` marks one that a person waits for; `tools` names the tools it has, `None` all."""

    session: str
    text: str
    chat: bool
    agent: str = ""
    model: str = ""
    tools: tuple[str, ...] | None = None
    helper: bool = False


class _Opening(msgspec.Struct, frozen=True):
    session: Session | None
    fresh: list[Entry]
    own: list[Entry]
    notes: list[Note]
    attached: list[str]


class _Held(msgspec.Struct):
    """A session's messages in memory, so that a turn reads only what is new."""

    starts_after: int
    last: int
    messages: list[ModelMessage]
    ends: list[int]
    chars: int = 0

    def history(self) -> tuple[list[ModelMessage], int]:
        """The messages as a provider takes them, and about how many tokens they are."""
        return transcript.valid(self.messages), self.chars // transcript.CHARS_PER_TOKEN


RouterFor = Callable[[str], Router]


class Turns:
    """Runs turns. One for the whole process; what belongs to one turn is in `Run`."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        router_for: RouterFor,
        door: Door,
        live: Live,
        workspace_for: Callable[[str], Workspace],
        settings: TurnSettings,
        keeper: Keeper,
        root: Path,
        skills: Callable[[str], list[str]] = lambda _agent: [],
    ) -> None:
        self._ledger = ledger
        self._router_for = router_for
        self._door = door
        self._tools = door.tools
        self._live = live
        self._workspace_for = workspace_for
        self._settings = settings
        self._keeper = keeper
        self._root = root
        self._skills = skills
        self._zone = ZoneInfo(settings.zone)
        self._toolbox = Toolbox(door.tools)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._compactor = Compactor(ledger)

    async def run(self, ctx: Context, request: Request) -> Result:
        """One turn from its message to its recorded answer."""
        run_id = ctx.task.task_id
        opening = await self._ledger.read(lambda tx: self._open(tx, request.session, run_id))
        if opening.session is None:
            await self._ledger.write(lambda tx: sessions.ensure(tx, request.session, agent=request.agent))
            opening = await self._ledger.read(lambda tx: self._open(tx, request.session, run_id))
        session = opening.session
        assert session is not None
        turn = _Turn(
            self._ledger,
            self._live,
            ctx,
            request=request,
            session=session,
            notes=opening.notes,
            attached=opening.attached,
        )
        if opening.own and not turn.handed_over:
            # Everything was said and recorded; only the end of the task was not.
            return {"text": opening.own[-1].text, "session": request.session}
        turn.held = self._take_in(session, opening.fresh)
        return await self._answer(ctx, request, turn)

    def _open(self, tx: Tx, key: str, run_id: str) -> _Opening:
        session = sessions.find(tx, key)
        if session is None:
            return _Opening(None, [], [], [], [])
        held = self._held.get(key)
        after = session.starts_after
        if held is not None and held.starts_after == session.starts_after:
            after = held.last
        fresh = [entry for entry in sessions.entries(tx, key, after=after) if entry.run_id != run_id]
        own = sessions.of_run(tx, key, run_id)
        return _Opening(session, fresh, own, sessions.notes(tx, key, run_id), _attached(tx, run_id))

    def _take_in(self, session: Session, fresh: list[Entry]) -> _Held:
        held = self._held.pop(session.session, None)
        if held is None or held.starts_after != session.starts_after:
            held = _Held(session.starts_after, session.starts_after, [], [])
        for entry in fresh:
            if entry.message and entry.n > held.last:
                taken = transcript.from_entries([entry])
                held.messages.extend(taken)
                held.chars += sum(map(transcript.size, taken))
                held.ends.append(entry.n)
                held.last = entry.n
        self._held[session.session] = held
        while len(self._held) > _SESSIONS_HELD:
            self._held.popitem(last=False)
        return held

    # --- the exchange

    async def _answer(self, ctx: Context, request: Request, turn: "_Turn") -> Result:
        if (before := remembered(turn.session.settings.get("read"))) is not None:
            # Also a scheduled turn answers with this session's history before it.
            ctx.add_origin(before)
        if (
            turn.attached
            and (size := await asyncio.to_thread(self._size, turn.attached)) > self._settings.max_bytes
        ):
            turn.hand_over(f"{megabytes(size)} are attached")
        router = self._router_for(request.model or str(turn.session.settings.get("model") or ""))
        names = frozenset(self._tools if request.tools is None else request.tools)
        bounds = Bounds(
            model_calls=self._settings.turn_model_calls,
            tool_calls=self._settings.turn_tool_calls,
            result_chars=self._settings.context_tokens * transcript.CHARS_PER_TOKEN * 3 // 10,
        )
        run = Run(
            ctx,
            session=request.session,
            router=router,
            calls_through=lambda: self._door.for_run(
                ctx, session=request.session, window=self._settings.context_tokens
            ),
            tell=turn.tell,
            gate=self._keeper.gate(ctx, request.session),
            bounds=bounds,
            steer=turn.steer,
            around_tool=lambda name: turn.watch(name, self._settings.yield_after),
            wants=lambda calls: turn.bound(calls, self._settings.max_steps),
        )
        try:
            text, messages = await self._converse(names, run, request=request, turn=turn, bounds=bounds)
        except (ModelFailure, ModelsUnavailable, Ended) as error:
            raise await self._failed(error, request, turn) from error
        if ctx.task.crashes and request.chat:
            text += _WENT_ON
        turn.task_ids.extend(run.started_tasks)
        result: dict[str, Json] = {"text": text, "session": request.session}
        if run.silent and not request.chat:
            result["notify"] = False
            run_id = ctx.task.task_id
            await self._ledger.write(
                lambda tx: transitions.set_columns(
                    tx, get(tx, run_id), "notify_changed", notify=Notify.SILENT
                )
            )
        entries = transcript.to_entries(messages)
        entries[-1] = msgspec.structs.replace(entries[-1], task_ids=turn.task_ids)
        turn.finish(entries, text)
        return result

    def _size(self, files: list[str]) -> int:
        """Bytes of files in the home; of what is gone, none."""
        paths = [self._root / name for name in files]
        return sum(path.stat().st_size for path in paths if path.is_file())

    async def _converse(
        self,
        names: frozenset[str],
        run: Run,
        *,
        request: Request,
        turn: "_Turn",
        bounds: Bounds,
    ) -> tuple[str, list[ModelMessage]]:
        history, tokens = turn.held.history()
        budget = self._settings.context_tokens
        if tokens > budget * 8 // 10:
            history, tokens = await self._compact(run, turn)
        passes = 0
        while True:
            run.context_tokens = tokens + transcript.CONTEXT_OVERHEAD
            try:
                return await converse(
                    run,
                    self._toolbox.only(names),
                    text=request.text,
                    instructions=render(self._pieces(request, turn.session, turn.notes)),
                    history=history,
                )
            except ModelFailure as error:
                if not is_overflow(error) or passes >= _PASSES:
                    raise
                passes += 1
                history, tokens = await self._compact(run, turn)
                bounds = msgspec.structs.replace(bounds, result_chars=max(1000, bounds.result_chars // 8))
                run.again(bounds)

    async def _compact(self, run: Run, turn: "_Turn") -> tuple[list[ModelMessage], int]:
        """Let a summary stand for the older part; where there is nothing older, the history as it is."""
        held = turn.held
        after = await self._compactor.compact(
            run.ctx, run.router, turn.session, messages=held.messages, ends=held.ends
        )
        if after is None:
            return held.history()
        turn.session = after
        self._held.pop(after.session, None)
        run_id = run.run_id
        opening = await self._ledger.read(lambda tx: self._open(tx, after.session, run_id))
        turn.held = self._take_in(after, opening.fresh)
        return turn.held.history()

    def _pieces(self, request: Request, session: Session, notes: list[Note]) -> list[Piece]:
        now = to_datetime(self._ledger.clock.now(), self._zone)
        agent = request.agent or session.agent
        return pieces(
            name=agent or "Tawny",
            day=now.strftime("%A, %Y-%m-%d"),
            time=now.strftime("%H:%M"),
            zone=self._settings.zone,
            workspace=self._workspace_for(agent),
            rules=self._settings.background_rules,
            skills=self._skills(agent),
            summary=session.summary,
            notes=[note.text for note in notes],
            helper=request.helper,
        )

    async def context_of(self, key: str) -> tuple[list[Piece], list[Entry]]:
        """What the model would be told in the session's next turn, for `sessions show --context`."""
        session = await self._ledger.read(lambda tx: sessions.get(tx, key))
        entries = await self._ledger.read(lambda tx: sessions.entries(tx, key, after=session.starts_after))
        notes = await self._ledger.read(lambda tx: sessions.notes(tx, key, ""))
        return self._pieces(Request(session=key, text="", chat=True), session, notes), entries

    async def _failed(self, error: TawnyError, request: Request, turn: "_Turn") -> TawnyError:
        """What the engine is told of a failure; a person who waits gets a sentence at once."""
        said = f"I stopped: {error.message}." if isinstance(error, Ended) else explain(error)
        if request.chat and not turn.handed_over:
            entries = transcript.to_entries([transcript.user(request.text), transcript.assistant(said)])
            await turn.finish(entries, said, status="failed")
            return PermanentError(said)
        if isinstance(error, ModelsUnavailable):
            return TemporaryError(said, retry_after=error.retry_after)
        if isinstance(error, ModelFailure) and error.rests:
            return TemporaryError(said, retry_after=error.retry_after)
        return PermanentError(said)


class _Turn:
    """One turn's dealings with its session and with who waits for it."""

    def __init__(
        self,
        ledger: Ledger,
        live: Live,
        ctx: Context,
        *,
        request: Request,
        session: Session,
        notes: list[Note],
        attached: list[str],
    ) -> None:
        self.attached = attached
        self.session = session
        self.notes = notes
        self.held = _Held(session.starts_after, session.starts_after, [], [])
        self.task_ids: list[str] = []
        self.handed_over = request.chat and ctx.task.detached
        self._ledger = ledger
        self._live = live
        self._ctx = ctx
        self._request = request
        self._run_id = ctx.task.task_id

    def tell(self, text: str, kind: str) -> None:
        if kind in ("text", "tool", "void"):
            self._live.tell(Delta(session=self.session.session, run_id=self._run_id, text=text, kind=kind))

    async def steer(self, call_id: str) -> list[str]:
        """What was said meanwhile and is to be heeded at once; taken up once, journaled."""
        mode = str(self.session.settings.get("queue", {}).get("mode", "steer"))
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
        sessions.answer(tx, self._run_id, said)
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


def _attached(tx: Tx, run_id: str) -> list[str]:
    """The files that came with a turn's message, by their paths in the home."""
    kept = sessions.input_of(tx, run_id)
    files: Any = (kept.detail.get("attachments") if kept is not None else None) or []
    return [str(one["path"]) for one in files if one.get("path")]


def _take_queued(tx: Tx, session: str, run_id: str) -> list[str]:
    """Take up what waits: the inputs' own turns are folded into this run."""
    waiting = [one for one in sessions.queued(tx, session) if one.task_id not in (None, run_id)]
    taken: list[str] = []
    for one in waiting:
        assert one.task_id is not None
        if turns.fold(tx, one.task_id, into=run_id):
            taken.append(one.input_id)
    sessions.take(tx, taken, run_id)
    return [one.text for one in waiting if one.input_id in taken]


def reply_address(channel: str, to: str, thread: str) -> str | None:
    """Where answers to a message go; `None` for channels of the owner's own."""
    return None if channel in LOCAL else str(Address(channel, to, thread))


def check_tools(names: Mapping[str, object], wanted: tuple[str, ...]) -> None:
    """Refuse tools nobody has.

    Raises:
        InvalidInput: names them.
    """
    if unknown := [name for name in wanted if name not in names]:
        raise InvalidInput(
            f"tools: there is no {', '.join(unknown)}", hint=f"known: {', '.join(sorted(names))}"
        )
