import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tawny.cli.main import main
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.messages import Outgoing
from tawny.ledger import channels, deliveries, outbox
from tawny.ledger.database import write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = Home(tmp_path / "home")
    home.prepare()
    home.config_file.write_text(
        '[[channels.ntfy]]\nname = "phone"\ntopic = "t"\nserver = "http://127.0.0.1:1"\n'
    )
    migrate(SqliteStore(home.database), SystemClock())
    return home.root


@pytest.fixture
def tawny(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, Any, str]:
        code = main(["--home", str(folder), *words, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err

    return run


def write(folder: Path, fn: Callable[[Any], Any]) -> Any:
    return write_now(SqliteStore(folder / "state.db"), SystemClock(), fn)


def test_the_list_shows_what_is_configured_and_how_it_stands(tawny: Run, folder: Path):
    code, document, _ = tawny("channels", "list")
    assert (code, [item["name"] for item in document["items"]]) == (0, ["phone"])
    write(folder, lambda tx: channels.opened(tx, "phone", "ntfy", disabled="the token is not valid"))
    write(
        folder,
        lambda tx: outbox.put(
            tx, task_id=None, transition="x", target="phone", message=Outgoing(key="", text="")
        ),
    )
    (item,) = tawny("channels", "list")[1]["items"]
    assert (item["disabled"], item["queued"]) == ("the token is not valid", 1)


def test_a_channels_queue_holds_what_names_it_its_kind_or_nobody(tawny: Run, folder: Path):
    def owe(tx: Any) -> None:
        for target in ("phone:t2", "ntfy", "default", "inbox"):
            message = Outgoing(key="", text="")
            outbox.put(tx, task_id=None, transition="x", target=target, message=message)

    write(folder, owe)
    assert [item["queued"] for item in tawny("channels", "list")[1]["items"]] == [3]
    write(folder, lambda tx: channels.opened(tx, "phone", "ntfy"))
    assert [item["queued"] for item in tawny("channels", "list")[1]["items"]] == [3]


def test_the_list_tells_the_last_contact_and_the_errors_since(tawny: Run, folder: Path):
    def item() -> Any:
        return tawny("channels", "list")[1]["items"][0]

    write(folder, lambda tx: channels.opened(tx, "phone", "ntfy"))
    assert (item()["last_sent_at"], item()["last_received_at"], item()["last_error_at"]) == (None, None, None)
    for _ in range(2):
        write(folder, lambda tx: channels.troubled(tx, "phone", "connection refused"))
    assert (item()["errors"], item()["last_error"]) == (2, "connection refused")
    assert item()["last_error_at"]
    assert item()["last_sent_at"] is None
    write(folder, lambda tx: channels.sent(tx, "phone"))
    assert (item()["errors"], item()["last_error"]) == (0, "connection refused")
    assert item()["last_sent_at"]
    assert item()["last_received_at"] is None
    write(folder, lambda tx: channels.troubled(tx, "phone", "again"))
    write(folder, lambda tx: channels.heard(tx, "phone"))
    assert item()["errors"] == 0
    assert item()["last_received_at"]


def test_a_code_lets_its_sender_in_once(tawny: Run, folder: Path):
    code = write(folder, lambda tx: channels.offer_code(tx, "phone", "666", "Eve", "666"))
    waiting = tawny("channels", "pair")[1]["items"]
    assert [(entry["sender"], entry["sender_name"]) for entry in waiting] == [("666", "Eve")]
    assert code not in json.dumps(waiting)
    assert tawny("channels", "pair", code)[:2] == (
        0,
        {"channel": "phone", "sender": "666", "sender_name": "Eve"},
    )
    status, _, said = tawny("channels", "pair", code)
    assert status == 1
    assert "no such pairing code" in said
    assert tawny("channels", "unpair", "phone", "666")[0] == 0
    assert tawny("channels", "unpair", "phone", "666")[0] == 1


def test_a_test_of_a_channel_shows_the_receipt(tawny: Run, folder: Path):
    status, document, _ = tawny("channels", "test", "file:hello.md")
    assert (status, document["status"]) == (0, "delivered")
    assert "test from Tawny" in (folder / "workspace" / "hello.md").read_text()
    assert document["receipt"]


@pytest.mark.parametrize(
    ("name", "says"), [("phone", "cannot be reached"), ("pigeon", "no channel 'pigeon'")]
)
def test_a_test_that_fails_says_why(tawny: Run, name: str, says: str):
    status, document, _ = tawny("channels", "test", name)
    assert (status, document["status"]) == (1, "failed")
    assert says in document["error"]


def test_the_queue_shows_what_has_not_arrived_and_resend_sends_it_again(tawny: Run, folder: Path):
    made = write(
        folder,
        lambda tx: outbox.put(
            tx, task_id=None, transition="x", target="phone", message=Outgoing(key="", text="hi")
        ),
    )
    assert [item["delivery_id"] for item in tawny("channels", "queue")[1]["items"]] == [made]
    assert tawny("channels", "resend", made)[0] == 1
    assert tawny("channels", "resend", "dlv_nothing")[0] == 1

    def doubt(tx: Any) -> None:
        deliveries.unknown(tx, outbox.get(tx, made), "no answer")

    write(folder, doubt)
    code, document, _ = tawny("channels", "resend", made)
    assert code == 0
    waiting = {item["delivery_id"]: item["status"] for item in tawny("channels", "queue")[1]["items"]}
    assert waiting == {made: "unknown", document["delivery_id"]: "pending"}


@pytest.mark.parametrize("words", [["channels"], ["channels", "list"], ["channels", "queue"]])
def test_without_json_there_is_a_table(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["--home", str(folder), *words]) == 0
    assert capsys.readouterr().out
