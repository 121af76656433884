"""What the built-in demo model understands: plain rules from words to a tool call or an answer, and back to words."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tawny.domain import phrases
from tawny.errors import TawnyError

HELP = (
    'I am Tawny\'s built-in demo model: small, deterministic, no key needed. Try: "run a test task of 60 seconds", '
    '"how is it going?", "cancel that", "pause the report", "remind me in 10 minutes to stretch", '
    '"make my morning brief", "every weekday at 8 send me a brief", "remember that …", "what do you remember about …". '
    "For real conversations set a model: tawny config set model.name openai:NAME."
)


class Call(msgspec.Struct, frozen=True):
    """A tool the model wants called."""

    tool: str
    arguments: dict[str, Any]


class Result(msgspec.Struct, frozen=True):
    """What a tool gave back: the call it answers, and its content as text or document."""

    call: Call
    content: Any


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], Call | str]]
_UNITS = {"s": "s", "sec": "s", "m": "m", "min": "m", "h": "h", "hour": "h", "d": "d", "day": "d"}
_NUMBER_WORDS = {"a": "1", "an": "1", "one": "1", "two": "2", "three": "3", "five": "5", "ten": "10"}


def answer(text: str, results: Sequence[Result]) -> Call | str:
    """The next call, or the reply: rules over the newest user text, or a summary once tools have answered."""
    planned = _directed(text)
    if planned:
        return planned[len(results)] if len(results) < len(planned) else _told(results)
    if results:
        return _told(results)
    stripped = " ".join(text.split())
    if order := _standing_order(stripped):
        return order
    for pattern, act in _RULES:
        if match := pattern.search(stripped):
            return act(match)
    return f"You said: {stripped[:400]}" if stripped else HELP


def _directed(text: str) -> list[Call]:
    """`call NAME {json}` lines: for demonstrations and tests of any tool."""
    calls: list[Call] = []
    for match in re.finditer(r"(?m)^call (\w+) (\{.*\})\s*$", text):
        try:
            calls.append(Call(match.group(1), json.loads(match.group(2))))
        except json.JSONDecodeError:
            return []
    return calls


def _standing_order(text: str) -> Call | None:
    """`Every weekday at 8 send me a brief`, `remind me tomorrow at 9 to call Bob`: an order with a time."""
    text = _POLITE.sub("", text).strip(" .!。！")
    if not _ORDER.search(text):
        return None
    for what, when in _divisions(_ASKED.sub("", text)):
        try:
            phrases.parse(when, now=0, timezone="UTC")  # only whether it can be read: the tool knows the hour
        except TawnyError:
            continue
        what = _JOINT.sub("", what).strip(" ,，.")
        if not what or _DURATION_ALONE.fullmatch(when):
            return None
        is_brief = _BRIEF.search(what)
        action = (
            {"type": "generate_daily_brief"} if is_brief else {"type": "remind", "parameters": {"text": what}}
        )
        name = "Morning brief" if is_brief else what[:60]
        return Call(
            "automations", {"action": "add", "document": {"name": name, "schedule": when, "action": action}}
        )
    return None


def _divisions(text: str) -> Iterator[tuple[str, str]]:
    """What and when: the longest time at the beginning first, then the longest at the end."""
    edges = [
        n for n in range(1, len(text)) if text[n - 1] == " " or text[n] == " " or not text[n - 1].isascii()
    ]
    for edge in reversed(edges):
        yield text[edge:], _ASKED_AT_END.sub("", text[:edge].strip(" ,，"))
    for edge in edges:
        yield text[:edge], text[edge:].strip(" ,，")


def _duration(number: str, unit: str) -> str:
    count = _NUMBER_WORDS.get(number.lower(), number)
    short = next(value for key, value in sorted(_UNITS.items(), reverse=True) if unit.lower().startswith(key))
    return f"{count}{short}"


def _seconds(number: str, unit: str) -> int:
    return int(float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[_duration(number, unit)[-1]])


def _simulate(match: re.Match[str]) -> Call:
    number, unit = match.group("number"), match.group("unit")
    seconds = min(_seconds(number, unit), 3600) if number else 60
    title = (match.groupdict().get("title") or "test task").strip(" .\"'")
    steps = max(1, min(seconds, 60))
    params = {"steps": steps, "step_seconds": round(seconds / steps, 3)}
    return Call("tasks", {"action": "run", "kind": "simulate", "title": title, "params": params})


def _report(match: re.Match[str]) -> Call:
    days = int(match.group("days"))
    title = f"report over {days} days"
    params = {"steps": max(2, min(days, 60)), "step_seconds": 1}
    return Call("tasks", {"action": "run", "kind": "simulate", "title": title, "params": params})


def _remind(match: re.Match[str]) -> Call:
    due = _duration(match.group("number"), match.group("unit"))
    text = match.group("what").strip(" .") or "You asked me to remind you."
    arguments = {
        "action": "run",
        "kind": "remind",
        "title": f"reminder: {text}"[:80],
        "params": {"text": text},
    }
    return Call("tasks", {**arguments, "not_before": due})


def _lookup(match: re.Match[str]) -> str:
    named = (match.group("what") or "").strip(" .!?\"'").lower()
    named = re.sub(r"^(the|my|this|that|it|task)\b\s*", "", named)
    return re.sub(r"\b(task|job|please|now)$", "", named).strip()


def _command(action: str) -> Callable[[re.Match[str]], Call]:
    return lambda match: Call("tasks", {"action": action, "lookup": _lookup(match)})


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_POLITE = _pattern(r"^\s*(?:please|could you|can you|请)\s*")
_ASKED = _pattern(r"^(?:remind me|tell me|提醒我)\s*(?=\S)")
_ASKED_AT_END = _pattern(r"提醒我$")
_ORDER = _pattern(r"\b(?:remind|tell|send|give|brief) me\b|提醒我|给我|发我")
_JOINT = _pattern(
    r"^(?:(?:remind|tell|send|give) me |提醒我|给我|发我)?(?:to |that |about |a |an |the |my )*"
)
_BRIEF = _pattern(r"\bbrief(?:ing)?\b|早报|简报")
_DURATION_ALONE = _pattern(r"in .*")
_TIME = (
    r"(?P<number>\d+(?:\.\d+)?|an?|one|two|three|five|ten)[ -]?"
    r"(?P<unit>s(?:ec\w*)?|m(?:in\w*)?|h(?:ours?)?|d(?:ays?)?)\b"
)
_RULES: list[_Rule] = [
    (_pattern(rf"\bremind me in {_TIME}[, ]*(?:to |that |about )?(?P<what>.*)"), _remind),
    (_pattern(r"\bcancel\b(?P<what>.*)"), _command("cancel")),
    (_pattern(r"\b(?:stop|abort)\b(?P<what>(?: (?:it|that|the .*|my .*|task .*))?)$"), _command("cancel")),
    (_pattern(r"\bpause\b(?P<what>.*)"), _command("pause")),
    (_pattern(r"\b(?:resume|continue)\b(?P<what>.*)"), _command("resume")),
    (
        _pattern(
            r"how(?:'s| is| are)? .*\b(?:going|doing|coming|far)|\bprogress\b|\bis it (?:done|ready)|怎么样|进度"
        ),
        lambda _: Call("tasks", {"action": "list"}),
    ),
    (
        _pattern(r"\b(?:what|which|show|list)\b.*\btasks?\b"),
        lambda _: Call("tasks", {"action": "list"}),
    ),
    (_pattern(r"\breport\b.*?\b(?P<days>\d+) days"), _report),
    (
        _pattern(
            rf"\b(?:run|start|simulate|do|make)\b.*?\b(?:long|test|simulated|background)\b.*?(?:{_TIME}|$)"
        ),
        _simulate,
    ),
    (
        _pattern(r"\b(?:morning|daily) brief|\bbrief me\b|早报|简报"),
        lambda _: Call("tasks", {"action": "run", "kind": "generate_daily_brief", "title": "daily brief"}),
    ),
    (
        _pattern(
            r"\b(?:what do you remember|do you remember|search (?:your )?memory)\b(?: about| for)?\s*(?P<q>.*)"
        ),
        lambda match: Call("memory_search", {"query": match.group("q").strip(" ?.!")}),
    ),
    (
        _pattern(r"\b(?:remember|note) (?:that |down )?(?P<fact>.+)"),
        lambda match: Call("memory_save", {"text": match.group("fact").strip()}),
    ),
    (_pattern(r"^\s*(?:help|what can you do|你能做什么)\b.*"), lambda _: HELP),
    (_pattern(r"^\s*(?:hi|hello|hey|good (?:morning|evening)|你好)\b.*"), lambda _: "Hello! " + HELP),
]


def _told(results: Sequence[Result]) -> str:
    return "\n".join(_tell(result) for result in results)


def _tell(result: Result) -> str:
    content = result.content
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except json.JSONDecodeError:
            return str(result.content)
    if not isinstance(content, Mapping):
        return str(result.content)
    document: dict[str, Any] = dict(content)  # pyright: ignore[reportUnknownArgumentType]
    if "refused" in document or "error" in document:
        return f"That did not work: {document.get('refused') or document.get('error')}"
    if result.call.tool == "tasks":
        return _tell_tasks(str(result.call.arguments.get("action", "")), document)
    if result.call.tool == "automations" and document.get("next_run"):
        return f'"{document.get("name")}" is set up; it runs next at {document["next_run"]}.'
    if result.call.tool == "memory_save":
        return "Noted."
    if result.call.tool == "memory_search":
        items: list[dict[str, Any]] = document.get("items", [])
        return (
            "\n".join(f"- {str(item['text']).lstrip('- ')}" for item in items)
            or "I remember nothing about that."
        )
    return str(document.get("text") or json.dumps(document, ensure_ascii=False)[:2000])


def _tell_tasks(action: str, document: dict[str, Any]) -> str:
    if action == "list":
        items: list[dict[str, Any]] = document.get("items", [])
        return "\n".join(line(item) for item in items) or "Nothing is running, and nothing is waiting."
    name = document.get("title") or document.get("task_id")
    if action == "run":
        if document.get("already"):
            return f'"{name}" is already {document.get("status")}: {line(document)}'
        when = f", due in {document['not_before']}" if document.get("not_before") else ""
        return f'Started "{name}" in the background{when} ({document.get("task_id")}). I will tell you here.'
    status = str(document.get("status"))
    intent = {"cancel": "cancelling", "pause": "pausing"}.get(action)
    return f'"{name}" is {intent if intent and status == "running" else status}.'


def line(task: Mapping[str, Any]) -> str:
    """One task in one line: title, status, how far, how long still."""
    progress: dict[str, Any] = task.get("progress") or {}
    parts = [f'"{task.get("title")}" is {task.get("status")}']
    if progress.get("percentage") is not None:
        parts.append(f"{progress['percentage']} % complete")
    if task.get("left"):
        parts.append(f"about {task['left']} left")
    if progress.get("message"):
        parts.append(str(progress["message"]))
    return ", ".join(parts)
