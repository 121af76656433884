"""Chat: replies stream in, work started there moves inside the conversation, all devices read the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, expect

from tawny.config import Config, Home, Model
from tawny.testing import ScriptedModel, Use

from .conftest import PHONE, Room, open_room


async def test_a_reply_appears_on_every_device(room: Room) -> None:
    desk, phone = await room.enter(at="#/chat/main"), await room.enter(PHONE, at="#/chat/main")
    await desk.get_by_label("Write to Tawny").fill("What can you do for me?")
    await desk.get_by_label("Write to Tawny").press("Enter")
    for page in (desk, phone):
        await expect(page.locator(".bubble.user")).to_have_count(1)
        await expect(page.locator(".bubble.assistant")).to_contain_text("demo model")
        await expect(page.locator(".bubble.assistant")).to_have_count(1)
    await desk.reload()
    await expect(desk.locator(".bubble.assistant")).to_contain_text("demo model")


async def test_work_started_in_chat_moves_inside_the_conversation(room: Room) -> None:
    page = await room.enter(at="#/chat/main")
    await page.get_by_label("Write to Tawny").fill("run a test task of 60 seconds")
    await page.get_by_label("Write to Tawny").press("Enter")
    card = page.locator(".talk [data-task]")
    await expect(card).to_have_attribute("data-status", "running")
    await card.locator("[data-action=cancel]").click()
    await expect(card).to_have_attribute("data-status", "cancelled")


class SlowModel(ScriptedModel):
    """Says the first half, and the second once it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def _stream(self, messages: list[Any], info: Any) -> AsyncIterator[Any]:
        del messages, info
        yield "The first **half**"
        await self.go_on.wait()
        yield " and the second."


async def test_a_reply_streams_in_on_every_device(home: Home, chromium: Browser) -> None:
    model = SlowModel()
    async with open_room(home, chromium, Config(model=Model(name="scripted")), model=model) as room:
        desk, phone = await room.enter(at="#/chat/main"), await room.enter(PHONE, at="#/chat/main")
        await desk.get_by_label("Write to Tawny").fill("Go on")
        await desk.get_by_role("button", name="Send").click()
        for page in (desk, phone):
            await expect(page.locator(".bubble.assistant .streaming")).to_contain_text("The first half")
            await expect(page.locator(".streaming strong")).to_have_text("half")
        model.go_on.set()
        for page in (desk, phone):
            await expect(page.locator(".bubble.assistant")).to_contain_text("The first half and the second.")
            await expect(page.locator(".streaming")).to_have_count(0)


async def test_a_mere_call_of_a_tool_is_no_empty_answer(home: Home, chromium: Browser) -> None:
    model = ScriptedModel([Use("memory_save", {"text": "trains"}), "Kept."])
    async with open_room(home, chromium, Config(model=Model(name="scripted")), model=model) as room:
        said = {"text": "remember trains", "wait": True}
        await room.house.client.post("/v1/sessions/main/messages", json=said)
        page = await room.enter(at="#/chat/main")
        await expect(page.locator(".bubble.assistant")).to_have_count(1)
        await page.locator(".tools summary").click()
        await expect(page.locator(".tools")).to_contain_text("memory_save")


async def test_a_question_is_answered_inside_the_conversation(room: Room) -> None:
    page = await room.enter(at="#/chat/main")
    await room.house.run("ask", title="Send the contract", session="main")
    await page.locator(".talk [data-action=approve]").click()
    await expect(page.locator(".talk [data-approval]")).to_have_count(0)


async def test_a_line_break_is_no_message(room: Room) -> None:
    page = await room.enter(at="#/chat/main")
    field = page.get_by_label("Write to Tawny")
    await field.fill("one")
    await field.press("Shift+Enter")
    assert await field.input_value() == "one\n"
    assert await page.locator(".bubble").count() == 0


async def test_a_turns_question_is_asked_in_its_conversation_also_to_who_comes_later(
    home: Home, chromium: Browser
) -> None:
    model = ScriptedModel([Use("exec", {"command": "shred -u notes.txt"}), "Done."])
    async with open_room(home, chromium, Config(model=Model(name="scripted")), model=model) as room:
        await room.house.client.post("/v1/sessions/main/messages", json={"text": "tidy up"})
        await room.house.events("approval.requested")
        page = await room.enter(at="#/chat/main", locale="zh-CN")
        asked = page.locator(".talk [data-approval]")
        await expect(asked).to_contain_text("shred -u notes.txt")
        await expect(asked.locator("header")).to_contain_text("运行其他命令")
        await asked.locator("[data-action=deny]").click()
        await expect(asked).to_have_count(0)
        other = await room.enter(at="#/chat/elsewhere")
        await expect(other.locator("[data-approval]")).to_have_count(0)
