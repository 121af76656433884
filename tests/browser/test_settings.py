"""Settings: the form is made from the schema, a wrong value is told where it stands, a right one is in the file."""

from playwright.async_api import expect

from .conftest import Room


async def test_a_setting_is_changed_in_the_form_and_stands_in_the_file(room: Room) -> None:
    page = await room.enter(at="#/settings")
    await page.locator("summary", has_text="limits").click()
    field = page.get_by_label("concurrency", exact=True)
    await field.fill("5")
    await page.locator("details[open]").get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    assert "concurrency = 5" in room.house.door.home.config_file.read_text(encoding="utf-8")


async def test_a_wrong_setting_is_told_and_changes_nothing(room: Room) -> None:
    page = await room.enter(at="#/settings")
    before = room.house.door.home.config_file
    text = before.read_text(encoding="utf-8") if before.exists() else ""
    await page.locator("summary", has_text="owner").first.click()
    await page.get_by_label("timezone", exact=True).fill("Mars/Olympus")
    await page.locator("details[open]").get_by_role("button", name="Save").click()
    await expect(page.locator("details[open] .field-error, details[open] .notice.bad").first).to_contain_text(
        "Mars/Olympus"
    )
    assert (before.read_text(encoding="utf-8") if before.exists() else "") == text
