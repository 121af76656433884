"""Reached by everyone: the keyboard alone, readers, and who wants no movement."""

from playwright.async_api import Page, expect
from tests.browser.test_pages import PAGES

from .conftest import Room

FOCUS = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
MOVES = """document.getAnimations().filter(one =>
    one.playState === "running" && one.effect.getComputedTiming().endTime > 1000).length"""
ORDER = """() => {
    // Every place the tab key stops at, from top to bottom and, in a row, from left to right.
    const inputs = "main :is(a, button, input, select, textarea, summary)";
    const folded = "details:not([open]) > :not(summary)";
    const forced = "[tabindex]:not([tabindex='0'], [tabindex='-1'])";
    const stops = [...document.querySelectorAll(inputs)]
        .filter(one => one.checkVisibility() && !one.disabled && one.tabIndex >= 0 && !one.closest(folded));
    const told = [];
    for (let n = 1; n < stops.length; n += 1) {
        const [before, after] = [stops[n - 1], stops[n]].map(one => one.getBoundingClientRect());
        const column = Math.abs(after.left - before.left) > 300;
        const above = after.bottom < before.top + 4 && after.top < before.top - 4;
        if (!column && above) told.push(stops[n].outerHTML.slice(0, 120));
    }
    return [stops.length, told, document.querySelectorAll(forced).length];
}"""


async def test_the_first_tab_skips_to_the_page(room: Room) -> None:
    page = await room.enter(at="#/settings")
    await page.evaluate("document.activeElement.blur()")
    await page.reload()
    await page.locator("main h1").wait_for()
    await page.keyboard.press("Tab")
    assert await page.evaluate(FOCUS) == "Skip to content"
    await expect(page.locator(".skip")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Settings", level=1)).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.closest('main') !== null")


async def test_the_tab_key_goes_as_the_eye_goes(room: Room) -> None:
    await room.house.run("ask", title="Send the contract")
    await room.house.run(title="Long", params={"steps": 500, "step_seconds": 1})
    page = await room.enter()
    wrong: dict[str, list[str]] = {}
    for name in PAGES:
        await room.visit(page, f"#/{'' if name == 'board' else name}")
        await page.locator("main .loading").first.wait_for(state="detached")
        _, told, forced = await page.evaluate(ORDER)
        assert forced == 0, "no order but the document's own"
        if told:
            wrong[name] = told
    assert wrong == {}
    reverse = (
        "document.querySelector('.accordion').style.cssText = 'display: flex; flex-direction: column-reverse'"
    )
    await page.evaluate(reverse)
    assert (await page.evaluate(ORDER))[1], "what goes against the eye would be found"


