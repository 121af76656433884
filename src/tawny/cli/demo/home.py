"""The demo's temporary home: the bundled files with today's dates, and a configuration that points at them."""

import json
import math
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tawny.cli.parsing import trial
from tawny.clock import SystemClock, to_datetime
from tawny.config import Config, Home, load, owner_zone

DATA = Path(__file__).parent / "data"
CLIPS = 24
BAD_CLIPS = (7, 18)
PAGES = 50


def prepare(root: Path, *, port: int, outside: str) -> Home:
    """Fill `root`; `outside` is the address of the loopback server that plays the rest of the world."""
    home = Home(root)
    home.prepare()
    zone = owner_zone(Config())
    now = to_datetime(SystemClock().now(), ZoneInfo(zone))
    for name in ("work.ics", "todo.txt", "contacts.vcf"):
        (root / name).write_text(dated((DATA / name).read_text(encoding="utf-8"), now), encoding="utf-8")
    for name in ("new", "cur", "tmp"):
        (root / "mail" / name).mkdir(parents=True, exist_ok=True)
    for letter in sorted((DATA / "mail").iterdir()):
        text = letter.read_bytes().decode("latin-1")
        (root / "mail" / "new" / letter.stem).write_bytes(dated(text, now).encode("latin-1"))
    (home.workspace / "q2-report.md").write_text(report(), encoding="utf-8")
    _write_clips(home.workspace / "clips")
    text = _CONFIG.format(port=port, zone=zone, root=root, outside=outside, host=outside[7:])
    home.config_file.write_text(text)
    if trial(home, load(home)) is not None:
        home.config_file.write_text(text + _UNCONFINED)
    return home


def dated(text: str, now: datetime) -> str:
    """The text with its marks replaced: `@TODAY@` (20260302), `@TODAY-@` (2026-03-02), `@MAILDATE@` and others."""
    today = now.date()
    days = {"TODAY": 0, "YESTERDAY": -1, "TOMORROW": 1, "LONGAGO": -21}
    for word, offset in days.items():
        day: date = today + timedelta(days=offset)
        text = text.replace(f"@{word}@", f"{day:%Y%m%d}").replace(f"@{word}-@", day.isoformat())
    evening = datetime.combine(today - timedelta(days=1), now.time().replace(hour=18), now.tzinfo)
    return text.replace("@MAILDATE@", format_datetime(evening))


def report() -> str:
    """A report of fifty pages, with something worth knowing on nine of them."""
    source = json.loads((DATA / "report.json").read_text(encoding="utf-8"))
    chapters: list[str] = source["chapters"]
    plain: list[str] = source["plain"]
    per_chapter = math.ceil(PAGES / len(chapters))
    pages = [f"# {source['title']}\n\nFrom: the project manager"]
    for page in range(PAGES):
        chapter = chapters[page // per_chapter]
        sentences = [plain[(page + n) % len(plain)] for n in range(24)]
        if finding := source["findings"].get(str(page)):
            sentences.insert(11, finding)
        paragraphs = [" ".join(sentences[n : n + 8]) for n in range(0, len(sentences), 8)]
        pages.append("\n\n".join([f"## {chapter}, page {page + 1}", *paragraphs]))
    return "\n\n".join(pages) + "\n"


def _write_clips(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    said: list[str] = json.loads((DATA / "clips.json").read_text(encoding="utf-8"))
    for number in range(1, CLIPS + 1):
        sureness = -1.7 if number in BAD_CLIPS else -0.25
        segments = [
            {
                "start": 4.0 * n,
                "end": 4.0 * n + 3.5,
                "text": said[(number + n) % len(said)],
                "avg_logprob": sureness,
            }
            for n in range(4)
        ]
        (folder / f"video-{number:02d}.json").write_text(json.dumps({"segments": segments}), encoding="utf-8")


_UNCONFINED = """
# This machine has no sandbox for parsers ('tawny doctor' says why), and all that the demo reads is bundled.
[sandbox]
parsers = "unconfined"
"""

_CONFIG = """\
# The demo's own configuration: everything it reads is bundled, everything it reaches is on this machine.
[gateway]
port = {port}

[owner]
timezone = "{zone}"

[model]
name = "demo"

[[sources.calendar]]
name = "work"
url = "work.ics"

[[sources.todo]]
name = "list"
url = "todo.txt"

[[sources.mail]]
name = "mail"
url = "maildir://{root}/mail"

[[sources.contacts]]
name = "people"
url = "contacts.vcf"

[[sources.weather]]
name = "here"
url = "{outside}/v1/forecast"
latitude = 52.52
longitude = 13.41

[[sources.feed]]
name = "news"
url = "{outside}/feed.xml"

[[channels.webhook]]
name = "phone"
url = "{outside}/phone"

[network]
allow_private = ["{host}"]
"""
