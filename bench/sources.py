"""How fast the morning comes: reads cold and warm, parsing, the brief from submit to result, a long document.

    python bench/sources.py [--save]

Real files, the real engine, the real child processes, on this machine; `--save` writes bench/results/sources.json.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from datetime import UTC, date, datetime
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

from tawny.app import open_app, parsers_of
from tawny.cli.demo.home import report
from tawny.config import Config, Home, Owner, Source, Sources
from tawny.domain.calendar import day_span
from tawny.engine.submit import parse_request
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get
from tawny.sources.place import MailQuery
from tawny.sources.shelf import Shelf
from tawny.sources.workers import Workers

EVENTS, MAILS = 1_000, 300
SPAN = day_span(date(2026, 3, 2), ZoneInfo("Europe/Berlin"))


def fill(root: Path) -> Config:
    """A calendar of 1,000 series, 300 unread mails, 200 to-dos."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//bench//EN"]
    for n in range(EVENTS):
        lines += [
            "BEGIN:VEVENT", f"UID:{n}", f"SUMMARY:Event {n}",
            f"DTSTART;TZID=Europe/Berlin:20260{n % 2 + 1}{n % 28 + 1:02d}T{n % 24:02d}0000", "DURATION:PT1H",
            *(["RRULE:FREQ=WEEKLY;COUNT=30"] if n % 10 == 0 else []), "END:VEVENT",
        ]  # fmt: skip
    (root / "work.ics").write_text("\r\n".join([*lines, "END:VCALENDAR", ""]))
    (root / "todo.txt").write_text("".join(f"Thing {n} due:2026-03-0{n % 9 + 1}\n" for n in range(200)))
    (root / "mail" / "new").mkdir(parents=True)
    for n in range(MAILS):
        letter = EmailMessage()
        letter["From"], letter["Subject"] = f"P{n} <p{n}@example.org>", f"Could you look at {n}?"
        letter["Date"], letter["Message-ID"] = "Mon, 2 Mar 2026 07:00:00 +0100", f"<{n}@example.org>"
        letter.set_content("Please answer.\n" * 40)
        (root / "mail" / "new" / str(n)).write_bytes(letter.as_bytes())
    return Config(
        owner=Owner(timezone="Europe/Berlin"),
        sources=Sources(
            calendar=(Source(name="work", url="work.ics"),),
            todo=(Source(name="list", url="todo.txt"),),
            mail=(Source(name="me", url=f"maildir://{root}/mail"),),
        ),
    )


def opened(root: Path, config: Config) -> Shelf:
    """A shelf whose parsers run in the sandbox, as the gateway's do."""
    workers = Workers(confine=parsers_of(Home(root / "home"), config))
    return Shelf(config.sources, zone="Europe/Berlin", root=root, workers=workers)


async def timed(work) -> float:
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def reads(root: Path, config: Config) -> dict[str, float]:
    figures: dict[str, float] = {}
    cold = []
    for _ in range(3):
        shelf = opened(root, config)
        cold.append(await timed(shelf.todos("list")))
        await shelf.close()
    figures["first read, child started (ms)"] = statistics.median(cold)
    shelf = opened(root, config)
    await shelf.todos("list")
    figures["to-dos, warm (ms)"] = statistics.median([await timed(shelf.todos("list")) for _ in range(10)])
    await shelf.calendar("work", *SPAN)
    figures[f"calendar of {EVENTS} series, warm (ms)"] = statistics.median(
        [await timed(shelf.calendar("work", *SPAN)) for _ in range(3)]
    )
    await shelf.mail("me", MailQuery())
    figures[f"{MAILS} mails, warm (ms)"] = statistics.median(
        [await timed(shelf.mail("me", MailQuery(limit=MAILS))) for _ in range(3)]
    )
    await shelf.close()
    return figures


async def tasks(home: Home, config: Config) -> dict[str, float]:
    figures: dict[str, float] = {}
    async with open_app(home, config) as app:

        async def run(kind: str, params: dict) -> None:
            submission = parse_request({"kind": kind, "params": params}, kinds=app.kinds, now=app.clock.now())
            task = await app.ledger.write(lambda tx: submit(tx, submission))
            ended = app.ledger.bell.subscribe("ended")
            while not (now := await app.ledger.read(lambda tx: get(tx, task.task_id))).status.is_terminal:
                await ended.wait()
                ended.clear()
            assert now.status == "succeeded", now.error

        day = {"date": "2026-03-02"}
        figures["brief, submit to result, cold (ms)"] = await timed(run("generate_daily_brief", day))
        figures["brief, submit to result, warm (ms)"] = statistics.median(
            [await timed(run("generate_daily_brief", day)) for _ in range(3)]
        )
        (home.workspace / "report.md").write_text(report())
        figures["50-page document, submit to result (ms)"] = await timed(
            run("digest_document", {"path": "report.md"})
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.prepare()
        config = fill(home.root)
        figures = asyncio.run(reads(home.root, config)) | asyncio.run(tasks(home, config))
    result = {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "figures": {name: round(value, 1) for name, value in figures.items()},
    }
    print(json.dumps(result, indent=2))
    if args.save:
        target = Path(__file__).parent / "results" / "sources.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
