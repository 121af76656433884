"""Other devices: let in by a code that works once, put out at once, told by Web Push."""

from playwright.async_api import expect

from .conftest import DESKTOP, PHONE, Room, deliver


async def pair(room: Room) -> tuple[str, str]:
    """A pairing made on the owner's screen: its code and the address in the QR code."""
    desk = await room.enter(at="#/devices")
    await desk.get_by_role("button", name="Add a device").click()
    dialog = desk.get_by_role("dialog")
    await dialog.get_by_role("button", name="Make a code").click()
    await expect(dialog.get_by_role("img", name="QR code", exact=False)).to_be_visible()
    drawn = "one => one.decode().then(() => one.naturalWidth === one.naturalHeight && one.naturalWidth > 20)"
    assert await dialog.get_by_role("img", name="QR code", exact=False).evaluate(drawn)
    code = await dialog.locator(".pair-code").inner_text()
    return code, f"{room.address}/#pair={code}"


async def test_a_phone_comes_in_by_the_code_once_and_is_put_out_at_once(room: Room) -> None:
    code, link = await pair(room)
    phone = await (await room.device(PHONE)).new_page()
    await phone.goto(link)
    await expect(phone.get_by_role("heading", name="Board")).to_be_visible()
    assert code not in phone.url
    second = await (await room.device(PHONE)).new_page()
    await second.goto(link)
    await expect(second.get_by_text("That pairing code is used up", exact=False)).to_be_visible()
    desk = await room.enter(DESKTOP, at="#/devices")
    paired = desk.locator("[data-device]").filter(has_text="Linux Chrome")
    await paired.get_by_role("button", name="Take away access", exact=False).first.click()
    await expect(phone.get_by_label("Access token")).to_be_visible()


async def test_the_code_can_be_typed_where_there_is_no_camera(room: Room) -> None:
    code, _ = await pair(room)
    tablet = await (await room.device(PHONE)).new_page()
    await tablet.goto(room.address)
    await tablet.get_by_label("Access token or pairing code").fill(code)
    await tablet.get_by_role("button", name="Sign in").click()
    await expect(tablet.get_by_role("heading", name="Board")).to_be_visible()


async def test_a_named_token_is_shown_once_and_works(room: Room) -> None:
    page = await room.enter(at="#/devices")
    await page.get_by_role("button", name="New token").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("script")
    await dialog.get_by_role("button", name="New token").click()
    secret = await dialog.locator("pre").inner_text()
    answer = await room.house.client.get("/v1/tasks", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    await dialog.get_by_role("button", name="Close").click()
    await page.reload()
    assert secret not in await page.content()


async def test_a_pushed_question_is_shown_with_both_answers(room: Room) -> None:
    page = await room.enter()
    await page.context.grant_permissions(["notifications"], origin=room.address)
    task = await room.house.run("ask")
    await room.house.until(task["task_id"], "waiting")
    (asked,) = (await room.house.client.get("/v1/approvals?status=pending")).json()["items"]
    await deliver(page, room, {"title": "Your yes is needed", "approval_id": asked["approval_id"]})
    shown = """async () => (await (await navigator.serviceWorker.ready).getNotifications())
        .map(one => [one.title, one.actions.map(action => action.action)])"""
    assert await page.evaluate(shown) == [["Your yes is needed", ["approve", "deny"]]]
