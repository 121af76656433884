"""A task's page: everything it did, what it made and used, who was told, and why it stands where it stands."""

import json
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, Page, expect

from tawny.config import Config, Home, Model
from tawny.domain.approvals import Question
from tawny.domain.tasks import Effect, Usage
from tawny.engine.kinds import Context, Kind
from tawny.testing import Say, ScriptedModel, Use

from .conftest import Message, Room, open_room


async def craft(context: Context, params: Message) -> dict[str, Any]:
    """A bit of everything that a task's page shows."""
    await context.artifact("report.md", b"# Report\n", media_type="text/markdown")

    async def work() -> str:
        return "forty pages"

    await context.step("read", work, name="Read the archive")
    answer = await context.ask(
        "send",
        Question(
            tool="mail_send", operation="send", arguments={"to": params.to}, level=3, reason="a stranger"
        ),
    )
    context.log("opened the archive")
    context.log("page 7 cannot be read\x1b[31m", level="warning")
    await context.step("post", work, name="Post it", effect=Effect.AT_MOST_ONCE)
    return {"text": f"Sent to **{params.to}**.", "answer": answer.status}


CRAFT = {"craft": Kind(name="craft", params=Message, run=craft)}


async def test_the_page_shows_all_that_a_task_did(home: Home, chromium: Browser) -> None:
    async with open_room(home, chromium, more=CRAFT) as room:
        task = await room.house.run("craft", title="Craft", notify="state_changes")
        page = await room.enter(at=f"#/tasks/{task['task_id']}")
        await expect(page.locator(".notice")).to_contain_text("It waits for a yes: a stranger.")
        assert "tawny " not in await page.locator("main").inner_text(), (
            "a page has buttons, not commands to type"
        )
        await page.locator("[data-action=approve]").click()
        await expect(page.locator(".state")).to_have_attribute("data-status", "succeeded")
        await expect(page.locator("[data-step]").filter(has_text="Read the archive")).to_have_count(1)
        await expect(page.locator(".attempt")).to_have_count(2)
        await expect(page.locator(".attempt").last.locator("[data-step]")).to_contain_text(["Post it"])
        await page.get_by_role("button", name="Post it").click()
        await expect(page.locator(".span-body")).to_contain_text("never run twice")
        await expect(page.locator(".span-body")).to_contain_text("forty pages")
        log = page.get_by_role("list", name="Log")
        await expect(log.get_by_role("listitem")).to_have_count(2)
        await expect(log.locator(".log-warning")).to_contain_text("page 7 cannot be read")
        await expect(log.locator(".hidden-character")).to_have_text("ESC")
        async with page.expect_download() as file:
            await page.get_by_role("link", name="report.md").click()
        assert (await (await file.value).path()).read_bytes() == b"# Report\n"
        told = page.get_by_role("region", name="Delivery", exact=False)
        await expect(told.locator(".s-delivered").first).to_be_visible()
        await expect(told).to_contain_text("Receipt: dlv_")
        await expect(page.locator(".markdown strong")).to_have_text("okafor@partner.example")


async def test_a_logs_times_are_the_readers_own(home: Home, chromium: Browser) -> None:
    async with open_room(home, chromium, more=CRAFT) as room:
        task = await room.house.run("craft")
        await room.house.until(task["task_id"], "waiting")
        (asked,) = (await room.house.client.get("/v1/approvals?status=pending")).json()["items"]
        await room.house.client.post(f"/v1/approvals/{asked['approval_id']}/approve", json={})
        await room.house.until(task["task_id"], "succeeded")
        lines = (await room.house.client.get(f"/v1/tasks/{task['task_id']}/logs")).json()["items"]
        there = datetime.fromisoformat(lines[0]["time"]).astimezone(ZoneInfo("Asia/Kolkata"))
        page = await room.enter(at=f"#/tasks/{task['task_id']}", timezone_id="Asia/Kolkata")
        first = page.get_by_role("list", name="Log").get_by_role("listitem").first.locator("time")
        await expect(first).to_have_text(f"{there:%H:%M:%S}")


async def test_what_is_taken_home_is_what_the_page_shows(home: Home, chromium: Browser) -> None:
    async with open_room(home, chromium) as room:
        task = await room.house.run(title="Kept", params={"steps": 3, "step_seconds": 0})
        await room.house.until(task["task_id"], "succeeded")
        page = await room.enter(at=f"#/tasks/{task['task_id']}")
        await expect(page.locator("[data-step]")).to_have_count(3)
        async with page.expect_download() as file:
            await page.get_by_role("button", name="Download as JSON").click()
        kept = json.loads((await (await file.value).path()).read_text(encoding="utf-8"))
        assert kept["task"]["task_id"] == task["task_id"]
        assert len(kept["steps"]) == 3


