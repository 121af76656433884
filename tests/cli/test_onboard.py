"""Onboarding: few questions, nothing overwritten, local models found, a real task at the end."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import servers
from tawny import config
from tawny.cli import onboard
from tawny.cli.localmodels import Candidate, LocalModel, find
from tawny.cli.main import main
from tawny.config import Config, Home
from tawny.errors import InvalidInput


def written(home: Path) -> dict[str, Any]:
    return tomllib.loads((home / "config.toml").read_text(encoding="utf-8"))


def test_onboarding_without_questions_ends_with_a_real_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "todo.ics").write_text("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n")
    argv = ["--home", str(tmp_path / "home"), "onboard", "--non-interactive", "--no-probe"]
    argv += ["--timezone", "Europe/Berlin", "--calendar", str(tmp_path / "todo.ics"), "--brief-at", "08:00"]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "Good Morning!" in said
    assert "Nothing scheduled." in said
    document = written(tmp_path / "home")
    assert document["owner"] == {"timezone": "Europe/Berlin"}
    assert document["sources"]["calendar"] == [{"url": f"file://{tmp_path}/todo.ics"}]
    assert main(["--home", str(tmp_path / "home"), "automations", "list", "--json"]) == 0
    (automation,) = json.loads(capsys.readouterr().out)["items"]
    assert automation["schedule"]["expression"] == "0 8 * * 1-5"


def test_running_it_again_overwrites_nothing(tmp_path: Path):
    home = Home(tmp_path)
    before = '# mine\n[model]\nname = "openai:mine"  # keep\n\n[[sources.mail]]\nurl = "maildir:///x"\n'
    home.config_file.write_text(before)
    argv = ["--home", str(tmp_path), "onboard", "--non-interactive", "--no-probe", "--skip-run"]
    assert main(argv) == 0
    assert home.config_file.read_text() == before
    assert main([*argv, "--mail", "imaps://me@mail.example.org"]) == 0
    assert main([*argv, "--mail", "imaps://me@mail.example.org"]) == 0
    text = home.config_file.read_text()
    assert "# mine" in text
    assert "# keep" in text
    assert [entry["url"] for entry in written(tmp_path)["sources"]["mail"]] == [
        "maildir:///x",
        "imaps://me@mail.example.org",
    ]
    assert written(tmp_path)["sources"]["mail"][1]["password"] == "env:MAIL_PASSWORD"
    assert config.load(home).model.name == "openai:mine"


def test_at_most_five_questions_are_asked_and_wrong_answers_asked_again():
    given = iter(["Mars/Base", "Europe/Berlin", "9", "1", "~/work.ics", "", "8 o'clock", "07:30"])
    asked: list[str] = []

    def read(words: str) -> str:
        asked.append(words)
        return next(given)

    found = [LocalModel("Ollama", "ollama:qwen3", "http://127.0.0.1:11434/v1")]
    answers = onboard.ask(onboard.Answers(), Config(), found, read)
    assert len(set(asked)) == 5
    assert (answers.timezone, answers.model, answers.brief_at) == ("Europe/Berlin", "ollama:qwen3", "07:30")
    assert answers.base_url == "http://127.0.0.1:11434/v1"


def test_what_an_option_or_the_configuration_answers_is_not_asked():
    asked: list[str] = []

    def read(words: str) -> str:
        asked.append(words)
        return ""

    current = config.parse('[[sources.calendar]]\nurl = "a.ics"\n[[sources.mail]]\nurl = "maildir:///x"\n')
    onboard.ask(onboard.Answers(timezone="UTC", model="demo", brief_at="08:00"), current, [], read)
    assert asked == []


@pytest.mark.parametrize(
    ("field", "value"), [("timezone", "Mars"), ("model", "gpt"), ("model", "7"), ("brief_at", "25:00")]
)
def test_answer_that_cannot_be_meant_is_refused_with_the_mend(field: str, value: str):
    with pytest.raises(InvalidInput, match="write it like"):
        onboard.check(onboard.Answers(**{field: value}))


def test_model_servers_on_this_machine_are_found_without_a_key():
    with servers.website() as ollama, servers.website() as studio, servers.website() as broken:
        ollama.pages["/api/tags"] = b'{"models": [{"name": "qwen3:8b"}, {"name": "llama3"}]}'
        studio.pages["/v1/models"] = b'{"object": "list", "data": [{"id": "mistral-small"}]}'
        broken.pages["/v1/models"] = b"<html>hello</html>"
        models = find(
            [
                Candidate("Ollama", ollama.url, "/api/tags"),
                Candidate("LM Studio", studio.url),
                Candidate("llama.cpp", broken.url),
                Candidate("vLLM", f"http://127.0.0.1:{servers.free_port()}"),
            ]
        )
    assert [model.name for model in models] == ["ollama:qwen3:8b", "ollama:llama3", "openai:mistral-small"]
    assert models[2].base_url == f"{studio.url}/v1"
    answers = onboard.Answers(model=models[2].name, base_url=models[2].base_url)
    assert config.parse(onboard.apply("", answers)).model.api_key == ""
