"""A question on the phone outlives the gateway that asked it: killed at the worst moments, and started again."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fake_http import FakeHttp, Request, Response, started
from machine import Machine, until
from telegram_api import FakeTelegram

OWNER = 5555


class Shop:
    """Where money is spent; it knows by the key what it has seen. `on_order` is called once, as an order comes in."""

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.keys: list[str] = []
        self.on_order: Any = None

    def handle(self, request: Request) -> Response:
        self.keys.append(request.headers["idempotency-key"])
        if self.on_order is not None:
            act, self.on_order = self.on_order, None
            act()
        return Response(200, {})


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with started(FakeTelegram()) as fake:
        yield fake


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    await made.http.start()
    yield made
    await made.http.stop()


@pytest.fixture
def machine(tmp_path: Path, telegram: FakeTelegram, shop: Shop) -> Machine:
    home = tmp_path / ".local" / "share" / "tawny"
    home.mkdir(parents=True)
    (home / "telegram.token").write_text(telegram.token)
    (home / "config.toml").write_text(f"""
[[channels.telegram]]
token = "file:telegram.token"
allow = [{OWNER}]
api_base = "{telegram.http.url}"

[network]
allow_private = ["127.0.0.1:{shop.http.port}"]
""")
    return Machine(tmp_path)


def flow(shop: Shop) -> str:
    order = {"steps": 1, "step_seconds": 0, "effect_url": f"{shop.http.url}/order"}
    steps = [
        {"id": "ask", "approval": {"reason": "shoes cost 100 euros"}},
        {"id": "buy", "kind": "simulate", "params": order},
    ]
    return json.dumps({"document": {"name": "shoes", "steps": steps, "result": "The shoes are bought"}})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("killed", ["after the question", "during the call"])
async def test_an_approval_tapped_on_the_phone_after_a_kill_runs_the_call_once(
    machine: Machine, telegram: FakeTelegram, shop: Shop, killed: str
):
    def asked() -> list[dict[str, Any]]:
        return [message for message in telegram.arrived if "shoes cost 100" in message["text"]]

    async with machine.gateway() as gateway:
        await machine.run(
            f"tawny tasks run --kind flow --title Shoes --deliver telegram --params '{flow(shop)}'"
        )
        await until(asked)
        gateway.kill()
        await gateway.wait()
    (question,) = asked()
    # Tapped, twice, while there is no gateway; and by somebody else.
    telegram.tap(question, "Approve", sender=666)
    telegram.tap(question, "Approve", sender=OWNER)
    telegram.tap(question, "Approve", sender=OWNER)
    if killed == "during the call":
        async with machine.gateway() as gateway:
            shop.on_order = gateway.kill
            await until(lambda: shop.keys)
            await gateway.wait()

    def told() -> list[str]:
        return [message["text"] for message in telegram.arrived if message["text"] == "The shoes are bought"]

    async with machine.gateway():
        await until(told)
        await until(lambda: telegram.edits)
    assert len(set(shop.keys)) == 1
    assert killed == "during the call" or len(shop.keys) == 1
    assert len(told()) == 1
    assert len(asked()) == 1
    assert {message["chat"]["id"] for message in telegram.arrived} == {OWNER}