async def test_a_turn_has_a_page_with_its_calls_and_what_they_used(home: Home, chromium: Browser) -> None:
    model = ScriptedModel([Use("memory_save", {"text": "prefers trains"}), Say("Kept.")])
    async with open_room(home, chromium, Config(model=Model(name="scripted")), model=model) as room:
        said = {"text": "remember that I prefer trains", "wait": True}
        answer = (await room.house.client.post("/v1/sessions/main/messages", json=said)).json()
        page = await room.enter(at=f"#/tasks/{answer['run_id']}")
        await expect(page.locator(".state")).to_have_attribute("data-status", "succeeded")
        await expect(page.locator(".span.k-model")).to_have_count(2)
        await expect(page.locator(".span.k-tool")).to_have_count(1)
        about = page.get_by_role("region", name="About this task")
        await expect(about).to_contain_text("2 model, 1 tool")
        await expect(about.get_by_role("link", name="main")).to_have_attribute("href", "#/chat/main")


WAITS = [
    ({"not_before": "3h"}, "It is not to start before", "不早于"),
    ({"window": "00:00-00:01"}, "It waits for its window, 00:00-00:01", "等待其时段：00:00-00:01"),
]


@pytest.mark.parametrize(("given", "english", "chinese"), WAITS, ids=["time", "window"])
async def test_why_it_waits_is_said_in_the_readers_language(
    room: Room, given: dict[str, Any], english: str, chinese: str
) -> None:
    task = await room.house.run(title="Later", params={"steps": 1, "step_seconds": 0}, **given)
    for locale, text in (("en-GB", english), ("zh-CN", chinese)):
        page = await room.enter(at=f"#/tasks/{task['task_id']}", locale=locale)
        await expect(page.locator(".notice")).to_contain_text(text)
        assert "T" + "00:" not in await page.locator(".notice").inner_text(), "a time as people write it"


async def test_a_very_long_log_and_a_very_long_title_keep_to_the_page(home: Home, chromium: Browser) -> None:
    async def talk(context: Context, params: Message) -> dict[str, Any]:
        del params
        for n in range(1200):
            context.log(f"line {n} " + "x" * 400)
        return {"text": "شكرا\u202e evil"}

    kinds = {"talk": Kind(name="talk", params=Message, run=talk)}
    async with open_room(home, chromium, more=kinds) as room:
        task = await room.house.run("talk", title="الأرشيف " + "a" * 180)
        await room.house.until(task["task_id"], "succeeded")
        page = await room.enter({"width": 390, "height": 844}, at=f"#/tasks/{task['task_id']}")
        lines = page.get_by_role("list", name="Log").get_by_role("listitem")
        await expect(lines.last).to_contain_text("line 1199")
        await expect(lines).to_have_count(300)
        assert await over(page) <= 0
        await room.visit(page, "#/")
        await expect(page.locator("[data-task]")).to_be_visible()
        assert await over(page) <= 0


async def test_a_task_that_is_not_there_says_so_in_words(room: Room) -> None:
    page = await room.enter(at="#/tasks/task_nothing")
    await expect(page.get_by_text("No such task")).to_be_visible()
    await expect(page.locator(".notice")).to_have_count(0)


async def test_who_cancelled_is_said_without_a_long_id(room: Room) -> None:
    page = await room.enter(locale="zh-CN")
    task = await room.house.run(title="Later", not_before="3h", params={"steps": 1})
    row = page.locator(f"[data-task={task['task_id']}]")
    await row.locator("[data-action=cancel]").click()
    await expect(row.get_by_role("paragraph").first).to_have_text(re.compile("^已被 .*dev_….{6} 取消$"))


async def over(page: Page) -> int:
    return await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


async def test_what_a_task_has_cost_is_on_its_page_and_in_the_metrics(home: Home, chromium: Browser) -> None:
    async def paid(context: Context, params: Message) -> dict[str, Any]:
        del params
        context.spend(Usage(input_tokens=1200, output_tokens=80, cost=0.25, model_calls=1))
        return {"text": "Read."}

    async with open_room(home, chromium, more={"paid": Kind(name="paid", params=Message, run=paid)}) as room:
        task = await room.house.run("paid", title="Paid")
        page = await room.enter(at=f"#/tasks/{task['task_id']}")
        about = page.get_by_role("region", name="About this task")
        await expect(about).to_contain_text("0.25")
        await expect(about).to_contain_text("1.2k in, 80 out", ignore_case=True)
        await room.visit(page, "#/metrics")
        cost = page.locator("main").get_by_role("heading", name="Cost", exact=True).locator("..")
        await expect(cost).to_contain_text("0.25")
