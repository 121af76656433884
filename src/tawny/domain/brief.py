"""The morning brief: what of the material goes in, in which order, and how it reads."""

import html
import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tawny.clock import to_datetime
from tawny.domain.calendar import CalendarEvent, day_span, within
from tawny.domain.contacts import Contact
from tawny.domain.correspondence import Letter, rank
from tawny.domain.feeds import FeedEntry
from tawny.domain.mail import Mail
from tawny.domain.todos import Todo, due_by
from tawny.domain.weather import Weather, advice, describe

FORMATS = ("markdown", "text", "html")
_FREE, _DONE, _QUIET = "Nothing scheduled.", "Nothing due.", "Nothing that needs you."
_URGENT, _ASKS, _TENTATIVE = " - High priority", " - asks for an answer", " – tentative"
_MOST_LINES = 10
_MOST_NEWS = 5
_ONLINE = re.compile(
    r"https?://|\b(?:zoom|teams meeting|google meet|meet\.google|webex|jitsi|online|腾讯会议|飞书)",
    re.IGNORECASE,
)


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. `None` where a noun was not asked for, or none of its sources answered.

    `missing` has one line for each source that did not answer, with the reason.
    """

    day: date
    zone: str
    events: tuple[CalendarEvent, ...] | None = None
    todos: tuple[Todo, ...] | None = None
    weather: tuple[Weather, ...] | None = None
    mail: tuple[Mail, ...] | None = None
    news: tuple[FeedEntry, ...] | None = None
    contacts: tuple[Contact, ...] = ()
    missing: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the brief. Its `lines` are plain text; one that is `inline` stands on the title's line."""

    key: str
    sign: str
    title: str
    lines: tuple[str, ...]
    count: int = 0
    inline: bool = False


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """The brief, before it is written in a format."""

    day: date
    greeting: str
    sections: tuple[Section, ...]
    missing: tuple[str, ...] = ()
    offer: str = ""


def compose(material: Material, *, letters: Sequence[Letter] | None = None) -> Brief:
    """The brief of the material; `letters` where somebody else has ranked the mail."""
    sections: list[Section] = []
    if material.events is not None:
        sections.append(_schedule(material.events, material))
    if material.todos is not None:
        sections.append(_due(material.todos, material))
    if material.mail is not None:
        sections.append(_mail(rank(material.mail, material.contacts) if letters is None else letters))
    if material.weather:
        sections.append(_weather(material.weather))
    if material.news:
        sections.append(_news(material.news))
    has_meetings = any(section.key == "calendar" and section.count for section in sections)
    return Brief(
        day=material.day,
        greeting="Good Morning! ☀️",
        sections=tuple(sections),
        missing=material.missing,
        offer="Shall I help you prepare meeting materials?" if has_meetings else "",
    )


def _schedule(events: Iterable[CalendarEvent], material: Material) -> Section:
    start, end = day_span(material.day, ZoneInfo(material.zone))
    unique = {(event.uid or event.title, event.start, event.title): event for event in events}
    today = [event for event in within(unique.values(), start, end) if event.status != "cancelled"]
    lines = tuple(_event_line(event, material) for event in today)
    timed = sum(1 for event in today if not event.all_day)
    return Section(
        key="calendar",
        sign="📅",
        title="Today's Schedule",
        lines=_limited(lines) or (_FREE,),
        count=timed,
    )


def _event_line(event: CalendarEvent, material: Material) -> str:
    zone = ZoneInfo(material.zone)
    start, end = day_span(material.day, zone)
    if event.all_day or (event.start <= start and event.end >= end):
        when = "All day"
    elif event.start < start:
        when = f"until {to_datetime(event.end, zone):%H:%M}"
    else:
        when = f"{to_datetime(event.start, zone):%H:%M}"
    place = " ".join(event.location.split())
    where = f" ({'online' if _ONLINE.search(place) else place})" if place else ""
    doubt = _TENTATIVE if event.status == "tentative" else ""
    return f"{when} {_one_line(event.title)}{where}{doubt}"


