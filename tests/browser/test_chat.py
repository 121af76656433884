"""Chat: replies stream in, work started there moves inside the conversation, all devices read the same."""

from playwright.async_api import expect

from .conftest import PHONE, Room


async def test_a_reply_appears_on_every_device(room: Room) -> None:
    desk, phone = await room.enter(at="#/chat/main"), await room.enter(PHONE, at="#/chat/main")
    await desk.get_by_label("Write to Tawny").fill("What can you do for me?")
    await desk.get_by_label("Write to Tawny").press("Enter")
    for page in (desk, phone):
        await expect(page.locator(".bubble.user")).to_have_count(1)
        await expect(page.locator(".bubble.assistant")).to_contain_text("demo model", timeout=20_000)
        await expect(page.locator(".bubble.assistant")).to_have_count(1)
    await desk.reload()
    await expect(desk.locator(".bubble.assistant")).to_contain_text("demo model")


async def test_work_started_in_chat_moves_inside_the_conversation(room: Room) -> None:
    page = await room.enter(at="#/chat/main")
    await page.get_by_label("Write to Tawny").fill("run a test task of 60 seconds")
    await page.get_by_label("Write to Tawny").press("Enter")
    card = page.locator(".talk [data-task]")
    await expect(card).to_have_attribute("data-status", "running", timeout=20_000)
    await card.locator("[data-action=cancel]").click()
    await expect(card).to_have_attribute("data-status", "cancelled")


async def test_a_line_break_is_no_message(room: Room) -> None:
    page = await room.enter(at="#/chat/main")
    field = page.get_by_label("Write to Tawny")
    await field.fill("one")
    await field.press("Shift+Enter")
    assert await field.input_value() == "one\n"
    assert await page.locator(".bubble").count() == 0
