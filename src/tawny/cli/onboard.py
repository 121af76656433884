"""`tawny onboard`: at most five questions, nothing that is there is overwritten unasked, ends with a real task run."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from tawny import config as configuration
from tawny.cli.localmodels import CANDIDATES, LocalModel, find
from tawny.cli.output import emit
from tawny.config import Config, Home
from tawny.errors import ConfigError, InvalidInput
from tawny.files import write_text

_KEYS = {"openai": "env:OPENAI_API_KEY", "anthropic": "env:ANTHROPIC_API_KEY", "google": "env:GEMINI_API_KEY"}
_LIBRARIES = {"openai": "openai", "ollama": "openai", "anthropic": "anthropic", "google": "google.genai"}


class Answers(msgspec.Struct, kw_only=True):
    """What was answered; empty means: leave it as it is."""

    timezone: str = ""
    model: str = ""
    base_url: str = ""
    api_key: str = ""
    calendar: str = ""
    mail: str = ""
    brief_at: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Every question has an option, so that scripts can answer."""
    parser.add_argument(
        "--non-interactive", action="store_true", help="ask nothing; take the options and what is found"
    )
    parser.add_argument("--timezone", default="", help="such as Europe/Berlin")
    parser.add_argument(
        "--model", default="", help="demo, openai:NAME, anthropic:NAME, google:NAME, ollama:NAME"
    )
    parser.add_argument("--base-url", default="", help="for an OpenAI-compatible server")
    parser.add_argument("--api-key", default="", help="a reference such as env:OPENAI_API_KEY")
    parser.add_argument(
        "--calendar", default="", help="a file or address: .ics, https://…, caldav://user@host/path"
    )
    parser.add_argument("--mail", default="", help="imaps://user@host, maildir:///path or mbox:///path")
    parser.add_argument(
        "--brief-at", default="", metavar="HH:MM", help="a morning brief on weekdays at this time"
    )
    parser.add_argument(
        "--no-probe", action="store_true", help="do not look for model servers on this machine"
    )
    parser.add_argument("--skip-run", action="store_true", help="end without the task")


def run(args: argparse.Namespace, home: Home) -> int:
    """0 when the configuration stands and the task succeeded."""
    current = configuration.load(home)
    home.prepare()
    found = [] if args.no_probe or args.model else find(CANDIDATES)
    given = {name: getattr(args, name) for name in Answers.__struct_fields__}
    answers = Answers(**given)
    if not args.non_interactive:
        try:
            answers = ask(answers, current, found)
        except EOFError as error:
            raise InvalidInput("there is nobody to ask", hint="use --non-interactive with options") from error
    elif not answers.model and current.model.name == "demo" and found:
        answers.model, answers.base_url = found[0].name, found[0].base_url
    check(answers)
    text = configuration.text_of(home)
    changed = apply(text, answers)
    configuration.parse(changed, file=str(home.config_file))
    if changed != text:
        write_text(home.config_file, changed)
    if changed != text:
        said = [f"{home.config_file} is written"]
    elif home.config_file.exists():
        said = [f"{home.config_file} stays as it is"]
    else:
        said = ["the defaults suit: nothing had to be written"]
    said += [hint] if (hint := missing_library(answers.model)) else []
    if answers.brief_at:
        said.append(_standing_order(home, answers.brief_at))
    emit(
        {"home": str(home.root), "answers": msgspec.to_builtins(answers), "said": said},
        args,
        text="\n".join(said),
    )
    return 0 if args.skip_run else _first_task(home, quiet=args.json)


def ask(
    answers: Answers, current: Config, found: list[LocalModel], read: Callable[[str], str] = input
) -> Answers:
    """The questions, five at most; Enter takes what stands in brackets. What an option answered is not asked."""
    zone = configuration.owner_zone(current)
    if not answers.timezone:
        answers.timezone = _asked(read, "Your time zone", zone, _zone_problem)
    if not answers.model:
        for number, model in enumerate(found, start=1):
            print(f"  {number}: {model.shown}")
        usual = "1" if found and current.model.name == "demo" else current.model.name
        words = "Model (a number, demo, openai:NAME, anthropic:NAME, ollama:NAME)"
        chosen = _asked(read, words, usual, lambda said: _choice_problem(said, len(found)))
        if chosen.isdigit() and 1 <= int(chosen) <= len(found):
            answers.model, answers.base_url = found[int(chosen) - 1].name, found[int(chosen) - 1].base_url
        else:
            answers.model = "" if chosen == current.model.name else chosen
    if not answers.calendar and not current.sources.calendar:
        answers.calendar = _asked(read, "Calendar (.ics file, https://…, caldav://…)", "", _no_problem)
    if not answers.mail and not current.sources.mail:
        answers.mail = _asked(read, "Mail (imaps://you@host, maildir:///path)", "", _no_problem)
    if not answers.brief_at:
        answers.brief_at = _asked(read, "Morning brief on weekdays at (HH:MM)", "", _time_problem)
    return answers


