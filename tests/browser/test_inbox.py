"""The inbox: what is read on one device is read on all."""

from playwright.async_api import expect

from .conftest import PHONE, Room


async def test_what_is_read_on_one_device_is_read_on_all(room: Room) -> None:
    desk, phone = await room.enter(at="#/inbox"), await room.enter(PHONE, at="#/inbox")
    await room.house.run(title="Breaks", params={"steps": 1, "step_seconds": 0, "fail_at": 1})
    for page in (desk, phone):
        await expect(page.locator(".kept.unread")).to_have_count(1)
    await phone.get_by_role("button", name="Mark as read", exact=True).click()
    for page in (desk, phone):
        await expect(page.locator(".kept")).to_have_count(1)
        await expect(page.locator(".kept.unread")).to_have_count(0)
