"""A long task from a chat, from the first word to the history: over HTTP with the panel's door, and over Telegram.

The order is that of the guide such assistants come with: a queue with so many at once, a trigger, progress at an
interval, a timeout with its explanation, cancelling by a word, results where they were asked for, true times.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest

from fake_http import Request, Response, serving
from tawny.app import open_app, open_gateway
from tawny.config import Chat, Config, Home, Limits, Network
from tawny.gateway.auth import owner_token
from tawny.ledger import events
from tawny.testing import ScriptedModel
from tawny.testing import Use as Call
from telegram_api import FakeTelegram

pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")
OWNER = 12345678
PATIENCE = 60


class Person:
    """Somebody in a chat: says things, and reads what comes back."""

    def __init__(
        self,
        api: httpx.AsyncClient,
        say: Callable[[str], Awaitable[None]],
        heard: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self.api = api
        self._say = say
        self._heard = heard

    async def hears(self, *words: str, after: int = 0) -> str:
        """The first of what came since `after` that has all the words in it."""
        heard: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    heard = (await self._heard())[after:]
                    for text in heard:
                        if all(word in text for word in words):
                            return text
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"nobody said {words}, but {heard}") from None

    async def says(self, text: str, *words: str) -> str:
        """Say something; the answer that has these words."""
        before = len(await self._heard())
        await self._say(text)
        return await self.hears(*words, after=before)

    async def count(self, *words: str) -> int:
        return sum(all(word in text for word in words) for text in await self._heard())

    async def task(self, task_id: str) -> dict[str, Any]:
        return (await self.api.get(f"/v1/tasks/{task_id}")).json()

    async def newest(self, count: int) -> list[dict[str, Any]]:
        """The tasks begun last, the newest first."""
        return (await self.api.get("/v1/tasks", params={"limit": count})).json()["items"]

    async def until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while (task := await self.task(task_id))["status"] not in statuses:
                await asyncio.sleep(0.02)
        return task


@asynccontextmanager
async def chatting(home: Home, way: str, *, model: Any = None, **more: Any) -> AsyncGenerator[Person]:
    """An assistant in the background of which three may work, and somebody who talks to it."""
    telegram = FakeTelegram()
    await telegram.http.start()
    try:
        if way == "telegram":
            (home.root / "bot").write_text(telegram.token)
            table = {"token": "file:bot", "api_base": telegram.http.url, "allow": [OWNER]}
            more["channels"] = {"telegram": (table,)}
        limits = Limits(concurrency=3, max_running_per_owner=3)
        config = Config(limits=limits, chat=Chat(progress="1s"), **more)
        async with open_app(home, config, model=model) as app, open_gateway(app) as gateway:
            transport = httpx.ASGITransport(gateway.app, client=("127.0.0.1", 1234))
            headers = {"authorization": f"Bearer {owner_token(home.token_file)}"}
            gateway.site.ready = True
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8765", headers=headers
            ) as api:

                async def over_http(text: str) -> None:
                    said = await api.post("/v1/sessions/main/messages", json={"text": text})
                    assert said.status_code == 202, said.text

                async def read() -> list[str]:
                    # What the stream brings to a chat: answers, progress, results.
                    log = await app.ledger.read(lambda tx: events.after(tx, 0, limit=50_000))
                    said = [one.data for one in log if one.type == "message.sent"]
                    return [str(one["text"]) for one in said if one["role"] != "user"]

                async def to_the_bot(text: str) -> None:
                    telegram.say(text)

                async def at_the_phone() -> list[str]:
                    # Progress is a message that is edited in place: what it has said stands among the edits.
                    edited = [str(edit.get("text", "")) for edit in telegram.edits]
                    return [str(message["text"]) for message in telegram.arrived] + edited

                if way == "telegram":
                    yield Person(api, to_the_bot, at_the_phone)
                else:
                    yield Person(api, over_http, read)
    finally:
        await telegram.http.stop()


@pytest.mark.parametrize("way", ["http", "telegram"])
async def test_a_long_task_from_a_chat(home: Home, way: str) -> None:
    async with chatting(home, way) as person:
        # A trigger: a report over more than a week is no matter for the conversation.
        await person.says("make me a report over the last 20 days", "Started", "in the background")
        (report,) = await person.newest(1)
        assert (report["kind"], report["title"]) == ("simulate", "report over 20 days")

        # The chat stays free, and answers at once.
        await person.says("What a fine day", "You said: What a fine day")
        assert (await person.task(report["task_id"]))["status"] in ("queued", "running")

        # Three work at once; the fourth is queued.
        work = {"kind": "simulate", "title": "subtitles", "params": {"steps": 50, "step_seconds": 1}}
        subtitles = (await person.api.post("/v1/tasks", json=work)).json()
        for days in (50, 60):
            await person.says(f"make me a report over {days} days", "Started", "in the background")
        fourth, _ = await person.newest(2)
        for task in (report, subtitles):
            await person.until(task["task_id"], "running")
        assert (await person.task(fourth["task_id"]))["status"] == "queued"

        # Progress, unasked, at the interval; and whenever it is asked for.
        await person.hears("report over 20 days", "% complete")
        await person.says("How is it going?", "report over 20 days", "% complete")

        # Paused and cancelled by a word; what was cancelled is acknowledged, and the queued one takes its place.
        await person.says("pause the subtitles", "subtitles", "paus")
        await person.until(subtitles["task_id"], "paused")
        await person.says("cancel the subtitles", "subtitles", "cancel")
        cancelled = await person.until(subtitles["task_id"], "cancelled")
        assert cancelled["error"]["kind"] == "cancelled"
        assert cancelled["progress"]["current"] < 50, "it did not go on to its end"
        await person.until(fourth["task_id"], "running")
        await person.says("cancel the report over 50 days", "report over 50 days", "cancel")
        await person.says("cancel the report over 60 days", "report over 60 days", "cancel")
        await person.until(fourth["task_id"], "cancelled")

        # The result comes by itself, once, to where it was asked for.
        done = await person.until(report["task_id"], "succeeded")
        await person.hears("Simulated 20 steps.")
        assert await person.count("Simulated 20 steps.") == 1

        # The history has the true times, and each step once.
        created, started, ended = (
            datetime.fromisoformat(done[name]) for name in ("created_at", "started_at", "ended_at")
        )
        assert created <= started < ended
        assert 20 <= (ended - started).total_seconds() <= done["usage"]["wall_seconds"] + 5
        steps = (await person.api.get(f"/v1/tasks/{report['task_id']}/steps")).json()["items"]
        assert [step["status"] for step in steps] == ["succeeded"] * 20
        assert done["progress"]["percentage"] == 100


def order(title: str, **more: Any) -> Call:
    """The model's call for a simulated long task."""
    params = {"steps": 60, "step_seconds": 1}
    return Call("tasks", {"action": "run", "kind": "simulate", "title": title, "params": params, **more})


