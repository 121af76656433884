"""Bad lines: a restart in the middle costs a second, an outage is told, the shell opens without a gateway."""

import asyncio
import re
import sys
from asyncio.subprocess import Process
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, expect
from tests import servers
from tests.servers import free_port

from .conftest import DESKTOP, PHONE

# The bar's next move.
NEXT = """bar => new Promise(resolve => {
    const seen = new MutationObserver(() => resolve(seen.disconnect()));
    seen.observe(bar, {attributes: true});
})"""
READY = re.compile(rb"panel (\S+)")


async def start(home: Path, port: int) -> tuple[Process, str]:
    command = [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if match := READY.match(line):
                return process, match.group(1).decode()
    raise AssertionError("the gateway ended before it was ready")


async def test_a_killed_and_restarted_gateway_costs_the_page_nothing(
    chromium: Browser, tmp_path: Path
) -> None:
    port = free_port()
    process, link = await start(tmp_path / "home", port)
    try:
        page = await (await chromium.new_context(viewport=DESKTOP, locale="en-GB")).new_page()  # pyright: ignore[reportArgumentType]
        await page.goto(link)
        await page.get_by_role("button", name="Start a trial task").click()
        await page.get_by_role("dialog").get_by_role("button", name="Start").click()
        bar = page.locator("[data-task] [role=progressbar]")
        await expect(bar).to_have_attribute("aria-valuenow", re.compile("^[1-9]"))
        await page.evaluate("window.stillHere = true")
        await servers.reap(process)
        await expect(page.get_by_text("No connection to Tawny", exact=False)).to_be_visible()
        process, _ = await start(tmp_path / "home", port)
        await expect(page.locator("[data-task]")).to_have_attribute("data-status", "succeeded")
        await expect(page.get_by_text("No connection to Tawny", exact=False)).to_be_hidden()
        assert await page.evaluate("window.stillHere")
        assert await page.locator("[data-task]").count() == 1

        await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        process.terminate()
        await process.wait()
        await page.reload()
        await expect(page.get_by_text("Is the gateway running?", exact=False)).to_be_visible()
    finally:
        await servers.reap(process)


async def test_three_devices_outlive_a_restart_and_one_cancels_for_all(
    chromium: Browser, tmp_path: Path
) -> None:
    port = free_port()
    process, link = await start(tmp_path / "home", port)
    try:
        pages: list[Page] = []
        for size in (DESKTOP, PHONE, DESKTOP):
            context = await chromium.new_context(viewport=size, locale="en-GB")  # pyright: ignore[reportArgumentType]
            pages.append(await context.new_page())
            await pages[-1].goto(link)
            await pages[-1].get_by_role("heading", name="Board").wait_for()
            await pages[-1].evaluate("window.stillHere = true")
        await pages[0].keyboard.press("n")
        dialog = pages[0].get_by_role("dialog")
        await dialog.get_by_label("What").select_option("simulate")
        await dialog.get_by_label("steps", exact=True).fill("200")
        await dialog.get_by_label("step seconds", exact=True).fill("0.5")
        await dialog.get_by_role("button", name="Start").click()
        for page in pages:
            await expect(bar(page)).to_have_attribute("aria-valuenow", re.compile("^[1-9]"))
        before = max([await value(page) for page in pages])
        await servers.reap(process)
        process, _ = await start(tmp_path / "home", port)
        for page in pages:
            await page.wait_for_function(
                "least => Number(document.querySelector('[role=progressbar]').ariaValueNow) > least",
                arg=before,
                timeout=60_000,
            )
        async with asyncio.timeout(
            60
        ):  # the bars move together again: three looks in one step see one figure
            while len({await value(page) for page in pages}) > 1:
                await bar(pages[0]).evaluate(NEXT)
        await pages[1].locator("[data-action=cancel]").click()
        for page in pages:
            await expect(page.locator("[data-task]")).to_have_attribute("data-status", "cancelled")
            assert await page.evaluate("window.stillHere"), "no page was loaded anew"
            assert await page.locator("[data-task]").count() == 1
    finally:
        await servers.reap(process)


def bar(page: Page) -> Locator:
    return page.locator("[data-task] [role=progressbar]")


async def value(page: Page) -> int:
    return int(await bar(page).get_attribute("aria-valuenow") or 0)
