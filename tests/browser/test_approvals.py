"""Approvals: shown whole and as they are, answered once, the same on every device."""

from typing import Any

from playwright.async_api import Browser, expect

from tawny.config import Home
from tawny.domain.approvals import Question
from tawny.engine.kinds import Context, Kind

from .conftest import PHONE, Message, Room, open_room


async def test_an_answer_on_one_device_is_seen_on_the_others(room: Room) -> None:
    desk, phone = await room.enter(), await room.enter(PHONE, at="#/approvals")
    task = await room.house.run("ask", title="Send the contract")
    asked = phone.locator("[data-approval]")
    await expect(asked).to_contain_text("okafor@partner.example")
    on_board = desk.locator(f"[data-task={task['task_id']}] [data-approval]")
    await expect(on_board.locator("[data-action=approve]")).to_be_visible()
    await asked.locator("[data-action=approve]").click()
    await expect(on_board).to_have_count(0)
    await expect(desk.locator(f"[data-task={task['task_id']}]")).to_have_attribute("data-status", "succeeded")
    await phone.get_by_role("button", name="History").click()
    await expect(phone.locator("[data-approval][data-status=approved]")).to_have_count(1)


async def test_what_hides_or_reorders_text_is_shown_by_name(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    await room.house.run("ask", params={"to": "a\u202eb@evil.example", "body": "pay\u0007\u200b now"})
    asked = page.locator("[data-approval]")
    await expect(asked.locator(".hidden-character")).to_have_count(3)
    assert set(await asked.locator(".hidden-character").all_inner_texts()) == {"RLO", "U+0007", "ZWSP"}


async def test_what_hides_is_shown_by_name_while_one_edits_too(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    await room.house.run("ask", params={"to": "a\u202eb@evil.example", "body": "plain"})
    asked = page.locator("[data-approval]")
    await asked.get_by_role("button", name="Edit").click()
    await expect(asked.locator(".hidden-character")).to_have_text("RLO")
    await asked.get_by_label("to", exact=False).first.fill("b@good.example")
    await expect(asked.locator(".hidden-character")).to_have_count(0)


async def test_markup_in_what_is_asked_stays_text(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    await room.house.run("ask", params={"body": evil})
    await expect(page.locator("[data-approval]")).to_contain_text("<script>")
    assert "owned" not in await page.title()
    assert await page.locator("[data-approval] img").count() == 0


async def test_edited_arguments_are_what_is_carried_out(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    task = await room.house.run("ask")
    asked = page.locator("[data-approval]")
    await asked.get_by_role("button", name="Edit").click()
    await asked.get_by_label("to", exact=True).fill("lawyer@example.org")
    await asked.get_by_role("button", name="Approve as edited").click()
    done = await room.house.until(task["task_id"], "succeeded")
    assert done["result"]["arguments"]["to"] == "lawyer@example.org"


async def test_a_denial_carries_its_note(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    task = await room.house.run("ask")
    asked = page.locator("[data-approval]")
    await asked.get_by_role("button", name="Deny with a note").click()
    await asked.get_by_role("textbox").fill("wrong recipient")
    await asked.locator("[data-action=deny]").click()
    await expect(asked).to_have_count(0)
    done = await room.house.until(task["task_id"], "succeeded", "failed", "cancelled")
    assert "wrong recipient" in str(done)


async def test_a_yes_for_good_is_listed_and_taken_back(room: Room) -> None:
    async def grants() -> list[str]:
        return [one["tool"] for one in (await room.house.client.get("/v1/grants")).json()["items"]]

    page = await room.enter(at="#/approvals")
    task = await room.house.run("ask")
    await page.locator("[data-action=always]").click()
    await room.house.until(task["task_id"], "succeeded")
    assert await grants() == ["mail_send"]
    await page.get_by_role("button", name="Always allowed").click()
    await expect(page.locator("main .list li")).to_contain_text("okafor@partner.example")
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.get_by_text("Nothing is allowed for good")).to_be_visible()
    assert await grants() == []


async def test_a_yes_for_once_grants_nothing_more(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    task = await room.house.run("ask")
    await page.locator("[data-action=approve]").click()
    await room.house.until(task["task_id"], "succeeded")
    await page.get_by_role("button", name="Always allowed").click()
    await expect(page.get_by_text("Nothing is allowed for good")).to_be_visible()


async def test_an_edit_that_is_no_json_approves_nothing(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    task = await room.house.run("ask")
    asked = page.locator("[data-approval]")
    await asked.get_by_role("button", name="Edit").click()
    await asked.get_by_label("copies", exact=True).fill("two")
    await expect(asked.locator("[data-action=approve]")).to_be_disabled()
    await expect(asked.locator("[data-action=always]")).to_be_disabled()
    await asked.get_by_label("copies", exact=True).fill("2")
    await asked.get_by_role("button", name="Approve as edited").click()
    done = await room.house.until(task["task_id"], "succeeded")
    assert done["result"]["arguments"]["copies"] == 2


async def test_why_it_is_asked_is_said_in_the_readers_language(home: Home, chromium: Browser) -> None:
    reason = "mail.send is level 3: send mail; a yes holds for /bin/rm (sha256:25c34e130c601c56)"

    async def tell(context: Context, params: Message) -> dict[str, Any]:
        del params
        question = Question(tool="mail_send", operation="send", arguments={}, level=3, reason=reason)
        return {"text": (await context.ask("send", question)).status}

    async with open_room(home, chromium, more={"tell": Kind(name="tell", params=Message, run=tell)}) as room:
        await room.house.run("tell")
        english = (await room.enter(at="#/approvals")).locator("[data-approval] header")
        await expect(english).to_contain_text(reason)
        page = await room.enter(at="#/approvals", locale="zh-CN")
        chinese = page.locator("[data-approval] header")
        await expect(chinese).to_contain_text(
            "mail.send 属于 3 级：发送邮件；同意仅适用于 /bin/rm (sha256:25c34e130c601c56)"
        )
        await expect(page.get_by_role("group", name="发送邮件")).to_be_visible()
        # A digest is for the whole question, not for a glance at the board.
        await room.visit(page, "#/")
        brief = page.locator("[data-approval] header")
        await expect(brief).to_contain_text("同意仅适用于 /bin/rm")
        await expect(brief).not_to_contain_text("sha256")


async def test_a_question_goes_by_the_name_of_its_task(room: Room) -> None:
    page = await room.enter(at="#/approvals")
    await room.house.run("ask", title="Send the contract")
    await page.get_by_role("link", name="Send the contract").click()
    await expect(page.get_by_role("heading", name="Send the contract", level=1)).to_be_visible()
