"""The panel as an app: it can be installed, and a push with Approve and Deny does what it says."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from tests.gateway.test_push import config, service

from tawny.config import Home

from .conftest import CHROMIUM, FLAGS, Room, deliver, open_room, service_worker

SUBSCRIBE = """given => {
    // The browser's own push service is on the internet; this one stands on this machine.
    PushManager.prototype.subscribe = async options => {
        if (!options.userVisibleOnly || options.applicationServerKey.byteLength !== 65) throw new Error("no key");
        return {toJSON: () => given};
    };
}"""
ACT = """async action => {
    const [notification] = await registration.getNotifications();
    const event = new NotificationEvent("notificationclick", {notification, action});
    const pending = [];
    event.waitUntil = promise => pending.push(promise);
    self.dispatchEvent(event);
    await Promise.all(pending);
    return (await registration.getNotifications()).map(one => one.title);
}"""


async def test_chromium_would_install_it(room: Room, tmp_path: Any) -> None:
    # A private window, as tests have them, never installs.
    chromium = room.browser.browser_type
    context = await chromium.launch_persistent_context(
        tmp_path / "profile", executable_path=CHROMIUM, args=FLAGS
    )
    try:
        page = await context.new_page()
        await page.goto(room.link)
        await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        devtools = await context.new_cdp_session(page)
        manifest = await devtools.send("Page.getAppManifest")
        assert manifest["errors"] == []
        assert json.loads(manifest["data"])["display"] == "standalone"
        assert (await devtools.send("Page.getInstallabilityErrors"))["installabilityErrors"] == []
    finally:
        await context.close()


@pytest.mark.parametrize(("action", "outcome"), [("approve", "approved"), ("deny", "denied")])
async def test_a_push_is_switched_on_sealed_shown_and_answered(
    home: Home, chromium: Browser, action: str, outcome: str
) -> None:
    async with service() as there, open_room(home, chromium, config(there.port)) as room:
        page = await room.enter(at="#/devices", permissions=["notifications"])
        await page.evaluate(SUBSCRIBE, there.subscription())
        await page.get_by_role("button", name="Switch on").click()
        await expect(page.get_by_role("button", name="Switch off")).to_be_visible()
        task = await room.house.run("ask")
        _, shown = await there.next()
        assert shown["approval_id"].startswith("appr_")
        await deliver(page, room, shown)
        worker = await service_worker(page)
        assert await worker.evaluate(ACT, action) == [outcome.capitalize()]
        await room.house.until(task["task_id"], "succeeded")
        asked = (await room.house.client.get(f"/v1/approvals/{shown['approval_id']}")).json()
        assert asked["status"] == outcome
        # A second press, on this device or another, says that it was answered before.
        await deliver(page, room, shown)
        assert (await worker.evaluate(ACT, action))[0] in (outcome.capitalize(), "Already answered elsewhere")


async def test_a_push_speaks_the_browsers_language(room: Room) -> None:
    page = await room.enter(locale="zh-CN", permissions=["notifications"])
    await deliver(page, room, {"title": "A task is done", "body": "remind", "task_id": "task_x"})
    shown = (
        "async () => (await (await navigator.serviceWorker.ready).getNotifications()).map(one => one.title)"
    )
    assert await page.evaluate(shown) == ["任务已完成"]


async def test_no_message_opens_another_address(room: Room) -> None:
    page = await room.enter(permissions=["notifications"])
    await deliver(page, room, {"title": "x", "url": "https://evil.example/"})
    worker = await service_worker(page)
    assert await worker.evaluate("self.registration.scope") == f"{room.address}/"
    assert await worker.evaluate("address({url: 'https://evil.example/'})") == "/"
    assert await worker.evaluate("address({url: '/#/inbox'})") == "/#/inbox"