def _due(todos: Iterable[Todo], material: Material) -> Section:
    lines = tuple(_todo_line(todo, material) for todo in due_by(todos, material.day))
    return Section(
        key="tasks", sign="⚠️", title="Due Today", lines=_limited(lines) or (_DONE,), count=len(lines)
    )


def _todo_line(todo: Todo, material: Material) -> str:
    text = _one_line(todo.title)
    if todo.due is not None and todo.due < material.day:
        days = (material.day - todo.due).days
        return f"{text} (overdue since {'yesterday' if days == 1 else _short(todo.due, material.day)})"
    if todo.due_at is not None:
        return f"{text} (by {to_datetime(todo.due_at, ZoneInfo(material.zone)):%H:%M})"
    return text


def _mail(letters: Sequence[Letter]) -> Section:
    lines = tuple(letter_line(letter) for letter in letters)
    title = f"Pending Emails ({len(lines)})" if lines else "Pending Emails"
    return Section(
        key="mail",
        sign="📧",
        title=title,
        lines=_limited(lines) or (_QUIET,),
        count=len(lines),
    )


def letter_line(letter: Letter) -> str:
    """`From CEO Zhang: Q2 budget approval - High priority`."""
    weight = _URGENT if letter.is_urgent else _ASKS if letter.asks else ""
    return f"From {_one_line(letter.sender)}: {_one_line(letter.mail.subject)}{weight}"


def _weather(forecasts: Sequence[Weather]) -> Section:
    lines = tuple(weather_line(forecast, named=len(forecasts) > 1) for forecast in forecasts)
    sign, _ = describe(forecasts[0])
    return Section(
        key="weather",
        sign=sign,
        title="Today's Weather",
        lines=lines,
        count=len(lines),
        inline=len(lines) == 1,
    )


def weather_line(weather: Weather, *, named: bool = False) -> str:
    """`Light rain, 3 to 9 °C, remember to bring an umbrella`."""
    _, words = describe(weather)
    parts = [words]
    if weather.low is not None and weather.high is not None:
        parts.append(f"{round(weather.low)} to {round(weather.high)} °C")
    if hint := advice(weather):
        parts.append(hint)
    return (f"{weather.place}: " if named and weather.place else "") + ", ".join(parts)


def _news(entries: Sequence[FeedEntry]) -> Section:
    fresh = sorted(entries, key=lambda entry: -(entry.time or 0))[:_MOST_NEWS]
    lines = tuple(f"{_one_line(entry.title)} ({_one_line(entry.feed)})" for entry in fresh)
    return Section(key="feeds", sign="📰", title="News", lines=lines, count=len(entries))


