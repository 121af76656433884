"""Every page, in both themes, from wide to phone: accessible, inside its frame, and asking only its own gateway."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from .conftest import DESKTOP, PHONE, Room

PAGES = [
    "board",
    "chat/main",
    "approvals",
    "inbox",
    "automations",
    "automations/new",
    "calendar",
    "metrics",
    "audit",
    "sessions",
    "knowledge",
    "channels",
    "devices",
    "settings",
]
AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
RUN_AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .map(one => one.id + ": " + one.nodes.map(node =>
        node.html.slice(0, 160) + " " + node.any.map(check => check.message)).join(" | "))"""

SETTLED = """() => !document.querySelector(".loading") && document.getAnimations().every(one =>
    one.playState !== "running" || one.effect.getComputedTiming().iterations === Infinity)"""

# Every text and every name of an element, but what stands as it is: code, times, and the audit's rows.
SAID = """() => {
    const found = new Set();
    const plain = "pre, code, time, tbody, .mono, .lang, option[lang], input, textarea, datalist, [data-device] .title";
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const parent = walk.currentNode.parentElement;
        if (!parent.closest(plain + ", script, style, noscript")) found.add(walk.currentNode.textContent.trim());
    }
    for (const one of document.querySelectorAll("[aria-label], [title], [alt]"))
        if (!one.closest(plain)) for (const name of ["aria-label", "title", "alt"])
            if (one.getAttribute(name)) found.add(one.getAttribute(name));
    return [...found].filter(Boolean);
}"""


async def furnish(room: Room) -> str:
    """Something of everything; the task whose page is looked at."""
    task = await room.house.run(title="Report", params={"steps": 3, "step_seconds": 0})
    await room.house.run(title="Broken", params={"steps": 2, "step_seconds": 0, "fail_at": 1})
    await room.house.run(title="Long", params={"steps": 500, "step_seconds": 1})
    await room.house.run("ask", title="Send the contract")
    document = {
        "name": "Morning brief",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * *", "timezone": "Europe/Berlin"},
        "action": {"type": "remind", "parameters": {"text": "good morning"}},
    }
    answer = await room.house.client.post("/v1/automations", json=document)
    assert answer.status_code in (200, 201, 202), answer.text
    await room.house.client.post(
        "/v1/sessions/main/messages", json={"text": "What can you do?", "wait": True}
    )
    await room.house.until(task["task_id"], "succeeded")
    return task["task_id"]


async def settled(page: Page) -> None:
    """Wait until the page has read what it shows, and stands still but for what never does."""
    await page.wait_for_function(SETTLED)


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm ci in web/")
@pytest.mark.parametrize(
    ("theme", "size", "locale"),
    [
        ("light", DESKTOP, "en-GB"),
        ("dark", PHONE, "en-GB"),
        ("dark", DESKTOP, "zh-CN"),
        ("light", PHONE, "zh-CN"),
    ],
    ids=["english-light-wide", "english-dark-phone", "chinese-dark-wide", "chinese-light-phone"],
)
async def test_no_page_has_a_barrier(room: Room, theme: str, size: dict[str, int], locale: str) -> None:
    task_id = await furnish(room)
    page = await room.enter(size, color_scheme=theme, locale=locale, reduced_motion="reduce")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    for name in [*PAGES, f"tasks/{task_id}"]:
        await room.visit(page, f"#/{'' if name == 'board' else name}")
        await settled(page)
        for summary in await page.locator("main summary").all():
            await summary.click()
        if barriers := await page.evaluate(RUN_AXE):
            found[name] = barriers
    await room.visit(page, "#/")
    await page.keyboard.press("n")
    await page.locator("dialog[open]").wait_for()
    if barriers := await page.evaluate(RUN_AXE):
        found["new task"] = barriers
    assert found == {}


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm ci in web/")
async def test_a_barrier_would_be_found(room: Room) -> None:
    page = await room.enter()
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    await page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert any(one.startswith("label: ") for one in await page.evaluate(RUN_AXE))


# Names of things, and what the house itself calls by them; the words that config.toml takes stand there as they are.
NAMES = re.compile(
    r"Tawny|English|Cron|JSON Lines|JSON|CSV|RRULE|API|demo|Etc/UTC|config\.toml|Chrome on Linux"
    r"|task\.run|owner|ask|main|deny|allowlist|full|critical|high|normal|low|per-channel-peer|per-peer"
    r"|steer|followup|collect|interrupt|summarize|new|old|sandbox|unconfined"
)
CHINESE = re.compile("[\u4e00-\u9fff]")


async def test_an_empty_house_speaks_one_language(room: Room) -> None:
    """With Chinese chosen, what the panel itself says is Chinese: also fields, hints, and names for readers."""
    page = await room.enter(locale="zh-CN")
    english: dict[str, list[str]] = {}
    for name in PAGES:
        await room.visit(page, f"#/{'' if name == 'board' else name}")
        await settled(page)
        for summary in await page.locator("main summary").all():
            await summary.click()
        said: list[str] = await page.evaluate(SAID)
        if left := [
            text
            for text in said
            if not CHINESE.search(text) and re.search("[A-Za-z]{3}", NAMES.sub("", text))
        ]:
            english[name] = left
    assert english == {}


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1920])
async def test_no_page_is_wider_than_its_window(room: Room, width: int) -> None:
    task_id = await furnish(room)
    page = await room.enter({"width": width, "height": 800})
    wide: dict[str, int] = {}
    for name in [*PAGES, f"tasks/{task_id}"]:
        await room.visit(page, f"#/{'' if name == 'board' else name}")
        await settled(page)
        over = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if over > 0:
            wide[name] = over
    assert wide == {}


async def test_the_menu_leads_to_every_page(room: Room) -> None:
    page = await room.enter()
    menu = page.get_by_role("navigation", name="Main").first
    for name in await menu.get_by_role("link").all_inner_texts():
        await menu.get_by_role("link", name=name).click()
        await expect(menu.get_by_role("link", name=name)).to_have_attribute("aria-current", "page")
        await expect(page.locator("main h1")).to_be_attached()
    phone = await room.enter(PHONE)
    await phone.get_by_role("button", name="More").click()
    await phone.get_by_role("dialog").get_by_role("link", name="Settings").click()
    await expect(phone.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    await expect(phone.get_by_role("dialog")).to_be_hidden()


async def test_the_audit_is_read_on_a_phone_without_scrolling_sideways(room: Room) -> None:
    await furnish(room)
    page = await room.enter(PHONE, at="#/audit")
    await page.locator("table.audit tbody tr").first.wait_for()
    over = "document.querySelector('.table-wrap').scrollWidth - document.querySelector('.table-wrap').clientWidth"
    assert await page.evaluate(over) <= 0
    await expect(page.locator("table.audit tbody tr").first.locator("td").last).to_be_in_viewport()


async def test_a_kind_of_task_goes_by_its_name(room: Room) -> None:
    page = await room.enter()
    await room.house.run(title="Named", params={"steps": 1, "step_seconds": 0})
    await expect(page.locator("[data-task]").first).to_contain_text("Trial task")
