"""What became of each slot: in the week, and in an automation's history."""

from datetime import UTC, datetime, timedelta

from playwright.async_api import expect

from tawny.domain.occurrences import Occurrence, Status
from tawny.ledger import occurrences
from tawny.ledger.database import Tx

from .conftest import PHONE, Room

DOCUMENT = {
    "name": "Morning brief",
    "type": "scheduled",
    "schedule": {"type": "cron", "expression": "0 8 * * *", "timezone": "UTC"},
    "action": {"type": "remind", "parameters": {"text": "good morning"}},
}
FATES: list[tuple[Status, str]] = [
    ("ran", ""),
    ("missed", "nothing ran at that time"),
    ("skipped", "the run before had not ended"),
    ("caught_up", ""),
]


async def lived(room: Room) -> str:
    """An automation whose last week had a slot of every fate, on its first four days; its id."""
    made = (await room.house.client.post("/v1/automations", json=DOCUMENT)).json()
    today = datetime.now(UTC).replace(hour=8, minute=0, second=0, microsecond=0)
    monday = today - timedelta(days=today.weekday() + 7)

    def write(tx: Tx) -> None:
        for n, (status, reason) in enumerate(FATES):
            slot = int((monday + timedelta(days=n)).timestamp()) * 1_000_000
            occurrences.record(
                tx, Occurrence(automation_id=made["id"], slot=slot, status=status, reason=reason)
            )

    await room.house.app.ledger.write(write)
    return made["id"]


async def test_the_week_shows_what_ran_what_was_missed_and_what_comes(room: Room) -> None:
    await lived(room)
    page = await room.enter(at="#/calendar", timezone_id="UTC")
    days = page.locator(".week > li")
    await expect(days).to_have_count(7)
    await page.get_by_role("button", name="Week before").click()
    for day, (status, reason) in enumerate(FATES):
        slot = days.nth(day).locator(".slot")
        await expect(slot).to_have_class(f"slot s-{status}")
        await expect(slot).to_contain_text("08:00")
        await expect(slot).to_contain_text("Morning brief")
        await expect(slot).to_contain_text(reason)
    await expect(days.nth(5).locator(".slot")).to_have_count(0)
    assert "week=-1" in page.url
    await page.get_by_role("button", name="This week").click()
    await page.get_by_role("button", name="Week after").click()
    await expect(page.locator(".slot.s-planned")).to_have_count(7)
    await page.reload()
    await expect(page.locator(".slot.s-planned")).to_have_count(7)
    await page.locator(".slot").first.click()
    await expect(page.get_by_role("heading", name="Morning brief", level=1)).to_be_visible()


async def test_what_comes_often_is_one_entry_a_day(room: Room) -> None:
    often = {**DOCUMENT, "name": "Often", "schedule": {"type": "every", "interval": "30m"}}
    await room.house.client.post("/v1/automations", json=often)
    page = await room.enter(PHONE, at="#/calendar?week=1", timezone_id="UTC")
    await expect(page.locator(".slot")).to_have_count(7)
    await expect(page.locator(".slot").nth(3)).to_contain_text("×48")


async def test_why_a_slot_was_left_out_is_said_in_the_readers_language(room: Room) -> None:
    made = (await room.house.client.post("/v1/automations", json=DOCUMENT)).json()
    reason = "the run before (task_01m8fnb3xcbq5as0b74ab87nk0) has not ended; overlap is skip"
    skipped = Occurrence(
        automation_id=made["id"], slot=1_700_000_000_000_000, status="skipped", reason=reason
    )
    await room.house.app.ledger.write(lambda tx: occurrences.record(tx, skipped))
    page = await room.enter(at=f"#/automations/{made['id']}", locale="zh-CN")
    await expect(page.locator(".runs li")).to_contain_text(
        "上一次运行（task_…ab87nk0）尚未结束".replace("…a", "…")
    )


async def test_an_automation_tells_how_each_run_went_and_why_one_was_left_out(room: Room) -> None:
    automation = await lived(room)
    await room.house.client.post(f"/v1/automations/{automation}/run")
    page = await room.enter(at=f"#/automations/{automation}", timezone_id="UTC")
    runs = page.get_by_role("region", name="Run history").get_by_role("listitem")
    await expect(runs).to_have_count(5)
    for status, reason in FATES:
        await expect(runs.filter(has=page.locator(f".s-{status}")).last).to_contain_text(reason)
    await expect(page.get_by_role("region", name="When").locator(".times li")).to_have_count(5)
    await runs.get_by_role("link", name="See").first.click()
    await expect(page.locator("[data-task]")).to_have_attribute("data-status", "succeeded")
