"""Failover: which failure means what, who is asked next, and who rests for how long."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelRequest, TextPart, UserPromptPart
from pydantic_ai.models import ModelRequestParameters

from tawny.clock import HOUR, MINUTE, Cancel, SystemClock
from tawny.config import Fallback, Model
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.models import spec as specs
from tawny.models.accounts import Accounts
from tawny.models.failures import ModelFailure, ModelsUnavailable, explain
from tawny.models.providers import build
from tawny.models.router import Router
from tawny.testing import FakeProvider
from tawny.testing.provider import Answer, Broken, Status, Text


class ShiftedClock(SystemClock):
    """The machine's clock, moved ahead by the test; its sleeps are short."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead

    def steady(self) -> int:
        return super().steady() + self.ahead

    def call_steady(self, due: int, callback: Callable[[], None]) -> Cancel:
        self.ahead += max(0, due - self.steady())
        return super().call_steady(due, callback)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def ledger(tmp_path: Path, clock: ShiftedClock) -> AsyncIterator[Ledger]:
    store = SqliteStore(tmp_path / "state.db")
    migrate(store, clock)
    async with Ledger(store, clock) as opened:
        yield opened


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider().running() as server:
        yield server


MakeRouter = Callable[..., Router]


@pytest.fixture
async def router(ledger: Ledger, clock: ShiftedClock, provider: FakeProvider) -> AsyncIterator[MakeRouter]:
    made: list[Router] = []

    def make(*, keys: list[str] | None = None, fallback: str = "", timeout: str = "5s") -> Router:
        fallbacks = (Fallback(name="openai:second", base_url=fallback),) if fallback else ()
        config = Model(
            name="openai:first",
            base_url=provider.base_url,
            api_key=keys or "",
            timeout=timeout,
            fallbacks=fallbacks,
        )
        made.append(
            Router(
                specs.candidates(config),
                Accounts(ledger, clock),
                build=build,
                secret=lambda ref: ref.removeprefix("env:"),
                clock=clock,
            )
        )
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def ask(router: Router, text: str = "hello") -> str:
    """One model call through the router, the way a turn makes it."""

    async def call() -> str:
        messages = [ModelRequest(parts=[UserPromptPart(text)])]
        async with router.stream(messages, ModelRequestParameters()) as events:
            async for _ in events:
                pass
            return "".join(part.content for part in events.get().parts if isinstance(part, TextPart))

    answer, _ = await router.attempt(call, retrying=lambda: None)
    return answer


def always(answer: Answer) -> Callable[[object, int], Answer]:
    return lambda _body, _n: answer


def first(count: int, answer: Answer) -> Callable[[object, int], Answer]:
    """`answer` for the first `count` requests, a text after that."""
    return lambda _body, n: answer if n <= count else Text("fine again")


async def test_a_model_on_loopback_needs_no_key(router: MakeRouter, provider: FakeProvider) -> None:
    assert await ask(router()) == "echo: hello"
    assert provider.keys == ["Bearer none"]


@pytest.mark.parametrize(
    "trouble",
    [Status(500), Status(503), Status(529), Broken("reset"), Broken("half"), Broken("garbage")],
    ids=lambda trouble: getattr(trouble, "how", None) or str(getattr(trouble, "status", "")),
)
async def test_passing_trouble_is_tried_again(
    router: MakeRouter, provider: FakeProvider, trouble: Answer
) -> None:
    provider.plan = first(2, trouble)
    assert await ask(router()) == "fine again"
    assert len(provider.requests) == 3


async def test_retry_after_of_a_rate_limit_is_honoured(
    router: MakeRouter, provider: FakeProvider, clock: ShiftedClock
) -> None:
    provider.plan = first(1, Status(429, "rate_limit_exceeded", headers=(("retry-after", "7"),)))
    before = clock.ahead
    assert await ask(router()) == "fine again"
    assert clock.ahead - before >= 6_900_000


async def test_a_server_that_hangs_is_left_at_the_timeout(router: MakeRouter, provider: FakeProvider) -> None:
    provider.plan = always(Broken("hang"))
    with pytest.raises(ModelsUnavailable) as caught:
        await ask(router(timeout="200ms"))
    assert caught.value.kind == "timeout"
    assert "did not answer in time" in explain(caught.value)


async def test_a_server_that_stalls_between_bytes_is_left_too(
    router: MakeRouter, provider: FakeProvider
) -> None:
    provider.plan = always(Broken("stall"))
    with pytest.raises(ModelsUnavailable) as caught:
        await ask(router(timeout="200ms"))
    assert caught.value.kind == "timeout"


