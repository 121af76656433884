"""A real Chromium before a real gateway, both of this test alone."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from playwright.async_api import Browser, BrowserContext, Page, Worker, async_playwright, expect
from tests.gateway.conftest import House, open_house

from tawny.config import Config, Home
from tawny.domain.approvals import Question
from tawny.engine.kinds import Context, Kind

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
VISIT = """goal => new Promise(resolve => {
    const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => resolve()));
    if (location.hash === goal) return drawn();
    addEventListener("hashchange", drawn, {once: true});
    location.hash = goal;
})"""
# A machine that runs two suites at once is slow, and imports a model's library at the first word of a chat;
# what is awaited is a fact, not a speed.
expect.set_options(timeout=60_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="needs Debian's chromium: apt-get install chromium"))


@pytest.fixture
async def chromium() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


class Message(msgspec.Struct):
    to: str = "okafor@partner.example"
    body: str = "Dear Ms Okafor"
    copies: int = 1


async def ask(context: Context, params: Message) -> dict[str, Any]:
    """A task that needs a person's yes."""
    answer = await context.ask(
        "send",
        Question(
            tool="mail_send",
            operation="send",
            arguments={"to": params.to, "body": params.body, "copies": params.copies},
            level=3,
            reason="the recipient is not in your contacts",
        ),
    )
    return {"text": answer.status, "arguments": answer.arguments, "note": answer.note}


@dataclass
class Room:
    """A running house, and the devices that look at it."""

    house: House
    address: str
    browser: Browser
    problems: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])

    @property
    def link(self) -> str:
        return f"{self.address}/#token={self.house.door.token}"

    async def device(self, size: dict[str, int] = DESKTOP, **options: Any) -> BrowserContext:
        context = await self.browser.new_context(viewport=size, **{"locale": "en-GB", **options})  # pyright: ignore[reportArgumentType]
        context.set_default_timeout(60_000)
        context.on("request", self._request)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        context.on(
            "console", lambda m: self.problems.append(m.text) if "Content Security" in m.text else None
        )
        return context

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(request.url)

    async def enter(self, size: dict[str, int] = DESKTOP, at: str = "", **options: Any) -> Page:
        """A device that has signed in by the link."""
        page = await (await self.device(size, **options)).new_page()
        await page.goto(self.link)
        await page.locator("[data-page=board] h1").wait_for()
        if at:
            await self.visit(page, at)
        return page

    async def visit(self, page: Page, at: str) -> None:
        """Go to a page of the panel; it is drawn when this returns, the one before is gone."""
        await page.evaluate(VISIT, at)
        await page.locator("main h1").first.wait_for(state="attached")


@asynccontextmanager
async def open_room(
    home: Home,
    chromium: Browser,
    config: Config | None = None,
    more: dict[str, Kind] | None = None,
    **parts: Any,
) -> AsyncGenerator[Room]:
    async with AsyncExitStack() as stack:
        kinds = {"ask": Kind(name="ask", params=Message, run=ask), **(more or {})}
        house = await stack.enter_async_context(open_house(home, config, kinds=kinds, **parts))
        address = await stack.enter_async_context(house.door.listening())
        # The test is one more device: it comes over the same socket as the browsers.
        headers = {"authorization": f"Bearer {house.door.token}"}
        client = httpx.AsyncClient(base_url=address, headers=headers, timeout=60)
        house.door.client = await stack.enter_async_context(client)
        room = Room(house, address, chromium)
        yield room
        for context in chromium.contexts:
            await context.close()
        assert room.problems == []
        assert room.foreign == [], "the panel asks nobody but its own gateway"


@pytest.fixture
async def room(home: Home, chromium: Browser) -> AsyncGenerator[Room]:
    async with open_room(home, chromium) as room:
        yield room


async def deliver(page: Page, room: Room, message: dict[str, Any]) -> None:
    """Hand a push message to the page's service worker, as the browser does; it is shown when this returns."""
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    devtools = await page.context.new_cdp_session(page)
    registered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def note(told: dict[str, Any]) -> None:
        for one in told["registrations"]:
            if not registered.done():
                registered.set_result(one["registrationId"])

    devtools.on("ServiceWorker.workerRegistrationUpdated", note)
    await devtools.send("ServiceWorker.enable")
    async with asyncio.timeout(60):
        registration = await registered
    handed = {"origin": room.address, "registrationId": registration, "data": json.dumps(message)}
    await devtools.send("ServiceWorker.deliverPushMessage", handed)
    await page.wait_for_function(
        "async () => (await (await navigator.serviceWorker.ready).getNotifications()).length > 0"
    )


async def service_worker(page: Page) -> Worker:
    """The page's service worker, once the browser has told of it."""
    context = page.context
    return (
        context.service_workers[0]
        if context.service_workers
        else await context.wait_for_event("serviceworker")
    )
