"""The task board: what it shows is what is, on every device, and a command given on one holds for all."""

import asyncio
import re
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from tawny.config import Home
from tawny.engine.kinds import Context, Kind

from .conftest import PHONE, Message, Room, open_room


def row(page: Page, task: dict[str, Any]) -> Locator:
    return page.locator(f"[data-task={task['task_id']}]")


def bar(page: Page, task: dict[str, Any]) -> Locator:
    return row(page, task).get_by_role("progressbar")


async def value(page: Page, task: dict[str, Any]) -> int:
    return int(await bar(page, task).get_attribute("aria-valuenow") or 0)


async def test_three_devices_show_one_bar_and_one_cancels_for_all(home: Home, chromium: Browser) -> None:
    steps: asyncio.Queue[int] = asyncio.Queue()

    async def led(context: Context, params: Message) -> dict[str, Any]:
        """Moves when it is told to."""
        del params
        while True:
            await context.progress(await steps.get(), 100)

    kinds = {"led": Kind(name="led", params=Message, run=led)}
    async with open_room(home, chromium, more=kinds) as room:
        pages = await asyncio.gather(
            room.enter(), room.enter(PHONE), room.enter(color_scheme="dark", locale="zh-CN")
        )
        task = await room.house.run("led", title="Long report")
        for figure in (8, 9, 42, 43):
            steps.put_nowait(figure)
            for page in pages:
                await expect(bar(page, task)).to_have_attribute("aria-valuenow", str(figure))
        await row(pages[1], task).locator("[data-action=cancel]").click()
        for page in pages:
            await expect(row(page, task)).to_have_attribute("data-status", "cancelled")
        assert (await room.house.until(task["task_id"], "cancelled"))["status"] == "cancelled"


async def test_a_row_tells_how_long_it_will_take(room: Room) -> None:
    page = await room.enter()
    task = await room.house.run(title="Long report", params={"steps": 400, "step_seconds": 0.3})
    await expect(row(page, task)).to_contain_text(re.compile(r"\d (s|min) left"))


async def test_a_choice_of_the_filter_is_in_the_address(room: Room) -> None:
    await room.house.run(title="Good", params={"steps": 1, "step_seconds": 0})
    await room.house.run(title="Bad", params={"steps": 1, "step_seconds": 0, "fail_at": 1})
    page = await room.enter()
    await expect(page.locator("[data-task]")).to_have_count(2)
    await page.get_by_label("Status").select_option("failed")
    await expect(page.locator("[data-task]")).to_have_count(1)
    await expect(page.locator("[data-task]")).to_contain_text("Bad")
    assert "status=failed" in page.url


async def test_a_task_can_be_paused_and_goes_on_where_it_was(room: Room) -> None:
    page = await room.enter()
    task = await room.house.run(title="Slow", params={"steps": 60, "step_seconds": 0.15})
    await expect(bar(page, task)).to_have_attribute("aria-valuenow", re.compile("^[1-9]"))
    await row(page, task).locator("[data-action=pause]").click()
    await expect(row(page, task)).to_have_attribute("data-status", "paused")
    before = await value(page, task)
    await row(page, task).locator("[data-action=resume]").click()
    await expect(row(page, task)).to_have_attribute("data-status", "running")
    assert await value(page, task) >= before


async def test_a_failed_task_can_be_run_again_from_its_row(room: Room) -> None:
    page = await room.enter()
    task = await room.house.run(title="Breaks", params={"steps": 3, "step_seconds": 0, "fail_at": 2})
    await expect(row(page, task)).to_have_attribute("data-status", "failed")
    await expect(row(page, task)).to_contain_text("fail", ignore_case=True)
    await row(page, task).locator("[data-action=retry]").click()
    await expect(page.locator("[data-task]")).to_have_count(2)


async def test_a_new_task_is_handed_in_from_the_board(room: Room) -> None:
    page = await room.enter()
    await page.get_by_role("button", name="Start a trial task").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Start").click()
    await expect(page.locator("[data-task]")).to_have_count(1)
    await expect(dialog).to_be_hidden()


async def test_the_filter_is_in_the_address_and_survives_a_reload(room: Room) -> None:
    page = await room.enter()
    for title in ("alpha", "beta"):
        await room.house.run(title=title, params={"steps": 1, "step_seconds": 0})
    await expect(page.locator("[data-task]")).to_have_count(2)
    await page.get_by_label("Search tasks").fill("alp")
    await expect(page.locator("[data-task]")).to_have_count(1)
    assert "q=alp" in page.url
    await page.reload()
    await expect(page.locator("[data-task]")).to_have_count(1)
    await expect(page.get_by_label("Search tasks")).to_have_value("alp")


async def test_a_filter_finds_what_lies_beyond_the_first_page(room: Room) -> None:
    for title in ("needle", *(f"hay {n}" for n in range(50))):
        task = await room.house.run(title=title, params={"steps": 1, "step_seconds": 0})
        await room.house.until(task["task_id"], "succeeded")
    page = await room.enter()
    await page.get_by_label("Search tasks").fill("needle")
    await expect(page.locator("[data-task]")).to_have_count(1)
    await expect(page.locator("[data-task]")).to_contain_text("needle")


async def test_a_filter_finds_words_that_no_row_shows_and_pages_through_them(room: Room) -> None:
    for n in range(60):
        task = await room.house.run("remind", title=f"copy {n}", params={"text": "umbrella"})
    await room.house.run(title="other", params={"steps": 1, "step_seconds": 0})
    await room.house.until(task["task_id"], "succeeded")
    page = await room.enter(at="#/?q=umbrella&status=succeeded")
    await expect(page.locator("[data-task]").first).to_be_visible()
    more = page.get_by_role("button", name="Show", exact=False).filter(has_text="more")
    while await more.count():
        await more.last.click()
        await page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
    await expect(page.locator("[data-task]")).to_have_count(60)
    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator("[data-task]").filter(has_text="other")).to_have_count(1)


async def test_the_keyboard_alone_opens_a_task_and_cancels_it(room: Room) -> None:
    page = await room.enter()
    task = await room.house.run(title="Long", params={"steps": 100, "step_seconds": 0.2})
    await expect(row(page, task)).to_have_attribute("data-status", "running")
    focused = "document.activeElement.dataset.action ?? document.activeElement.className"
    async with asyncio.timeout(60):
        while await page.evaluate(focused) != "task-title":
            await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Long", level=1)).to_be_focused()
    async with asyncio.timeout(60):
        while await page.evaluate(focused) != "cancel":
            await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(row(page, task)).to_have_attribute("data-status", "cancelled")


async def test_the_page_of_a_task_tells_its_steps_as_they_happen(room: Room) -> None:
    task = await room.house.run(title="Steps", params={"steps": 8, "step_seconds": 0.1})
    page = await room.enter(at=f"#/tasks/{task['task_id']}")
    await expect(page.locator("[data-step]")).to_have_count(8)
    await expect(row(page, task)).to_have_attribute("data-status", "succeeded")
    await expect(bar(page, task)).to_have_attribute("aria-valuenow", "100")
    await page.locator("[data-step] > button").first.click()
    await expect(page.locator(".span-body")).to_be_visible()


async def test_chat_turns_are_no_tasks_of_the_board(room: Room) -> None:
    page = await room.enter()
    marker = await room.house.run(title="marker", params={"steps": 1, "step_seconds": 0})
    reply = await room.house.client.post("/v1/sessions/main/messages", json={"text": "hello", "wait": True})
    assert reply.json()["text"]
    await expect(row(page, marker)).to_have_attribute("data-status", "succeeded")
    await expect(page.locator("[data-task]")).to_have_count(1)