async def test_ten_megabytes_of_text_are_cut_off(router: MakeRouter, provider: FakeProvider) -> None:
    provider.plan = always(Broken("huge"))
    with pytest.raises(ModelsUnavailable) as caught:
        await ask(router())
    assert caught.value.kind == "format"


async def test_the_next_credential_takes_over_and_the_first_one_rests(
    router: MakeRouter, provider: FakeProvider
) -> None:
    one = router(keys=["env:first-key", "env:second-key"])
    provider.plan = lambda _body, _n: (
        Status(401) if provider.keys[-1] == "Bearer first-key" else Text("second")
    )
    assert await ask(one) == "second"
    assert await ask(one) == "second"
    assert provider.keys == ["Bearer first-key", "Bearer second-key", "Bearer second-key"]


async def test_the_fallback_model_answers_when_the_main_one_cannot(
    router: MakeRouter, provider: FakeProvider
) -> None:
    async with FakeProvider().running() as other:
        provider.plan = always(Status(402, "insufficient_quota"))
        assert await ask(router(fallback=other.base_url)) == "echo: hello"
        assert other.requests[0]["model"] == "second"


async def test_a_hard_limit_costs_one_probe_a_window(
    router: MakeRouter, provider: FakeProvider, clock: ShiftedClock
) -> None:
    one = router()
    provider.plan = always(Status(429, "insufficient_quota", "You exceeded your current quota"))
    for _ in range(26):
        with pytest.raises(ModelsUnavailable):
            await ask(one)
    assert len(provider.requests) == 1
    clock.ahead += 5 * HOUR + MINUTE
    for _ in range(26):
        with pytest.raises(ModelsUnavailable):
            await ask(one)
    assert len(provider.requests) == 2
    clock.ahead += 9 * HOUR
    with pytest.raises(ModelsUnavailable):
        await ask(one)
    assert len(provider.requests) == 2, "the second rest is twice as long"
    provider.plan = always(Text("paid"))
    clock.ahead += 2 * HOUR
    assert await ask(one) == "paid"
    assert await ask(one) == "paid"


async def test_passing_trouble_of_the_only_account_is_no_reason_to_refuse_the_next_one(
    router: MakeRouter, provider: FakeProvider
) -> None:
    one = router(timeout="300ms")
    provider.plan = first(1, Broken("hang"))
    with pytest.raises(ModelsUnavailable):
        await ask(one)
    assert await ask(one) == "fine again"


async def test_while_the_main_model_rests_the_fallback_is_asked_at_once(
    router: MakeRouter, provider: FakeProvider, clock: ShiftedClock
) -> None:
    async with FakeProvider().running() as other:
        one = router(fallback=other.base_url, timeout="300ms")
        provider.plan = first(1, Broken("hang"))
        assert await ask(one) == "echo: hello"
        assert await ask(one) == "echo: hello"
        assert len(provider.requests) == 1
        clock.ahead += MINUTE
        assert await ask(one) == "fine again"


async def test_rests_outlive_a_restart(router: MakeRouter, provider: FakeProvider) -> None:
    provider.plan = always(Status(401))
    with pytest.raises(ModelsUnavailable):
        await ask(router())
    asked = len(provider.requests)
    with pytest.raises(ModelsUnavailable) as caught:
        await ask(router())
    assert len(provider.requests) == asked
    assert 0 < (caught.value.retry_after or 0) <= 60


async def test_too_long_a_conversation_rests_nobody(router: MakeRouter, provider: FakeProvider) -> None:
    one = router()
    provider.plan = first(1, Status(400, "context_length_exceeded", "maximum context length is 8192 tokens"))
    with pytest.raises(ModelFailure) as caught:
        await ask(one)
    assert caught.value.kind == "context_overflow"
    assert await ask(one) == "fine again"


async def test_a_refused_connection_ends_in_a_sentence_with_the_mend(
    router: MakeRouter, provider: FakeProvider
) -> None:
    one = router()
    provider.port = 1
    one.specs[:] = [specs.ModelSpec(provider="openai", model="x", base_url="http://127.0.0.1:1/v1")]
    with pytest.raises(ModelsUnavailable) as caught:
        await ask(one)
    assert "base_url" in explain(caught.value)


def test_the_key_itself_is_nowhere_in_the_account() -> None:
    one = specs.ModelSpec(provider="openai", model="x", key="env:SECRET")
    assert "SECRET" not in one.account
