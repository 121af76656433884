"""Coming in: the token is used once, and neither the address nor any script keeps it."""

import re

from playwright.async_api import expect

from .conftest import Room


async def test_the_link_signs_in_and_leaves_no_token_behind(room: Room) -> None:
    page = await room.enter()
    token = room.house.door.token
    assert token not in page.url
    assert token not in await page.evaluate(
        "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, history.state])"
    )
    (cookie,) = await page.context.cookies()
    assert cookie.get("httpOnly")
    assert cookie.get("sameSite") == "Strict"
    assert token not in cookie.get("value", "")
    await page.go_back()
    assert token not in page.url


async def test_who_comes_without_the_link_is_asked_for_the_token(room: Room) -> None:
    page = await (await room.device()).new_page()
    await page.goto(room.address)
    field = page.get_by_label("Access token")
    await field.fill("0" * 64)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("That token is not valid here.", exact=False)).to_be_visible()
    # The whole line as the gateway prints it will do too.
    await field.fill(f"panel {room.link}")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Board")).to_be_visible()


async def test_signing_out_ends_it_and_a_reload_stays_outside(room: Room) -> None:
    page = await room.enter()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Access token")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Access token")).to_be_visible()


async def test_an_address_cannot_name_another_server(room: Room) -> None:
    page = await (await room.device()).new_page()
    evil = "http://127.0.0.1:1"
    await page.goto(f"{room.address}/?server={evil}#token={room.house.door.token}&gateway={evil}&url={evil}")
    await expect(page.get_by_role("heading", name="Board")).to_be_visible()
    assert not re.search("token|gateway", page.url)


async def test_the_panel_speaks_the_browsers_language_and_remembers_another(room: Room) -> None:
    page = await room.enter(locale="zh-CN")
    await expect(page.get_by_role("heading", name="看板")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "zh-Hans"
    await page.get_by_label("语言").first.select_option("en")
    await page.reload()
    await expect(page.get_by_role("heading", name="Board")).to_be_visible()
