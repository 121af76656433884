"""A turn: opens the session, builds the context, runs the agent durably, records what was said and tells it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from pydantic_ai.messages import ModelMessage

from tawny.agent import transcript
from tawny.agent.budgets import Keeper
from tawny.agent.compaction import Compactor
from tawny.agent.desks import Desk
from tawny.agent.exchange import converse
from tawny.agent.histories import Histories, History
from tawny.agent.live import Live
from tawny.agent.prompt import pieces, render
from tawny.agent.run import Bounds, Ended, Run, is_overflow
from tawny.agent.settings import TurnSettings, megabytes
from tawny.agent.talk import Request, Talk
from tawny.agent.toolbox import Toolbox
from tawny.clock import to_datetime
from tawny.domain.origin import remembered
from tawny.domain.tasks import Json, Notify
from tawny.engine.kinds import Context, Result
from tawny.errors import PermanentError, TawnyError, TemporaryError
from tawny.ledger import sessions, transitions
from tawny.ledger.database import Ledger
from tawny.ledger.tasks import get
from tawny.log import redact
from tawny.models.failures import ModelFailure, ModelsUnavailable, explain
from tawny.models.router import Router
from tawny.tools.call import Door

_PASSES = 2
_WENT_ON = "\n\n(A restart interrupted me; I went on where I had stopped.)"


RouterFor = Callable[[str], Router]


class Turns:
    """Runs turns. One for the whole process; what belongs to one turn is in `Run` and `Talk`."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        router_for: RouterFor,
        door: Door,
        live: Live,
        desk_of: Callable[[str], Desk],
        settings: TurnSettings,
        keeper: Keeper,
        root: Path,
    ) -> None:
        self._ledger = ledger
        self._router_for = router_for
        self._door = door
        self._live = live
        self._desk_of = desk_of
        self._settings = settings
        self._keeper = keeper
        self._root = root
        self._zone = ZoneInfo(settings.zone)
        self._toolbox = Toolbox(door.tools)
        self._histories = Histories(ledger)
        self._compactor = Compactor(ledger)

    async def run(self, ctx: Context, request: Request) -> Result:
        """One turn from its message to its recorded answer."""
        run_id = ctx.task.task_id
        opening, history = await self._histories.open(request.session, run_id)
        if opening.session is None:
            await self._ledger.write(lambda tx: sessions.ensure(tx, request.session, agent=request.agent))
            opening, history = await self._histories.open(request.session, run_id)
        session = opening.session
        assert session is not None
        talk = Talk(
            self._ledger,
            self._live,
            ctx,
            request=request,
            session=session,
            opening=opening,
            queue=self._settings.queueing.mode,
        )
        if opening.own and not talk.handed_over:
            # Everything was said and recorded; only the end of the task was not.
            return {"text": opening.own[-1].text, "session": request.session}
        if (before := remembered(session.settings.get("read"))) is not None:
            # Also a scheduled turn answers with this session's history before it.
            ctx.add_origin(before)
        size = await asyncio.to_thread(self._size, opening.attached) if opening.attached else 0
        if size > self._settings.max_bytes:
            talk.hand_over(f"{megabytes(size)} are attached")
        return await self._answer(ctx, request, talk, history)

    # --- the exchange

    async def _answer(self, ctx: Context, request: Request, talk: Talk, held: History) -> Result:
        session = talk.session
        desk = self._desk_of(request.agent or session.agent)
        given = str(session.settings.get("model") or "")
        router = self._router_for(request.model or given or desk.profile.model)
        names = desk.may_use(request.tools)
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
                ctx, session=request.session, window=self._settings.context_tokens, tools=desk.tools
            ),
            tell=talk.tell,
            gate=self._keeper.gate(ctx, request.session),
            bounds=bounds,
            steer=talk.steer,
            around_tool=lambda name: talk.watch(name, self._settings.yield_after),
            wants=lambda calls: talk.bound(calls, self._settings.max_steps),
        )
        try:
            text, messages = await self._converse(
                names, run, request=request, talk=talk, held=held, desk=desk, bounds=bounds
            )
        except (ModelFailure, ModelsUnavailable, Ended) as error:
            raise await self._failed(error, request, talk) from error
        if ctx.task.crashes and request.chat:
            text += _WENT_ON
        talk.task_ids.extend(run.started_tasks)
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
        entries[-1] = msgspec.structs.replace(entries[-1], task_ids=talk.task_ids)
        talk.finish(entries, text)
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
        talk: Talk,
        held: History,
        desk: Desk,
        bounds: Bounds,
    ) -> tuple[str, list[ModelMessage]]:
        history, tokens = held.told()
        budget = self._settings.context_tokens
        if tokens > budget * 8 // 10:
            held, history, tokens = await self._compact(run, talk, held)
        passes = 0
        while True:
            run.context_tokens = tokens + transcript.CONTEXT_OVERHEAD
            try:
                return await converse(
                    run,
                    self._toolbox.only(names),
                    text=request.text,
                    instructions=await self._instructions(request, talk, desk),
                    history=history,
                )
            except ModelFailure as error:
                if not is_overflow(error) or passes >= _PASSES:
                    raise
                passes += 1
                held, history, tokens = await self._compact(run, talk, held)
                bounds = msgspec.structs.replace(bounds, result_chars=max(1000, bounds.result_chars // 8))
                run.again(bounds)

    async def _compact(self, run: Run, talk: Talk, held: History) -> tuple[History, list[ModelMessage], int]:
        """Let a summary stand for the older part; where there is nothing older, the history as it is."""
        after = await self._compactor.compact(
            run.ctx, run.router, talk.session, messages=held.messages, ends=held.ends
        )
        if after is not None:
            talk.session = after
            held = await self._histories.again(after, run.run_id)
        return held, *held.told()

    async def _instructions(self, request: Request, talk: Talk, desk: Desk) -> str:
        now = to_datetime(self._ledger.clock.now(), self._zone)
        parts = pieces(
            name=desk.profile.name or "Tawny",
            day=now.strftime("%A, %Y-%m-%d"),
            time=now.strftime("%H:%M"),
            zone=self._settings.zone,
            workspace=desk.words,
            rules=self._settings.background_rules,
            skills=await desk.skills(),
            summary=talk.session.summary,
            notes=[note.text for note in talk.notes],
            helper=request.helper,
        )
        # A secret that somebody has written into a file of the workspace, say, is not for the model to know.
        return redact(render(parts))

    async def _failed(self, error: TawnyError, request: Request, talk: Talk) -> TawnyError:
        """What the engine is told of a failure; a person who waits gets a sentence at once."""
        said = f"I stopped: {error.message}." if isinstance(error, Ended) else explain(error)
        if request.chat and not talk.handed_over:
            entries = transcript.to_entries([transcript.user(request.text), transcript.assistant(said)])
            await talk.finish(entries, said, status="failed")
            return PermanentError(said)
        if isinstance(error, ModelsUnavailable):
            return TemporaryError(said, retry_after=error.retry_after)
        if isinstance(error, ModelFailure) and error.rests:
            return TemporaryError(said, retry_after=error.retry_after)
        return PermanentError(said)