async def test_a_dialog_takes_the_focus_and_gives_it_back(room: Room) -> None:
    page = await room.enter()
    opener = page.get_by_role("button", name="New task")
    await opener.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="New task")
    await expect(dialog).to_be_visible()
    for _ in range(12):
        await page.keyboard.press("Tab")
        assert await page.evaluate(
            "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        )
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(opener).to_be_focused()


async def test_a_dialog_with_a_form_begins_in_it(room: Room) -> None:
    page = await room.enter()
    await page.keyboard.press("n")
    await expect(page.get_by_role("dialog").get_by_label("What")).to_be_focused()


async def test_a_text_from_right_to_left_is_set_so(room: Room) -> None:
    page = await room.enter()
    await room.house.client.post("/v1/sessions/main/messages", json={"text": "مرحبا", "wait": True})
    for title, direction in (("الأرشيف", "rtl"), ("Archive", "ltr")):
        task = await room.house.run(title=title, params={"steps": 1, "step_seconds": 0})
        row = page.locator(f"[data-task={task['task_id']}] .task-title")
        await expect(row).to_have_css("direction", direction)
    await room.visit(page, "#/chat/main")
    await expect(page.locator(".said")).to_have_css("direction", "rtl")


async def test_letters_lead_to_pages_but_not_while_one_writes(room: Room) -> None:
    page = await room.enter()
    await page.keyboard.press("g")
    await page.keyboard.press("a")
    await expect(page.get_by_role("heading", name="Approvals", level=1)).to_be_focused()
    await room.visit(page, "#/chat/main")
    await page.get_by_label("Write to Tawny").press_sequentially("gan")
    await expect(page.get_by_label("Write to Tawny")).to_have_value("gan")
    assert page.url.endswith("#/chat/main")


async def moving(room: Room, motion: str) -> Page:
    page = await room.enter(reduced_motion=motion)
    await expect(page.locator("[data-task][data-status=running]")).to_be_visible()
    return page


async def test_nothing_moves_for_who_wants_no_movement(room: Room) -> None:
    # Nothing is known of how far it is: the bar moves to and fro for as long as the test looks at it.
    await room.house.run(title="Long", params={"steps": 500, "step_seconds": 5000})
    lively = await moving(room, "no-preference")
    await lively.wait_for_function(f"() => {MOVES} > 0")
    assert await (await moving(room, "reduce")).evaluate(MOVES) == 0


async def test_with_the_readers_own_colours_a_bar_is_seen_and_a_choice_too(room: Room) -> None:
    await room.house.run(title="Long", params={"steps": 500, "step_seconds": 1})
    page = await room.enter(forced_colors="active")
    bar = page.get_by_role("progressbar")
    await expect(bar).to_be_visible()
    colours = "one => [one, one.firstElementChild].map(one => getComputedStyle(one).backgroundColor)"
    ground, filled = await bar.evaluate(colours)
    assert filled != ground
    assert await bar.evaluate("one => getComputedStyle(one).borderTopStyle") == "solid"
    for chosen in ("[aria-pressed=true]", "[aria-current=page]"):
        await expect(page.locator(chosen).first).to_have_css("outline-style", "solid")


async def test_who_presses_a_button_by_keyboard_does_not_lose_the_place(room: Room) -> None:
    page = await room.enter()
    task = await room.house.run(title="Later", not_before="3h", params={"steps": 1})
    row = page.locator(f"[data-task={task['task_id']}]")
    await row.locator("[data-action=pause]").focus()
    await page.keyboard.press("Enter")
    await expect(row).to_have_attribute("data-status", "paused")
    # The button that paused is gone; the row still has the focus.
    await page.wait_for_function("() => document.activeElement.closest('[data-task]') !== null")


async def test_a_message_with_a_way_back_stays_while_one_reaches_for_it(room: Room) -> None:
    page = await room.enter()
    await page.clock.install()
    task = await room.house.run(title="Later", not_before="3h", params={"steps": 1})
    await page.locator(f"[data-task={task['task_id']}] [data-action=cancel]").click()
    back = page.get_by_role("status").get_by_role("button", name="Run again")
    await back.focus()
    await page.clock.run_for(60_000)
    await expect(back).to_be_visible()
    await page.locator("main h1").focus()
    await page.clock.run_for(11_000)
    await expect(back).to_be_hidden()


async def test_every_name_is_said_though_it_must_be_asked_for(room: Room) -> None:
    """Ends that come before the panel has read anything of their tasks, in the order in which they came."""
    page = await room.enter()
    watch = """() => {
        window.said = [];
        const one = document.querySelector("[data-announcer]");
        const note = new MutationObserver(() => said.push(one.textContent.trim()));
        note.observe(one, {childList: true, characterData: true, subtree: true});
    }"""
    await page.evaluate(watch)
    titles = ["First", "Second", "Third", "Third"]
    for title in titles:
        task = await room.house.run(title=title, params={"steps": 1, "step_seconds": 0})
        await room.house.until(task["task_id"], "succeeded")
    await page.wait_for_function("() => said.length >= 4")
    assert await page.evaluate("said") == [f"Done: {title}" for title in titles]


async def test_what_matters_is_said_aloud_once(room: Room) -> None:
    page = await room.enter()
    aloud = page.locator("[data-announcer]")
    task = await room.house.run(title="Report", params={"steps": 2, "step_seconds": 0})
    await room.house.until(task["task_id"], "succeeded")
    await expect(aloud).to_have_text("Done: Report")
    await room.house.run("ask", title="Send")
    await expect(aloud).to_contain_text("Your yes is needed")
