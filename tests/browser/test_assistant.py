"""What belongs to the assistant: conversations, memory, skills, and the channels it speaks over."""

from playwright.async_api import expect

from tawny.ledger import channels

from .conftest import PHONE, Room


async def say(room: Room, session: str, text: str) -> None:
    answer = await room.house.client.post(
        f"/v1/sessions/{session}/messages", json={"text": text, "wait": True}
    )
    assert answer.status_code == 200, answer.text


async def test_a_conversation_is_found_reopened_and_started_over(room: Room) -> None:
    await say(room, "trip", "Plan a trip to Lisbon")
    page = await room.enter(at="#/sessions")
    row = page.get_by_role("listitem").filter(has_text="trip")
    await expect(row).to_contain_text("2 messages")
    await row.get_by_role("button", name="Start over").click()
    await expect(page.get_by_text("“trip” starts over")).to_be_visible()
    await row.get_by_role("link", name="trip").click()
    await expect(page.locator(".bubble.user")).to_contain_text("Plan a trip to Lisbon")


async def test_conversations_are_at_hand_on_a_phone(room: Room) -> None:
    await say(room, "trip", "Plan a trip to Lisbon")
    page = await room.enter(PHONE, at="#/chat/main")
    talks = page.get_by_role("complementary", name="Sessions")
    await talks.get_by_role("link", name="trip").click()
    await expect(page.locator(".bubble.user")).to_contain_text("Lisbon")
    await talks.get_by_role("link", name="New conversation").click()
    await expect(page.get_by_text("Ask for anything")).to_be_visible()
    await expect(page.locator(".bubble")).to_have_count(0)


async def test_memory_is_listed_and_searched(room: Room) -> None:
    page = await room.enter(at="#/knowledge")
    await expect(page.get_by_text("It remembers nothing yet")).to_be_visible()
    room.house.door.home.workspace.joinpath("MEMORY.md").write_text(
        "# Memory\n\n- Prefers trains\n- The landlord is Mr Brandt\n", encoding="utf-8"
    )
    await page.reload()
    notes = page.locator("main .list li")
    await expect(notes).to_have_count(2)
    await expect(notes.first).to_contain_text("MEMORY.md:3")
    await page.get_by_label("Search memory").fill("landlord")
    await expect(notes).to_have_count(1)
    await expect(notes).to_contain_text("Mr Brandt")
    await page.get_by_label("Search memory").fill("zebra")
    await expect(page.get_by_text("Nothing found.")).to_be_visible()


async def test_a_skill_is_listed_and_a_refused_one_says_why(room: Room) -> None:
    skills = room.house.door.home.workspace / "skills"
    for name, text in {
        "invoices": "---\nname: invoices\ndescription: How invoices are filed\n---\nFile them.\n",
        "broken": "no head at all\n",
    }.items():
        (skills / name).mkdir(parents=True)
        (skills / name / "SKILL.md").write_text(text, encoding="utf-8")
    page = await room.enter(at="#/knowledge/skills")
    rows = page.locator("main .list li")
    await expect(rows.filter(has_text="How invoices are filed")).to_have_count(1)
    await expect(rows.filter(has_text="broken").locator(".field-error")).not_to_be_empty()


async def test_a_channel_shows_its_health_and_takes_a_test(room: Room) -> None:
    page = await room.enter(at="#/channels")
    await expect(page.get_by_text("Only this panel so far")).to_be_visible()
    await expect(page.locator("details[open] pre")).to_contain_text("[[channels.telegram]]")
    await room.house.app.ledger.write(lambda tx: channels.opened(tx, "phone", "ntfy"))
    await page.reload()
    row = page.locator("[data-channel=phone]")
    await expect(row).to_contain_text("Working")
    await row.get_by_role("button", name="Send a test").click()
    await expect(page.get_by_text("Test message is on its way to phone")).to_be_visible()
