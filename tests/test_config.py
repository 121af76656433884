"""The configuration: each mistake is one line that names file, line, key and mend; nothing wrong is written."""

import re
from pathlib import Path

import pytest

from tawny.cli.main import main
from tawny.config import Home

MISTAKES = [
    ("[limits]\nconcurency = 3\n", 2, "unknown key 'limits.concurency'", "did you mean 'concurrency'?"),
    ("[limts]\nconcurrency = 3\n", 1, "unknown key 'limts'", "did you mean 'limits'?"),
    ("[chat]\nyeild = '5s'\n", 2, "unknown key 'chat.yeild'", "did you mean 'yield'?"),
    (
        "[[sources.mail]]\nurl = 'a'\n[[sources.mail]]\nname = 'b'\n",
        3,
        "[sources.mail] has no 'url'",
        "add url = …",
    ),
    ("[limits]\n\nconcurrency = 'many'\n", 3, "'limits.concurrency': Expected `int`", "correct the value"),
    ("[gateway]\nport = 70000\n", 2, "'gateway.port': Expected `int` <= 65535", "correct the value"),
    (
        "[owner]\nname = 'Ann'\ntimezone = 'Mars/X'\n",
        3,
        "'owner.timezone': 'Mars/X' is no zone",
        "write it like Europe/Berlin",
    ),
    (
        "[owner]\ntimezone = 'Europe'\n",
        2,
        "'owner.timezone': 'Europe' is no zone",
        "write it like Europe/Berlin",
    ),
    (
        "[exec]\nmode = 'auto'\n",
        2,
        "'exec.mode': Invalid enum value 'auto'",
        "one of deny, allowlist, ask, full",
    ),
    ("[chat]\nscope = 'all'\n", 2, "'chat.scope': Invalid enum value 'all'", "one of main, per-peer"),
    ("[chat]\nqueue = 'x'\n", 2, "'chat.queue': Invalid enum value 'x'", "one of steer, followup, collect"),
    (
        "[limits]\nper_class = {lwo = 1}\n",
        2,
        "a key of 'limits.per_class': Invalid enum value 'lwo'",
        "one of interactive,",
    ),
    ("[chat]\ndrop = 'x'\n", 2, "'chat.drop': Invalid enum value 'x'", "one of old, new, summarize"),
    (
        "[delivery]\nbreaks = 'loud'\n",
        2,
        "'delivery.breaks': Invalid enum value 'loud'",
        "one of low, normal, high",
    ),
    (
        "[delivery]\nquiet_hours = '22:00-25:00'\n",
        2,
        "'delivery.quiet_hours': '22:00-25:00' is no span of the day",
        "write it like 22:00-07:00",
    ),
    (
        "[[agents]]\nname = 'a'\n[[agents]]\nname = 'b'\nworkspace = '/b'\n",
        5,
        "'agents.workspace': '/b' of the agent 'b' is no folder in workspace/",
        "correct the value",
    ),
    *(
        (
            f"[{table}]\n{key} = 'soon'\n",
            2,
            f"'{table}.{key}': 'soon' is no duration",
            "write it like 90s, 10m, 2h or 7d",
        )
        for table, key in (
            ("approvals", "expire"),
            ("model", "timeout"),
            ("ledger", "retention"),
            ("ledger", "result_retention"),
            ("delivery", "digest"),
            ("chat", "debounce"),
            ("chat", "yield"),
            ("chat", "progress"),
        )
    ),
    (
        "[[model.fallbacks]]\nname = 'demo'\ntimeout = 'soon'\n",
        3,
        "'model.fallbacks.timeout': 'soon' is no duration",
        "write it like 90s, 10m, 2h or 7d",
    ),
]


@pytest.mark.parametrize(("text", "line", "what", "mend"), MISTAKES)
@pytest.mark.parametrize("words", ["config check", "tasks list"])
def test_mistake_is_one_line_with_file_line_key_and_mend(
    home: Home, capsys: pytest.CaptureFixture[str], words: str, text: str, line: int, what: str, mend: str
):
    home.config_file.write_text(text)
    assert main(["--home", str(home.root), *words.split()]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tawny: {home.config_file}:{line}: {what}"), said
    assert f"({mend}" in said


@pytest.mark.parametrize(
    ("noun", "url"),
    [
        ("calendar", "file:///nowhere/a.ics"),
        ("todo", "todo.txt"),
        ("mail", "maildir:///nowhere/mail"),
        ("mail", "mbox:///nowhere/box"),
    ],
)
def test_check_names_the_source_whose_file_is_not_there(
    home: Home, capsys: pytest.CaptureFixture[str], noun: str, url: str
):
    (home.root / "there.ics").touch()
    home.config_file.write_text(
        f"[[sources.{noun}]]\nurl = 'there.ics'\n[[sources.{noun}]]\nname = 'b'\nurl = '{url}'\n"
        "[[sources.feed]]\nurl = 'https://example.org/feed'\n"
    )
    assert main(["--home", str(home.root), "config", "check"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    path = home.root / "todo.txt" if url == "todo.txt" else Path(url.partition("://")[2])
    start = f"tawny: {home.config_file}:5: 'sources.{noun}.url': there is no file {path}"
    assert said == f"{start} (create it, or correct the url)"
    assert main(["--home", str(home.root), "config", "get"]) == 0, "a start does not hang on a source"


def test_check_of_a_good_file_says_so(home: Home, capsys: pytest.CaptureFixture[str]):
    (home.root / "a.ics").touch()
    home.config_file.write_text(
        "[owner]\ntimezone = 'Europe/Berlin'\n[exec]\nmode = 'full'\n[approvals]\nexpire = '1h30m'\n"
        "[delivery]\nquiet_hours = '22:00-07:00'\ndigest = '30m'\nbreaks = 'normal'\n"
        "[[sources.calendar]]\nurl = 'a.ics'\n[[sources.mail]]\nurl = 'imaps://me@example.org'\n"
    )
    assert main(["--home", str(home.root), "config", "check"]) == 0
    assert capsys.readouterr().out == f"{home.config_file} is good\n"


GOOD = "# mine\n[[sources.calendar]]\nurl = 'a.ics'\n\n[gateway]\nport = 1234 # here\n"


@pytest.mark.parametrize(
    ("text", "key", "value", "what"),
    [
        (GOOD, "nonsense.x", "1", "unknown key 'nonsense'"),
        (GOOD, "gateway.port.deep", "1", "'port' is no table"),
        (GOOD, "sources.calendar.url", "x", "'calendar' is no table"),
        (GOOD, "exec.mode", "auto", "Invalid enum value 'auto'"),
        (GOOD, "owner.timezone", "Mars/X", "is no zone"),
        ("[gateway\n", "gateway.port", "1", "(mend the TOML syntax there)"),
        ("# \udcff\n", "gateway.port", "1", "it is no UTF-8"),
    ],
)
def test_set_that_cannot_be_is_one_line_and_changes_nothing(
    home: Home, capsys: pytest.CaptureFixture[str], text: str, key: str, value: str, what: str
):
    before = text.encode(errors="surrogateescape")
    home.config_file.write_bytes(before)
    assert main(["--home", str(home.root), "config", "set", key, value]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert what in said
    assert re.search(r"\(.+\)$", said), "the mend"
    assert home.config_file.read_bytes() == before


def test_set_keeps_the_comments(home: Home):
    home.config_file.write_text(GOOD)
    assert main(["--home", str(home.root), "config", "set", "gateway.port", "4321"]) == 0
    assert home.config_file.read_text() == GOOD.replace("1234", "4321")
    assert home.config_file.stat().st_mode & 0o777 == 0o600
