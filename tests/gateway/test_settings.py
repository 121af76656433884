"""The configuration over HTTP, and read again while running."""

import pytest

from tawny.gateway.settings import HIDDEN, hidden, hidden_text

from .conftest import House

TEXT = """# mine
[limits]
concurrency = 8 # as many as cores
max_running_per_owner = 8

[model]
name = "demo"
api_key = "sk-very-secret"

[[sources.mail]]
url = "imaps://me:hunter2@mail.example.org"
password = "env:MAIL_PASSWORD"

[secrets.hub]
value = "hub-itself"
hosts = ["api.hub.test"]
"""


def test_secrets_are_hidden_and_references_are_not() -> None:
    shown = hidden_text(TEXT)
    assert "sk-very-secret" not in shown
    assert "hunter2" not in shown
    assert "hub-itself" not in shown
    assert "api.hub.test" in shown
    assert "env:MAIL_PASSWORD" in shown
    assert "# mine" in shown
    values = {
        "api_key": ["a", "env:B", "age:C"],
        "url": "http://u:p@h/",
        "token": "x",
        "name": "y",
        "password": "",
    }
    assert hidden(values) == {
        "api_key": [HIDDEN, "env:B", "age:C"],
        "url": f"http://u:{HIDDEN}@h/",
        "token": HIDDEN,
        "name": "y",
        "password": "",
    }


async def test_keys_are_set_with_comments_kept_and_take_effect(house: House) -> None:
    file = house.door.home.config_file
    file.write_text(TEXT)
    change = await house.client.patch("/v1/config", json={"set": {"limits.concurrency": 4}})
    assert change.status_code == 200, change.text
    assert change.json()["restart"] is False
    assert change.json()["values"]["limits"]["concurrency"] == 4
    assert house.app.dispatcher.capacity.background == 4
    assert "concurrency = 4 # as many as cores" in file.read_text()
    seen = (await house.client.get("/v1/config")).json()
    assert "sk-very-secret" not in str(seen)
    assert "hub-itself" not in str(seen)
    assert "api.hub.test" in str(seen)
    other = await house.client.patch("/v1/config", json={"set": {"owner.timezone": "Europe/Berlin"}})
    assert other.json()["restart"] is True


@pytest.mark.parametrize(
    "change",
    [
        {"limits.concurrency": 0},
        {"limits.bogus": 1},
        {"nonsense": 1},
        {"limits.concurrency.deep": 1},
        {"model.api_key": HIDDEN},
        {"limits.concurrency": {"a": None}},
        {"sources.mail.url": "maildir:///x"},
        {"owner.timezone": "Mars/X"},
        {"exec.mode": "auto"},
        {"approvals.expire": "soon"},
        {"model.timeout": "soon"},
        {"model.fallbacks": [{"name": "demo", "timeout": "soon"}]},
        {"ledger.retention": "soon"},
        {"ledger.result_retention": "soon"},
        {"delivery.quiet_hours": "x"},
        {"delivery.digest": "soon"},
        {"delivery.breaks": "loud"},
    ],
)
async def test_wrong_changes_change_nothing(house: House, change: dict[str, object]) -> None:
    file = house.door.home.config_file
    file.write_text(TEXT)
    answer = await house.client.patch("/v1/config", json={"set": change})
    assert answer.status_code == 422, answer.text
    assert "class" not in answer.json()["error"]["message"], "the file's words, not the program's"
    assert file.read_text() == TEXT


@pytest.mark.parametrize("text", [b"[limits\n", b"# \xff\n"])
async def test_file_that_cannot_be_read_is_told_and_not_written_over(house: House, text: bytes) -> None:
    file = house.door.home.config_file
    file.write_bytes(text)
    answer = await house.client.patch("/v1/config", json={"set": {"limits.concurrency": 4}})
    assert answer.status_code == 422, answer.text
    assert str(file) in answer.json()["error"]["message"]
    assert answer.json()["error"]["hint"] in ("mend the TOML syntax there", "save it as UTF-8")
    assert file.read_bytes() == text


async def test_a_wrong_file_is_told_and_the_last_good_one_stays(house: House) -> None:
    file = house.door.home.config_file
    file.write_text("[limits]\nconcurrency = 5\n")
    assert (await house.client.post("/v1/wake", json={"topics": ["config"]})).status_code == 204
    await house.events("system.config_changed")
    assert house.app.dispatcher.capacity.background == 5
    file.write_text("[limits]\nconcurrency = none\n")
    await house.client.post("/v1/wake", json={"topics": ["config"]})
    await house.events("system.config_rejected")
    assert house.app.dispatcher.capacity.background == 5
    (problem,) = (await house.client.get("/v1/status")).json()["problems"]
    assert "config.toml" in problem["message"]
    file.write_text("[limits]\nconcurrency = 6\n")
    await house.client.post("/v1/wake", json={"topics": ["config"]})
    await house.events("system.config_changed", count=2)
    assert (await house.client.get("/v1/status")).json()["problems"] == []


async def test_schema_describes_it(house: House) -> None:
    schema = (await house.client.get("/v1/config/schema")).json()
    assert "limits" in str(schema)


async def test_only_admin_sees_it(house: House) -> None:
    _, secret = await house.door.token_with("read", "write", "approvals", "pairing")
    async with house.door.browser(authorization=f"Bearer {secret}") as program:
        assert (await program.get("/v1/config")).status_code == 403
        assert (await program.patch("/v1/config", json={"set": {}})).status_code == 403
