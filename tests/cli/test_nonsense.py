"""Whatever is typed: an exit code of the contract, one line that names the mend, and never a traceback."""

import argparse
import io
import re
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tawny.cli.arguments import Parser
from tawny.cli.main import COMMANDS, main

NONSENSE = [
    "", " ", "-1", "0", "1e9", "nan", "9" * 20, "9" * 400, "12345678901234567890d", "日本語", "\udcff", "a" * 6000,
    "{", "[1", "[]", "null", '"x', "../../etc/passwd", "/dev/null", "/tmp", "-", "%s", "*", "\x1b[31m", "a\nb",
    "0001-01-01", "9999-12-31T23:59:59Z", "http://[", "file:///nowhere", "* * * * *", "* * * * * * * * *", "seed",
]  # fmt: skip
ENDLESS = {"demo", "worker", "gateway run", "selftest crash", "selftest power", "tasks watch", "tasks follow"}
"""Right words for these begin something long: they get wrong ones only."""
SERVICE = {f"gateway {verb}" for verb in ("install", "uninstall", "start", "stop", "restart")}
NEEDED = {
    "tasks run": ["--kind", "simulate", "--params", '{"steps": 1, "step_seconds": 0}'],
    "automations add": ["--every", "1h", "--remind", "x"],
    "automations preview": ["--every", "1h"],
}


def leaves(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Every command there is, with what it takes."""
    actions = list(parser._actions)
    below = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, [action for action in actions if action.dest not in ("help", "home", "json")]
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, f"{words} {name}")


def every_command() -> dict[str, list[argparse.Action]]:
    found: dict[str, list[argparse.Action]] = {}
    for word in COMMANDS:
        parser = Parser(prog=f"tawny {word}")
        import_module(f"tawny.cli.{word}").configure(parser)
        found |= dict(leaves(parser, word))
    return found


ALL = every_command()


def some(key: str, n: int) -> list[str]:
    """A few of the values, others for each place, the same in every run."""
    start = zlib.crc32(key.encode())
    return [NONSENSE[(start + 7 * step) % len(NONSENSE)] for step in range(n)]


def attempts(words: str, actions: list[argparse.Action]) -> Iterator[list[str]]:
    yield ["--no-such-option"]
    yield ["x"] * 9
    if words in ENDLESS | SERVICE:
        for action in actions:
            if action.type is not None:
                yield [f"{action.option_strings[-1]}=nonsense"]
        return
    yield []
    places = [action for action in actions if not action.option_strings]
    wanted = [action for action in places if action.nargs in (None, "+")]
    if places:
        for value in some(words, 4):
            yield ["--", *([value] * max(1, len(wanted)))]
    for action in actions:
        if action.option_strings and action.dest != "follow":
            given = [] if action.option_strings[-1] in NEEDED.get(words, []) else NEEDED.get(words, [])
            head = [*(["seed"] * len(wanted)), *given, action.option_strings[-1]]
            if action.nargs == 0:
                yield head
            else:
                yield from (
                    [*head[:-1], f"{head[-1]}={value}"] for value in some(f"{words} {action.dest}", 2)
                )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which something has happened."""
    home = tmp_path_factory.mktemp("nonsense") / "home"
    for words in (
        ["tasks", "run", *NEEDED["tasks run"], "--title", "seed"],
        ["automations", "add", *NEEDED["automations add"], "--name", "seed"],
        ["memory", "save", "seed"],
    ):
        assert main(["--home", str(home), *words]) == 0
    return home


def test_every_command_is_tried():
    assert len(ALL) > 90
    assert ENDLESS | SERVICE | set(NEEDED) <= set(ALL)


@pytest.mark.parametrize("words", sorted(ALL))
def test_nonsense_is_refused_in_one_line(
    words: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for attempt in attempts(words, ALL[words]):
        monkeypatch.setattr("sys.stdin", io.StringIO())
        try:
            code = main(["--home", str(home), *words.split(), *attempt])
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        shown = (
            f"tawny {words} {[word[:60] for word in attempt]}: {code}\n{said.out[-300:]}\n{said.err[-600:]}"
        )
        assert code in (0, 1, 2), shown
        assert "Traceback" not in said.out + said.err, shown
        if code == 2:
            lines = said.err.strip("\n").split("\n")
            assert len(lines) == 1, shown
            assert lines[0].startswith("tawny: "), shown
            assert len(lines[0]) < 2_500, shown
        if code == 1:
            assert said.err.strip() or said.out.strip(), shown


@pytest.mark.parametrize(
    "text",
    [
        '{"meta": {"lastTouchedVersion": "2026.4.24"}, "agents": {"defaults": {}}, "channels": {}}',
        '{"version": 1, "jobs": {"5f0c": {"state": {"nextRunAtMs": 1}}}}',
        '{"_comment": "ours", "jobs": [{"id": "a", "command": "true", "schedule": "0 6 * * *"}]}',
    ],
)
def test_file_of_another_program_that_holds_no_jobs_is_told(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "given.json").write_text(text)
    assert main(["--home", str(tmp_path), "automations", "import", str(tmp_path / "given.json")]) == 2
    assert "given.json: there is no automation in it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("taks list", "tasks"),
        ("automation lst", "list"),
        ("tasks shwo", "show"),
        ("gateway instal", "install"),
    ],
)
def test_what_was_meant_is_named(typed: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["--home", str(tmp_path), *typed.split()]))
    assert ended.value.code == 2
    assert f"did you mean {meant!r}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("flow check nowhere.yaml", "nowhere.yaml: No such file or directory (name a YAML or JSON file"),
        ("backup show nowhere", "nowhere is no backup: No such file or directory (give a file that"),
        ("backup restore nowhere", "nowhere is no backup: No such file or directory (give a file that"),
        ("skills install nowhere", "no readable SKILL.md (No such file or directory) (name the folder"),
        (
            "gateway revoke nobody",
            "there is no device or token 'nobody' ('tawny gateway devices' lists them)",
        ),
        ("version --no-such", "unrecognized arguments: --no-such"),
    ],
)
def test_what_is_not_there_is_said_with_the_mend(
    words: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["--home", str(tmp_path / "home"), *words.split()])
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2)
    said = capsys.readouterr().err
    assert says in said
    assert "Errno" not in said


@pytest.mark.parametrize("words", ["help", "help tasks list", "tasks list --help"])
def test_help_is_a_word_too(words: str, capsys: pytest.CaptureFixture[str]):
    try:
        code = main(words.split())
    except SystemExit as ended:
        code = ended.code
    assert code in (0, None)
    assert capsys.readouterr().out.startswith("usage: tawny")


@pytest.mark.parametrize(
    "words",
    ["sessions list", "sessions budgets", "skills list", "gateway devices", "approvals grants", "audit list"],
)
def test_nothing_is_said_in_words(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--home", str(tmp_path / "home"), *words.split()]) == 0
    said = capsys.readouterr().out
    assert said.startswith(("No", "Nothing"))
    assert said.endswith(".\n")


def test_times_for_people_have_no_fraction(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for words in (["preview", "--every", "1h"], ["add", "--every", "1h", "--remind", "x"]):
        assert main(["--home", str(tmp_path / "home"), "automations", *words]) == 0
        shown = re.findall(r"\d\d:\d\d:\d\d(\S*)", capsys.readouterr().out)
        assert len(shown) == 5
        assert all(rest[0] in "Z+-" for rest in shown), shown
