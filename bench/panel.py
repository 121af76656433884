"""How soon the panel stands: a cold browser before a gateway with 5,000 ended tasks; how soon a change is on screen.

    python bench/panel.py [--tasks 5000] [--loads 5] [--save]

Chromium (Debian's) and the gateway share this machine. First paint is the browser's own first contentful paint;
`board` is when the first row of the list is in the page; `change` is from an event's time to the moved bar, by the
page's clock. Every figure is of this run on this machine; `--save` writes them to bench/results/panel.json.
"""

import argparse
import asyncio
import json
import platform
import shutil
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from tawny.clock import SystemClock
from tawny.config import Home
from tawny.ids import new_id
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]


async def start(home: Path) -> tuple[asyncio.subprocess.Process, str]:
    command = [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    async for line in process.stdout:
        if line.startswith(b"panel "):
            return process, line.split()[1].decode()
    raise SystemExit("the gateway did not start")


async def one_ended_task(browser: Browser, link: str) -> None:
    """Let the gateway make one real task, the pattern of all the others."""
    page = await (await browser.new_context(locale="en-GB")).new_page()
    await page.goto(link)
    await page.get_by_role("button", name="Start a trial task").click()
    await page.get_by_role("dialog").get_by_role("button", name="Start").click()
    await page.locator("[data-task][data-status=succeeded]").wait_for()
    await page.context.close()


def multiply(home: Path, count: int) -> None:
    """Copy the one task until there are `count`."""
    clock = SystemClock()
    store = SqliteStore(home / "state.db")
    migrate(store, clock)
    connection = store.connect()
    columns = [row["name"] for row in connection.fetch("SELECT name FROM pragma_table_info('tasks')", {})]
    others = ", ".join(name for name in columns if name != "task_id")
    connection.begin()
    for _ in range(count - 1):
        connection.execute(
            f"INSERT INTO tasks (task_id, {others}) SELECT :id, {others} FROM tasks ORDER BY task_id LIMIT 1",
            {"id": new_id("task", clock.now())},
        )
    connection.commit()
    connection.close()


async def load(browser: Browser, link: str) -> dict[str, float]:
    page = await (await browser.new_context(locale="en-GB")).new_page()
    await page.goto(link)
    await page.locator("[data-task]").first.wait_for()
    board = await page.evaluate("performance.now()")
    paint = await page.evaluate(
        "performance.getEntriesByType('paint').find(one => one.name == 'first-contentful-paint').startTime"
    )
    rows = await page.locator("[data-task]").count()
    heap = await page.evaluate("performance.memory.usedJSHeapSize / 1e6")
    await page.context.close()
    return {"first_paint_ms": paint, "board_ms": board, "rows": rows, "heap_mb": heap}


WATCH = """() => new Promise(resolve => {
    const seen = [];
    setTimeout(() => resolve(seen), 60000);
    new MutationObserver(() => {
        seen.push(performance.timeOrigin + performance.now());
        if (seen.length >= 40) resolve(seen);
    }).observe(document.querySelector('main'), {subtree: true, attributes: true, attributeFilter: ['aria-valuenow']});
})"""


async def change(page: Page) -> list[float]:
    """From an event's time to the bar's move, in milliseconds: both clocks are this machine's."""
    await page.evaluate(
        """async () => {
            window.told = [];
            const response = await fetch('/v1/stream?topics=task.progress');
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            (async () => {
                for (;;) {
                    const {value, done} = await reader.read();
                    if (done) return;
                    for (const line of value.split('\\n'))
                        if (line.startsWith('data:')) window.told.push(Date.parse(JSON.parse(line.slice(5)).time));
                }
            })();
        }"""
    )
    await page.get_by_role("button", name="New task").click()
    dialog = page.get_by_role("dialog")
    await dialog.locator("select").first.select_option("simulate")
    await dialog.get_by_label("steps", exact=True).or_(dialog.get_by_label("steps")).first.fill("60")
    await dialog.get_by_label("step seconds").fill("0.25")
    watching = asyncio.ensure_future(page.evaluate(WATCH))
    await dialog.get_by_role("button", name="Start").click()
    moved = await watching
    told = await page.evaluate("window.told")
    if len(moved) < 40:
        raise SystemExit(f"the bar moved {len(moved)} times in a minute; {len(told)} events of it came")
    return [min(time - at for at in told if at <= time) for time in moved if any(at <= time for at in told)]


async def measure(tasks: int, loads: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        Home(home).prepare()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            process, link = await start(home)
            await one_ended_task(browser, link)
            process.terminate()
            await process.wait()
            multiply(home, tasks)
            process, link = await start(home)
            try:
                found = [await load(browser, link) for _ in range(loads)]
                page = await (await browser.new_context(locale="en-GB")).new_page()
                await page.goto(link)
                await page.locator("[data-task]").first.wait_for()
                moves = sorted(await change(page))
            finally:
                process.terminate()
                await process.wait()
                await browser.close()
    return {
        "tasks": tasks,
        **{name: round(statistics.median(one[name] for one in found), 1) for name in found[0]},
        "worst_board_ms": round(max(one["board_ms"] for one in found), 1),
        "change_p50_ms": round(statistics.median(moves), 1),
        "change_p95_ms": round(moves[int(len(moves) * 0.95)], 1),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    figures = asyncio.run(measure(args.tasks, args.loads))
    print(json.dumps(figures, indent=2))
    if args.save:
        (Path(__file__).parent / "results" / "panel.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
