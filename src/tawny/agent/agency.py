"""The agent's place in the house: light to build; what is heavy is loaded with the first turn, or ahead of it."""

import asyncio
import gc
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from tawny.agent.budgets import Keeper
from tawny.agent.commands import Commands
from tawny.agent.desks import Desks
from tawny.agent.follower import Follower
from tawny.agent.inbox import Inbox
from tawny.agent.live import Live
from tawny.agent.settings import turn_settings
from tawny.config import AgentProfile, Config, Home, Model
from tawny.engine.kinds import Context, Result
from tawny.errors import TawnyError
from tawny.ledger.database import Ledger
from tawny.log import Log
from tawny.models.accounts import Accounts
from tawny.models.spec import ModelSpec, candidates, parse_name
from tawny.tools.call import Door
from tawny.tools.registry import Tools

if TYPE_CHECKING:
    from tawny.agent.turn import Turns
    from tawny.models.router import Router

_log = Log("agent")
Secret = Callable[[str], str]
"""The secret behind a reference such as `env:NAME`."""


class TurnParams(Protocol):
    """What a turn's task was given (`runners.agent_turn.AgentTurn`)."""

    @property
    def message(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def session(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def tools(self) -> tuple[str, ...] | None: ...
    @property
    def input(self) -> str: ...
    @property
    def helper(self) -> bool: ...


class Agency:
    """Owns the inbox, the live stream and, once loaded, the turns."""

    def __init__(
        self,
        home: Home,
        config: Config,
        ledger: Ledger,
        *,
        door: Door,
        own_tools: Callable[[AgentProfile], Tools],
        secret: Secret,
        commands: Commands | None = None,
        build: Any = None,
    ) -> None:
        self.settings = turn_settings(config)
        self.live = Live()
        self.commands = commands or Commands(queueing=self.settings.queueing, model=config.model.name)
        self.inbox = Inbox(ledger, self.live, self.commands, self.settings)
        self.follower = Follower(ledger, self.live, every=self.settings.progress_every)
        self.specs = candidates(config.model)
        self._home = home
        self._config = config
        self._ledger = ledger
        self.door = door
        self._secret = secret
        self._build = build
        self._keeper = Keeper(ledger, config.budgets, zone=self.settings.zone)
        self._accounts = Accounts(ledger, ledger.clock)
        self._desks = Desks(home, config, tools=door.tools, own_tools=own_tools)
        self._routers: dict[str, Router] = {}
        self._turns: Turns | None = None
        self._loading = asyncio.Lock()

    async def run_turn(self, ctx: Context, params: TurnParams) -> Result:
        """The kind `agent_turn`'s run."""
        turns = await self.turns()
        from tawny.agent.talk import Request  # noqa: PLC0415 - loaded by now

        session = ctx.task.session or params.session or f"run:{ctx.task.task_id}"
        return await turns.run(
            ctx,
            Request(
                session=session,
                text=params.message,
                chat=bool(params.input),
                agent=params.agent,
                model=params.model,
                tools=params.tools,
                helper=params.helper,
            ),
        )

    async def turns(self) -> "Turns":
        """The turns; loads the model library with the first call, off the loop."""
        async with self._loading:
            if self._turns is None:
                module = await asyncio.to_thread(importlib.import_module, "tawny.agent.turn")
                self._turns = module.Turns(
                    self._ledger,
                    router_for=self.router,
                    door=self.door,
                    live=self.live,
                    desk_of=self._desks.of,
                    settings=self.settings,
                    keeper=self._keeper,
                    root=self._home.root,
                )
                _settle_memory()
        assert self._turns is not None
        return self._turns

    async def ask(self, ctx: Context, system: str, prompt: str) -> str:
        """The configured model's plain answer, without tools and within the budgets (`engine.kinds.Ask`).

        Raises:
            Refused: a budget is used up; who asks goes on without.
        """
        plain = await asyncio.to_thread(importlib.import_module, "tawny.agent.plain")
        gate = self._keeper.gate(ctx, ctx.task.session or f"run:{ctx.task.task_id}")
        said: str = await plain.ask(ctx, self.router(""), system=system, prompt=prompt, gate=gate)
        return said

    async def preload(self) -> None:
        """Load ahead of the first message: the library, and the model's SDK. Not for the demo model: idle is light."""
        if self.specs[0].provider == "demo":
            return
        try:
            await self.turns()
            await asyncio.to_thread(self.router, "")
            await asyncio.to_thread(_import_sdk, self.specs[0].provider)
        except TawnyError as error:
            _log.warning("the model is not ready", problem=error.message)

    async def close(self) -> None:
        for router in self._routers.values():
            await router.close()

    def router(self, name: str) -> "Router":
        """The router for a model's name, with the configured accounts and fallbacks; empty for the configured one.

        Raises:
            ConfigError: there is no such model.
        """
        router = self._routers.get(name)
        if router is None:
            from tawny.models import providers  # noqa: PLC0415 - heavy
            from tawny.models.router import Router  # noqa: PLC0415 - heavy

            router = self._routers[name] = Router(
                self._specs_for(name),
                self._accounts,
                build=self._build or providers.build,
                secret=self._secret,
                clock=self._ledger.clock,
            )
        return router

    def _specs_for(self, name: str) -> list[ModelSpec]:
        """Another model by the same provider keeps its server and accounts; one by another has its own defaults."""
        if not name or name == self._config.model.name:
            return self.specs
        provider, _ = parse_name(name)
        given = self._config.model
        configured = next(
            (one for one in (given, *given.fallbacks) if one.name == name),
            next((one for one in (given, *given.fallbacks) if one.name.startswith(f"{provider}:")), None),
        )
        base_url = configured.base_url if configured else ""
        api_key: str | list[str] = configured.api_key if configured else ""
        return candidates(
            Model(
                name=name,
                base_url=base_url,
                api_key=api_key,
                timeout=given.timeout,
                fallbacks=given.fallbacks,
            )
        )


def _settle_memory() -> None:
    """What was just loaded stays for good: the collector need not walk it (a fifth of a turn's time)."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _import_sdk(provider: str) -> None:
    module = {
        "openai": "pydantic_ai.models.openai",
        "ollama": "pydantic_ai.models.openai",
        "anthropic": "pydantic_ai.models.anthropic",
        "google": "pydantic_ai.models.google",
    }.get(provider)
    if module is not None:
        try:
            importlib.import_module(module)
        except ImportError:
            # The first turn says so, with the mend.
            return
