"""A newcomer follows docs/how-to/telegram.md to the letter: from nothing to a bot that answers."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fake_http import started
from machine import Machine, until
from telegram_api import FakeTelegram

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "telegram.md").read_text()
ME = 5555


def block(language: str, number: int = 0) -> str:
    """A block of the page, as it is there."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", PAGE, re.MULTILINE | re.DOTALL)
    indent, text = found[number]
    return "\n".join(line.removeprefix(indent) for line in text.splitlines()) + "\n"


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with started(FakeTelegram()) as fake:
        yield fake


@pytest.mark.timeout(400)
async def test_the_page_leads_from_nothing_to_a_bot_that_answers(tmp_path: Path, telegram: FakeTelegram):
    machine = Machine(tmp_path)
    install, give_token = block("sh").split("\n", 1)
    assert install.strip() == 'pip install "tawny[telegram]"'
    await machine.run(give_token, typed=f"{telegram.token}\n")
    home = tmp_path / ".local" / "share" / "tawny"
    assert (home / "telegram.token").stat().st_mode & 0o777 == 0o600
    # The one thing that is not on the page: Telegram is ours.
    (home / "config.toml").write_text(block("toml") + f'api_base = "{telegram.http.url}"\n')

    async with machine.gateway():
        telegram.say("hello?", sender=ME, name="Ann")
        await until(lambda: telegram.arrived)
        code = re.findall(r"tawny channels pair ([A-Z0-9]{8})", telegram.arrived[0]["text"])[0]
        asked, let_in = block("sh", 1).splitlines()
        assert str(ME) in await machine.run(asked)
        assert "may speak now" in await machine.run(re.sub(r"pair [A-Z0-9]{8}", f"pair {code}", let_in))

        said = await machine.run("tawny channels test telegram")
        test = telegram.arrived[-1]
        assert test["chat"]["id"] == ME
        assert said.strip() == f"delivered to telegram: {test['message_id']}"

        telegram.say("what can you do?", sender=ME, name="Ann")
        before = len(telegram.arrived)
        await until(lambda: len(telegram.arrived) > before)
        assert telegram.arrived[-1]["chat"]["id"] == ME
        assert telegram.arrived[-1]["text"]

        await machine.run(block("sh", 2))
        await until(lambda: any("milk" in message["text"] for message in telegram.arrived))
        listed = await machine.run("tawny channels list")
        assert re.search(r"telegram +telegram +up ", listed), listed