def _limited(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= _MOST_LINES:
        return lines
    return (*lines[: _MOST_LINES - 1], f"… and {len(lines) - _MOST_LINES + 1} more")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _short(day: date, today: date) -> str:
    return f"{day.day} {day:%b}" + (f" {day.year}" if day.year != today.year else "")


def long_date(day: date) -> str:
    """`Monday, 2 March 2026`."""
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


def overnight(day: date, zone: str) -> tuple[int, int]:
    """From yesterday's midnight to the end of `day`: the mail and news a morning brief looks at."""
    start, end = day_span(day - timedelta(days=1), ZoneInfo(zone), days=2)
    return start, end


def tells_all(brief: Brief, prose: str) -> bool:
    """Whether a text tells every time, name and number of the brief's lines: what a model may not leave out."""
    told = _levelled(prose)
    facts = (
        fact for section in brief.sections for line in section.lines for fact in _facts(section.key, line)
    )
    return all(_is_told(_levelled(fact), told) for fact in facts) and all(
        _missing_name(line) in told for line in brief.missing
    )


def _levelled(text: str) -> str:
    return " ".join(text.replace("\\", "").replace("−", "-").split()).replace(" °", "°").casefold()


def _is_told(fact: str, told: str) -> bool:
    """Whether it stands there; a number as that number, not as a part of another or of a time."""
    if not fact[:1].isdigit() and not fact.startswith("-"):
        return fact in told
    return re.search(rf"(?<![\d:.-]){re.escape(fact)}(?![\d:])", told) is not None


_WHEN = re.compile(r"(?:All day|(?:until )?(?P<time>\d\d:\d\d)) (?P<title>.*)")


def _facts(key: str, line: str) -> tuple[str, ...]:
    """What of a line must not get lost, by section."""
    if line in (_FREE, _DONE, _QUIET):
        return ()
    if line.startswith("… and "):
        return (line.removeprefix("… "),)
    plain = re.sub(r"\s*\([^()]*\)$", "", line.removesuffix(_TENTATIVE) if key == "calendar" else line)
    if key == "calendar" and (match := _WHEN.fullmatch(plain)):
        return (match["time"] or "", match["title"], "tentative" if line.endswith(_TENTATIVE) else "")
    if key == "mail" and line.startswith("From "):
        sender, _, subject = line.removeprefix("From ").partition(": ")
        return (sender, subject.removesuffix(_URGENT).removesuffix(_ASKS))
    if key == "weather":
        place, _, rest = line.rpartition(": ")
        numbers = re.search(r"(-?\d+) to (-?\d+ °C)", rest)
        return (place, *(numbers.groups() if numbers else (rest.partition(",")[0],)))
    if key == "tasks" and (by := re.search(r"\(by (\d\d:\d\d)\)$", line)):
        return (plain, by[1])
    return (plain,)


def _missing_name(line: str) -> str:
    return line.partition(" is missing")[0].partition(" (")[0].casefold()


# --- formats ---


def render(brief: Brief, format: str) -> str:
    """The brief as `markdown`, `text` or `html`.

    Raises:
        ValueError: another format.
    """
    if format == "markdown":
        return _markdown(brief)
    if format == "text":
        return _text(brief)
    if format == "html":
        return _html(brief)
    raise ValueError(f"{format!r} is no format; there are {', '.join(FORMATS)}")


def _text(brief: Brief) -> str:
    blocks = [f"{brief.greeting}\n{long_date(brief.day)}"]
    for section in brief.sections:
        head = f"{section.sign} {section.title}"
        if section.inline:
            blocks.append(f"{head}: {section.lines[0]}")
        else:
            blocks.append("\n".join([head, *(f"• {line}" for line in section.lines)]))
    if brief.offer:
        blocks.append(brief.offer)
    blocks.extend(f"⚠️ {line}" for line in brief.missing)
    return "\n\n".join(blocks)


# An underscore inside a word is no markup.
_MARKUP = re.compile(r"[\\`*\[\]<]|(?<!\w)_|_(?!\w)")


def _escaped(text: str) -> str:
    """Plain text inside Markdown: what would be markup is shown as it is."""
    return _MARKUP.sub(r"\\\g<0>", text)


def _markdown(brief: Brief) -> str:
    blocks = [f"**{brief.greeting}** {long_date(brief.day)}"]
    for section in brief.sections:
        head = f"{section.sign} {section.title}"
        if section.inline:
            blocks.append(f"**{head}:** {_escaped(section.lines[0])}")
        else:
            blocks.append("\n".join([f"**{head}**", *(f"- {_escaped(line)}" for line in section.lines)]))
    if brief.offer:
        blocks.append(brief.offer)
    blocks.extend(f"⚠️ {_escaped(line)}" for line in brief.missing)
    return "\n\n".join(blocks)


def _html(brief: Brief) -> str:
    parts = [f"<h1>{html.escape(brief.greeting)}</h1>", f"<p>{html.escape(long_date(brief.day))}</p>"]
    for section in brief.sections:
        head = html.escape(f"{section.sign} {section.title}")
        if section.inline:
            parts.append(f"<p><strong>{head}:</strong> {html.escape(section.lines[0])}</p>")
        else:
            items = "".join(f"<li>{html.escape(line)}</li>" for line in section.lines)
            parts.append(f"<h2>{head}</h2><ul>{items}</ul>")
    if brief.offer:
        parts.append(f"<p>{html.escape(brief.offer)}</p>")
    parts.extend(f"<p>⚠️ {html.escape(line)}</p>" for line in brief.missing)
    return "\n".join(parts)
