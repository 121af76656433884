"""From a task to a tap on a phone and back, over a restart, with everything real but Telegram's servers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from fake_http import started
from tawny.app import open_app
from tawny.config import Config, Home
from tawny.domain.approvals import Question
from tawny.domain.tasks import Delivery, Submission, Task
from tawny.engine.kinds import Context, Kind
from tawny.ledger import tasks
from tawny.ledger.submission import submit
from telegram_api import FakeTelegram

pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")
OWNER = 12345678


class NoParams(msgspec.Struct):
    pass


class Shop:
    """Where money is spent: it must happen once."""

    def __init__(self) -> None:
        self.bought = 0

    @property
    def kind(self) -> Kind:
        async def run(context: Context, params: NoParams) -> str:
            del params
            question = Question(
                tool="pay",
                operation="payment.send",
                arguments={"amount": 100},
                level=4,
                reason="it costs money",
            )
            answer = await context.ask("may-i", question)

            async def buy() -> str:
                self.bought += 1
                return "bought"

            if answer.status != "approved":
                return f"left it: {answer.status}"
            return str(await context.step("buy", buy))

        return Kind(name="shopping", params=NoParams, run=run)


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with started(FakeTelegram()) as fake:
        yield fake


def config_for(fake: FakeTelegram, home: Home) -> Config:
    (home.root / "token").write_text(fake.token)
    table = {"token": "file:token", "api_base": fake.http.url, "allow": [OWNER]}
    return Config(channels={"telegram": (table,)})


async def until(condition: Any, *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def ended(app: Any, task_id: str) -> Task:
    async with asyncio.timeout(20):
        while not (task := await app.ledger.read(lambda tx: tasks.get(tx, task_id))).status.is_terminal:
            await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize(
    ("label", "bought", "result"), [("Approve", 1, "bought"), ("Deny", 0, "left it: denied")]
)
async def test_an_approval_tapped_after_a_restart_runs_the_call_once(
    home: Home, telegram: FakeTelegram, label: str, bought: int, result: str
):
    config, shop = config_for(telegram, home), Shop()
    work = Submission(kind="shopping", title="Shoes", delivery=Delivery(channels=("telegram",)))
    async with open_app(home, config, kinds={"shopping": shop.kind}) as app:
        task = await app.ledger.write(lambda tx: submit(tx, work))
        await until(lambda: telegram.arrived)
    (question,) = telegram.arrived
    assert question["chat"]["id"] == OWNER
    assert "100" in question["text"]

    async with open_app(home, config, kinds={"shopping": shop.kind}) as app:
        telegram.tap(question, label, sender=666)
        for _ in range(3):
            telegram.tap(question, label)
        assert (await ended(app, task.task_id)).result == {"text": result}
        await until(lambda: any(message["text"] == result for message in telegram.arrived))
        await until(lambda: any("already" in message["text"] for message in telegram.arrived))
        await until(lambda: telegram.edits)
    assert shop.bought == bought
    assert "reply_markup" not in telegram.arrived[0]
    assert not [message for message in telegram.arrived if message["chat"]["id"] == 666]


async def test_a_result_that_could_not_be_brought_lies_in_the_inbox(home: Home, telegram: FakeTelegram):
    telegram.blocked.add(OWNER)
    work = Submission(kind="remind", params={"text": "milk"}, delivery=Delivery(channels=("telegram",)))
    async with open_app(home, config_for(telegram, home)) as app:
        task = await app.ledger.write(lambda tx: submit(tx, work))

        async def settled() -> bool:
            found = await app.ledger.read(lambda tx: tasks.get(tx, task.task_id))
            return found.delivery_status == "failed"

        async with asyncio.timeout(20):
            while not await settled():
                await asyncio.sleep(0.01)
            while not await app.ledger.read(
                lambda tx: tx.value(
                    "SELECT COUNT(*) FROM outbox WHERE target = 'inbox' AND status = 'delivered'"
                )
            ):
                await asyncio.sleep(0.01)


async def test_a_bad_token_stops_nothing_else(home: Home, telegram: FakeTelegram):
    config = config_for(telegram, home)
    telegram.token = "another"
    work = Submission(kind="remind", params={"text": "milk"}, delivery=Delivery(channels=("file:out.md",)))
    async with open_app(home, config) as app:
        await app.ledger.write(lambda tx: submit(tx, work))
        await until(lambda: "telegram" in app.delivery.roster.disabled)
        await until((home.workspace / "out.md").exists)
    assert "milk" in (home.workspace / "out.md").read_text()
