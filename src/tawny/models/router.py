"""One model in front of many: tries accounts and fallback models in order, and lets those that failed rest."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TypeVar

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse

from tawny import clock as clocks
from tawny.clock import SECOND, Clock, Instant
from tawny.domain.cooldown import PASSING
from tawny.errors import TawnyError
from tawny.log import Log
from tawny.models.accounts import Accounts
from tawny.models.classify import classify
from tawny.models.failures import ModelFailure, ModelsUnavailable, failure
from tawny.models.providers import Built
from tawny.models.spec import ModelSpec

T = TypeVar("T")
Build = Callable[[ModelSpec, str], Built]
_log = Log("models.router")


class Router:
    """The model a turn talks to. Wrap each call in `attempt`, which chooses the account and tries others."""

    def __init__(
        self,
        specs: list[ModelSpec],
        accounts: Accounts,
        *,
        build: Build,
        secret: Callable[[str], str],
        clock: Clock,
    ) -> None:
        self.specs = specs
        self._accounts = accounts
        self._build = build
        self._secret = secret
        self._clock = clock
        self._built: dict[ModelSpec, Built] = {}
        self._current: ContextVar[ModelSpec] = ContextVar("tawny_model", default=specs[0])

    @property
    def current(self) -> ModelSpec:
        """The spec that serves the call at hand."""
        return self._current.get()

    async def attempt(
        self, call: Callable[[], Awaitable[T]], *, retrying: Callable[[], None]
    ) -> tuple[T, ModelSpec]:
        """Run `call` with the first account that serves it; its result and the spec that gave it.

        `retrying` is told when what a failed try has already streamed is void.

        Raises:
            ModelFailure: the request itself is at fault (too long, refused).
            ModelsUnavailable: no account is left to ask.
        """
        failures: list[ModelFailure] = []
        resting: list[tuple[ModelSpec, Instant]] = []
        for spec in self.specs:
            until = await self._accounts.claim(spec.account)
            if until is not None:
                resting.append((spec, until))
            elif (served := await self._served(spec, call, retrying, failures)) is not None:
                return served
        if not failures and (spec := await self._last_resort(resting)) is not None:
            served = await self._served(spec, call, retrying, failures)
            if served is not None:
                return served
        if len(failures) == 1 and not resting and not failures[0].rests:
            raise failures[0]
        raise await self._nobody(failures, resting)

    async def _served(
        self,
        spec: ModelSpec,
        call: Callable[[], Awaitable[T]],
        retrying: Callable[[], None],
        failures: list[ModelFailure],
    ) -> tuple[T, ModelSpec] | None:
        """The result and its spec; `None` with one more failure, where the next one may be asked."""
        try:
            return await self._with(spec, call, retrying), spec
        except ModelFailure as problem:
            if problem.kind == "context_overflow":
                raise
            failures.append(problem)
            retrying()
            return None

    async def _last_resort(self, resting: list[tuple[ModelSpec, Instant]]) -> ModelSpec | None:
        """With everybody resting, the one that rests for passing trouble and is due first: it may serve this one."""
        states = await self._accounts.states()
        passing = [
            (until, n)
            for n, (spec, until) in enumerate(resting)
            if (rest := states.get(spec.account)) is not None and rest.reason in PASSING
        ]
        return resting[min(passing)[1]][0] if passing else None

    async def _with(
        self, spec: ModelSpec, call: Callable[[], Awaitable[T]], retrying: Callable[[], None]
    ) -> T:
        tries = 0
        while True:
            tries += 1
            token = self._current.set(spec)
            try:
                result = await call()
            except Exception as error:  # a stranger's code: the provider's SDK
                problem = classify(error, spec.label)
                if problem is None:
                    raise
                _log.warning("model call failed", model=spec.label, kind=problem.kind, tries=tries)
                breather = problem.breather(tries)
                if breather is not None:
                    retrying()
                    await clocks.sleep(self._clock, breather)
                    continue
                if problem.rests:
                    await self._accounts.failed(spec.account, problem)
                if problem is error:
                    raise
                raise problem from error
            finally:
                self._current.reset(token)
            await self._accounts.succeeded(spec.account)
            return result

    async def _nobody(
        self, failures: list[ModelFailure], resting: list[tuple[ModelSpec, Instant]]
    ) -> ModelsUnavailable:
        states = await self._accounts.states()
        now = self._clock.now()
        due = [rest.until for spec in self.specs if (rest := states.get(spec.account)) is not None]
        retry_after = max(0.0, (min(due) - now) / SECOND) if due else None
        if failures:
            first = failures[0]
            return ModelsUnavailable(first.message, kind=first.kind, retry_after=retry_after, hint=first.hint)
        spec = resting[0][0]
        rest = states.get(spec.account)
        reason = failure(rest.reason if rest else "overloaded", spec.label)
        return ModelsUnavailable(
            f"{reason.message}, so it is given a rest",
            kind=reason.kind,
            retry_after=retry_after,
            hint=reason.hint,
        )

    def _model(self) -> Model:
        spec = self.current
        built = self._built.get(spec)
        if built is None:
            try:
                key = self._secret(spec.key) if spec.key else ""
            except TawnyError as error:
                raise ModelFailure("auth", f"{spec.label}: {error.message}", hint=error.hint) from error
            built = self._built[spec] = self._build(spec, key)
        return built.model

    async def close(self) -> None:
        """Close the connections to every server."""
        for built in self._built.values():
            if built.client is not None:
                await built.client.aclose()
        self._built.clear()

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[ModelMessage], parameters: ModelRequestParameters
    ) -> AsyncGenerator[StreamedResponse]:
        """One request to the model that serves the call at hand; inside `attempt`."""
        async with model_request_stream(
            self._model(), messages, model_request_parameters=parameters
        ) as stream:
            yield stream