@pytest.mark.parametrize("way", ["http", "telegram"])
async def test_a_timeout_stops_it_and_the_chat_is_told_why(home: Home, way: str) -> None:
    script = ScriptedModel([order("slow report", timeout="2s"), "It runs."])
    async with chatting(home, way, model=script) as person:
        await person.says("a slow report please", "It runs.")
        (task,) = await person.newest(1)
        ended = await person.until(task["task_id"], "timed_out")
        assert ended["error"]["kind"] == "timeout"
        told = await person.hears("slow report", "longer than the 2 s it may")
        assert told.startswith("Timed out")


@pytest.mark.parametrize("way", ["http", "telegram"])
async def test_cancel_that_means_what_was_begun_here(home: Home, way: str) -> None:
    async with chatting(home, way) as person:
        await person.says("make me a report over 40 days", "Started")
        (report,) = await person.newest(1)
        await person.until(report["task_id"], "running")
        await person.says("cancel that", "report over 40 days", "cancel")
        await person.until(report["task_id"], "cancelled")
        await person.hears("report over 40 days", "cancelled")


@pytest.mark.parametrize("way", ["http", "telegram"])
async def test_the_same_again_is_the_one_that_runs(home: Home, way: str) -> None:
    async with chatting(home, way) as person:
        await person.says("make me a report over 40 days", "Started")
        before = await person.newest(5)
        await person.says("make me a report over 40 days", "report over 40 days", "already")
        assert [one["task_id"] for one in await person.newest(5)] == [one["task_id"] for one in before]


async def test_too_many_are_turned_away_with_a_reason(home: Home) -> None:
    script = ScriptedModel([order("one too many"), lambda messages: str(messages[-1].parts[-1].content)])
    async with chatting(home, "http", model=script) as person:
        for n in range(103):
            work = {"kind": "simulate", "title": f"{n}", "params": {"steps": 60, "step_seconds": 60}}
            if (await person.api.post("/v1/tasks", json=work)).status_code == 429:
                break
        await person.says("and one more", "100")
        assert not [one for one in await person.newest(200) if one["title"] == "one too many"]


PLACES = ["chat", "memory", "inbox", "file:results/report.md", "webhook", "telegram"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_result_goes_where_the_chat_asked_for_it(home: Home, place: str) -> None:
    came: list[Any] = []

    def hook(request: Request) -> Response:
        came.append(request.json())
        return Response(204)

    async with serving(hook) as server:
        there = f"webhook:{server.url}/done" if place == "webhook" else place
        brief = {"params": {"steps": 1, "step_seconds": 0}, "deliver_to": [there]}
        script = ScriptedModel(
            [
                order("heron count", **brief),
                "It runs.",
                Call("memory_search", {"query": "heron"}),
                lambda messages: str(messages[-1].parts[-1].content),
            ]
        )
        network = Network(allow_private=(f"127.0.0.1:{server.port}",))
        way = "telegram" if place == "telegram" else "http"
        async with chatting(home, way, model=script, network=network) as person:
            await person.says("count the herons", "It runs.")
            (task,) = await person.newest(1)
            await person.until(task["task_id"], "succeeded")
            async with asyncio.timeout(PATIENCE):
                while (await person.task(task["task_id"]))["delivery"]["status"] != "delivered":
                    await asyncio.sleep(0.02)
            if place in ("chat", "telegram"):
                await person.hears("Simulated 1 steps.")
                assert await person.count("Simulated 1 steps.") == 1
            elif place == "memory":
                # Saved, and findable by the assistant itself, in a later turn.
                await person.says(
                    "what do you know about herons?", "heron count", "Simulated 1 steps.", "memory/"
                )
            elif place == "webhook":
                assert [(one["type"], one["task"]["task_id"]) for one in came] == [
                    ("task.succeeded", task["task_id"])
                ]
            elif place == "inbox":
                items = (await person.api.get("/v1/inbox")).json()["items"]
                assert ["Simulated 1 steps." in str(item) for item in items] == [True]
            else:
                assert "Simulated 1 steps." in (home.workspace / "results/report.md").read_text()
