"""Chats on a real app with a scripted model."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from tawny.agent.live import Reply
from tawny.app import App, open_app
from tawny.config import Config, Home, Limits
from tawny.domain.tasks import Status, Task
from tawny.ledger import tasks
from tawny.ledger.database import Tx
from tawny.testing import ScriptedModel


class Chat:
    """An open app to talk to."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.ledger = app.ledger
        self._said = 0

    async def say(
        self, text: str, *, event_id: str = "", session: str = "main", wait: float | None = 20
    ) -> Reply:
        self._said += 1
        event = event_id or f"event-{self._said}"
        return await self.app.agency.inbox.say(session, text, event_id=event, wait=wait)

    async def until(self, task_id: str, *statuses: Status) -> Task:
        async def reached() -> Task | None:
            task = await self.ledger.read(lambda tx: tasks.get(tx, task_id))
            return task if task.status in statuses else None

        return await self.wait_for(reached)

    async def wait_for(self, look: Callable[[], Any]) -> Any:
        """What `look` finds, looking again after every event."""
        bell = self.ledger.bell.subscribe("events")
        async with asyncio.timeout(20):
            while not (found := await look()):
                await bell.wait()
                bell.clear()
        return found

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        return await self.ledger.read(fn)


OpenChat = Callable[..., AbstractAsyncContextManager[Chat]]


@pytest.fixture
def chat(home: Home) -> OpenChat:
    @asynccontextmanager
    async def opened(script: ScriptedModel | None = None, **config: Any) -> AsyncGenerator[Chat]:
        made = Config(limits=Limits(concurrency=6, max_running_per_owner=6), **config)
        async with open_app(home, made, model=script) as app:
            yield Chat(app)

    return opened
