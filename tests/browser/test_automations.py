"""Automations: the form and the document are one, and nothing is promised that the server has not computed."""

import json

from playwright.async_api import Browser, expect

from tawny.config import Config, Home, Model
from tawny.testing import ScriptedModel

from .conftest import Room, open_room


async def test_an_automation_is_made_with_the_form(room: Room) -> None:
    page = await room.enter(at="#/automations/new")
    await page.get_by_label("Name").fill("Stretch")
    await page.get_by_role("button", name="Weekdays at 8").click()
    await page.get_by_label("What", exact=True).select_option("remind")
    await page.get_by_label("text", exact=True).fill("Stand up and stretch")
    await expect(page.locator(".preview .times li")).to_have_count(5)
    await page.get_by_role("button", name="Create automation").click()
    await expect(page.get_by_role("heading", name="Stretch", level=1)).to_be_visible()
    (made,) = (await room.house.client.get("/v1/automations")).json()["items"]
    assert made["schedule"]["expression"] == "0 8 * * 1-5"
    assert made["action"] == {"type": "remind", "parameters": {"text": "Stand up and stretch"}}


async def test_the_document_and_the_form_change_each_other(room: Room) -> None:
    page = await room.enter(at="#/automations/new")
    await page.get_by_label("Name").fill("From the form")
    await page.get_by_role("button", name="Document").click()
    field = page.get_by_label("Document")
    document = json.loads(await field.input_value())
    assert document["name"] == "From the form"
    await field.fill("{ not json")
    await expect(page.get_by_role("button", name="Create automation")).to_be_disabled()
    document |= {"name": "From the document", "schedule": {"type": "every", "interval": "2h"}}
    await field.fill(json.dumps(document))
    await page.get_by_role("button", name="Form", exact=True).click()
    await expect(page.get_by_label("Name")).to_have_value("From the document")
    await expect(page.get_by_label("Every", exact=True)).to_have_value("2h")


async def test_a_wrong_expression_is_told_while_it_is_typed(room: Room) -> None:
    page = await room.enter(at="#/automations/new")
    await page.get_by_label("Cron expression").fill("61 8 * * *")
    await expect(page.locator(".preview .field-error")).to_be_visible()


async def test_words_become_a_schedule(room: Room) -> None:
    page = await room.enter(at="#/automations/new")
    await page.get_by_label("Say it in words").fill("every monday at 9")
    await page.get_by_role("button", name="Fill in").click()
    await expect(page.get_by_label("Cron expression")).to_have_value("0 9 * * 1")


async def test_what_a_model_reads_in_words_becomes_a_schedule_only_with_a_yes(
    home: Home, chromium: Browser
) -> None:
    said = '{"type": "cron", "expression": "30 9 * * 1-5", "timezone": "America/New_York"}'
    config, model = Config(model=Model(name="scripted")), ScriptedModel([said, said])
    async with open_room(home, chromium, config, model=model) as room:
        page = await room.enter(at="#/automations/new")
        expression = page.get_by_label("Cron expression")
        before = await expression.input_value()
        await page.get_by_label("Say it in words").fill("when the market opens in New York")
        await page.get_by_role("button", name="Fill in").click()
        guess = page.get_by_role("group", name="A model reads this as")
        await expect(guess.locator(".times li")).to_have_count(3)
        await expect(expression).to_have_value(before)
        await guess.get_by_role("button", name="No").click()
        await expect(guess).to_be_hidden()
        await expect(expression).to_have_value(before)
        await page.get_by_role("button", name="Fill in").click()
        await guess.get_by_role("button", name="That is meant").click()
        await expect(expression).to_have_value("30 9 * * 1-5")
        await expect(page.get_by_label("Time zone")).to_have_value("America/New_York")


async def test_run_now_starts_a_task_that_can_be_opened(room: Room) -> None:
    document = {
        "name": "Stretch",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * *"},
        "action": {"type": "remind", "parameters": {"text": "stretch"}},
    }
    made = (await room.house.client.post("/v1/automations", json=document)).json()
    page = await room.enter(at=f"#/automations/{made['id']}")
    await page.locator("[data-action=run]").click()
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator("[data-task]")).to_have_attribute("data-status", "succeeded")


async def test_an_automation_is_changed_with_the_form_and_keeps_the_rest(room: Room) -> None:
    document = {
        "name": "Stretch",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * *"},
        "action": {"type": "remind", "parameters": {"text": "stretch"}},
        "policy": {"misfire": "skip", "timeout": "5m"},
    }
    made = (await room.house.client.post("/v1/automations", json=document)).json()
    page = await room.enter(at=f"#/automations/{made['id']}/edit")
    await page.get_by_label("Name").fill("Stretch more")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", name="Stretch more", level=1)).to_be_visible()
    (kept,) = (await room.house.client.get("/v1/automations")).json()["items"]
    assert kept["id"] == made["id"]
    assert kept["policy"]["misfire"] == "skip"
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    await page.get_by_role("button", name="Try without doing it").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Nothing is run")
    await expect(page.get_by_role("dialog")).to_contain_text("No problems found")


async def test_a_removed_automation_is_gone_after_a_second_thought(room: Room) -> None:
    document = {
        "name": "Gone",
        "type": "scheduled",
        "schedule": {"type": "every", "interval": "1h"},
        "action": {"type": "remind", "parameters": {"text": "x"}},
    }
    made = (await room.house.client.post("/v1/automations", json=document)).json()
    page = await room.enter(at=f"#/automations/{made['id']}")
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(page.get_by_text("Let it happen by itself")).to_be_visible()
    assert (await room.house.client.get("/v1/automations")).json()["items"] == []
