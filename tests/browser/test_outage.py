"""Bad lines: a restart in the middle costs a second, an outage is told, the shell opens without a gateway."""

import asyncio
import re
import sys
from asyncio.subprocess import Process
from pathlib import Path

from playwright.async_api import Browser, expect
from tests import servers
from tests.servers import free_port

from .conftest import DESKTOP

READY = re.compile(rb"panel (\S+)")


async def start(home: Path, port: int) -> tuple[Process, str]:
    command = [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    async with asyncio.timeout(30):
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
        await expect(page.get_by_text("No connection to Tawny", exact=False)).to_be_visible(timeout=10_000)
        process, _ = await start(tmp_path / "home", port)
        await expect(page.locator("[data-task]")).to_have_attribute(
            "data-status", "succeeded", timeout=30_000
        )
        await expect(page.get_by_text("No connection to Tawny", exact=False)).to_be_hidden()
        assert await page.evaluate("window.stillHere")
        assert await page.locator("[data-task]").count() == 1

        await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        process.terminate()
        await process.wait()
        await page.reload()
        await expect(page.get_by_text("Is the gateway running?", exact=False)).to_be_visible(timeout=10_000)
    finally:
        await servers.reap(process)