def _asked(read: Callable[[str], str], words: str, usual: str, problem: Callable[[str], str]) -> str:
    while True:
        said = read(f"{words} [{usual or 'none'}]: ").strip() or usual
        if not said or not (why := problem(said)):
            return said
        print(f"  {why}")


def _no_problem(_: str) -> str:
    return ""


def _zone_problem(name: str) -> str:
    return "" if name in available_timezones() else f"{name!r} is no time zone; write it like Europe/Berlin"


def _model_problem(name: str) -> str:
    provider, colon, rest = name.partition(":")
    if name == "demo" or (provider in (*_KEYS, "ollama") and colon and rest):
        return ""
    return f"{name!r} is no model; write it like openai:gpt-5, or demo"


def _choice_problem(said: str, offered: int) -> str:
    return "" if said.isdigit() and 1 <= int(said) <= offered else _model_problem(said)


def _time_problem(text: str) -> str:
    hour, _, minute = text.partition(":")
    if hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60:
        return ""
    return f"{text!r} is no time of day; write it like 08:00"


def check(answers: Answers) -> None:
    """Refuse what cannot be meant.

    Raises:
        InvalidInput: names the answer and the mend.
    """
    for value, problem in (
        (answers.timezone, _zone_problem),
        (answers.model, _model_problem),
        (answers.brief_at, _time_problem),
    ):
        if value and (why := problem(value)):
            raise InvalidInput(why)


def apply(text: str, answers: Answers) -> str:
    """The configuration with the answers in it; comments and everything else stay.

    Raises:
        ConfigError: the text is no TOML.
    """
    try:
        document: Any = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"config.toml: {error}", hint="mend the TOML syntax there") from error
    if answers.timezone:
        _table(document, "owner")["timezone"] = answers.timezone
    if answers.model:
        model = _table(document, "model")
        model["name"] = answers.model
        if answers.base_url:
            model["base_url"] = answers.base_url
        key = answers.api_key or ("" if answers.base_url else _KEYS.get(answers.model.partition(":")[0], ""))
        if key:
            model["api_key"] = key
    for noun, url in (("calendar", answers.calendar), ("mail", answers.mail)):
        if url:
            _add_source(document, noun, url)
    return tomlkit.dumps(document)


def _table(document: Any, name: str) -> Any:
    if name not in document:
        document[name] = tomlkit.table()
    return document[name]


def _add_source(document: Any, noun: str, url: str) -> None:
    """Add a source unless it is there. A password goes where secrets belong, never into the file."""
    sources = _table(document, "sources")
    if noun not in sources:
        sources[noun] = tomlkit.aot()
    if any(entry.get("url") == _address(url) for entry in sources[noun]):
        return
    entry = tomlkit.table()
    entry["url"] = _address(url)
    if "@" in url.partition("://")[2].partition("/")[0]:
        entry["password"] = f"env:{noun.upper()}_PASSWORD"
    sources[noun].append(entry)


def _address(given: str) -> str:
    """A bare path as an address."""
    return given if "://" in given else Path(given).expanduser().absolute().as_uri()


def missing_library(model: str) -> str:
    """What to install for a model, empty where nothing is missing."""
    from importlib.util import find_spec  # noqa: PLC0415

    provider = model.partition(":")[0]
    library = _LIBRARIES.get(provider)
    try:
        there = library is None or (find_spec(library) is not None and find_spec("pydantic_ai") is not None)
    except ModuleNotFoundError:
        there = False
    extra = "openai" if provider == "ollama" else provider
    return "" if there else f"{model} needs a library: pip install 'tawny[{extra}]'"


def _standing_order(home: Home, time: str) -> str:
    """The morning brief as an automation, once; written to the workspace and added."""
    hour, _, minute = time.partition(":")
    document = {
        "name": "Morning brief",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": f"{int(minute)} {int(hour)} * * 1-5"},
        "action": {"type": "generate_daily_brief", "parameters": {"format": "markdown"}},
        "delivery": {"channels": ["inbox"]},
        "policy": {"notify": "done_only"},
    }
    file = home.workspace / "morning-brief.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    code = _command(home, "automations", "add", "--file", str(file), quiet=True)
    return (
        f"The morning brief comes on weekdays at {time}"
        if code == 0
        else f"add it with: tawny automations add --file {file}"
    )


def _first_task(home: Home, *, quiet: bool) -> int:
    """The brief for today, now: the whole road, with what is configured."""
    if not quiet:
        print("\nYour first task: today in brief.\n")
    brief = ("--kind", "generate_daily_brief", "--params", '{"format": "text"}')
    code = _command(home, "tasks", "run", *brief, "--wait", quiet=quiet)
    if code == 0 and not quiet:
        print("\nIt works. Next: tawny gateway run")
    return code


def _command(home: Home, *words: str, quiet: bool) -> int:
    """Another command of ours in this process, its words kept back where `quiet`."""
    import contextlib  # noqa: PLC0415
    import io  # noqa: PLC0415

    from tawny.cli.main import main  # noqa: PLC0415 - main imports us

    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        return main(["--home", str(home.root), *words])
