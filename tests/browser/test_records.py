"""Metrics and audit: the figures are those of the record, and the record can be checked and taken away."""

import csv
import json
from collections.abc import Iterable

from playwright.async_api import Page, expect

from tawny.ledger.database import Tx

from .conftest import Room


async def worked(room: Room) -> None:
    """Three that succeed and one that fails."""
    for n in range(3):
        task = await room.house.run(title=f"Good {n}", params={"steps": 1, "step_seconds": 0})
        await room.house.until(task["task_id"], "succeeded")
    task = await room.house.run(title="Bad", params={"steps": 2, "step_seconds": 0, "fail_at": 1})
    await room.house.until(task["task_id"], "failed")


async def test_the_figures_are_those_of_the_tasks(room: Room) -> None:
    page = await room.enter(at="#/metrics")
    await expect(page.get_by_text("Nothing to count yet")).to_be_visible()
    await worked(room)
    await page.reload()
    success = page.get_by_role("heading", name="Success", exact=True).locator("..")
    await expect(success).to_contain_text("75%")
    await expect(success).to_contain_text("of 4 ended")
    chart = page.get_by_role("img", name="4 ended, 1 of them failed")
    await expect(chart).to_be_visible()
    kinds = page.get_by_role("region", name="By kind").locator("tbody tr")
    await expect(kinds).to_have_count(1)
    await expect(kinds.first.locator("td").nth(1)).to_have_text("4")
    await page.get_by_role("button", name="7 days").click()
    assert "window=7d" in page.url
    await expect(success).to_contain_text("of 4 ended")
    await page.get_by_role("link", name="1 Failed").click()
    await expect(page.locator("[data-task]")).to_have_count(1)
    await expect(page.locator("[data-task]")).to_have_attribute("data-status", "failed")


async def test_the_figures_move_by_themselves(room: Room) -> None:
    page = await room.enter(at="#/metrics")
    await expect(page.get_by_text("Nothing to count yet")).to_be_visible()
    await worked(room)
    success = page.get_by_role("heading", name="Success", exact=True).locator("..")
    await expect(success).to_contain_text("of 4 ended")


async def saved(page: Page, name: str) -> list[str]:
    async with page.expect_download() as file:
        await page.get_by_role("link", name=name).click()
    text = (await (await file.value).path()).read_text(encoding="utf-8")
    return text.splitlines()


def actions(rows: Iterable[dict[str, str]]) -> set[str]:
    return {row["action"] for row in rows}


async def test_the_record_is_filtered_checked_and_taken_away(room: Room) -> None:
    await worked(room)
    page = await room.enter(at="#/audit")
    rows = page.locator("table.audit tbody tr")
    await expect(rows.filter(has_text="task.create")).to_have_count(4)
    await page.get_by_label("Action").fill("task.create")
    await expect(rows).to_have_count(4)
    assert "action=task.create" in page.url
    await page.get_by_role("button", name="Check the chain").click()
    await expect(page.locator(".notice.good")).to_contain_text("Unbroken")
    table = list(csv.DictReader(await saved(page, "CSV")))
    assert len(table) == 4
    assert actions(table) == {"task.create"}
    lines = [json.loads(line) for line in await saved(page, "JSON Lines")]
    assert [str(line["seq"]) for line in lines] == [row["seq"] for row in table]
    await page.reload()
    await expect(rows).to_have_count(4)
    await page.get_by_role("button", name="Clear").click()
    await expect(rows.filter(has_text="task.result").first).to_be_visible()
    await rows.filter(has_text="task.create").first.get_by_role("link").first.click()
    await expect(page.locator(".state")).to_be_visible()


async def test_a_changed_record_is_told(room: Room) -> None:
    await worked(room)

    def forge(tx: Tx) -> None:
        tx.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 2")

    await room.house.app.ledger.write(forge)
    page = await room.enter(at="#/audit")
    await page.get_by_role("button", name="Check the chain").click()
    await expect(page.locator(".notice.bad")).to_contain_text("Broken at row 2")
