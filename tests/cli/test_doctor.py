"""The doctor: stable ids, one-line mends, and what `--fix` mends."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tawny import app
from tawny.cli import checks
from tawny.cli.checks import missing_capability
from tawny.cli.main import main
from tawny.config import Home
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.limits import find_holder

PARSERS = app.parsers_of


def examined(home: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    code = main(["--home", str(home), "doctor", "--json", *more])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_a_fresh_home_has_nothing_to_mend(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = examined(home.root, capsys)
    assert code == 0
    assert document["ok"] is True
    assert document["schemaVersion"] == 1
    assert document["checksRun"] == len(checks.CHECKS)
    assert {finding["severity"] for finding in document["findings"]} <= {"info"}
    [offers] = [finding["message"] for finding in document["findings"] if finding["id"] == "sandbox.offers"]
    holder = find_holder()
    assert offers.startswith(f"commands run in bubblewrap, bounded by {holder.kind}")
    assert all(controller in offers for controller in holder.controllers)


def test_what_others_can_read_is_found_and_mended(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.token_file.write_text("secret")
    home.token_file.chmod(0o644)
    code, document = examined(home.root, capsys)
    assert code == 1
    [finding] = [f for f in document["findings"] if f["id"] == "home.private"]
    assert finding["mend"] == f"chmod go-rwx {home.token_file}"
    _, document = examined(home.root, capsys, "--fix")
    assert [f["fixed"] for f in document["findings"] if f["id"] == "home.private"] == [True]
    assert home.token_file.stat().st_mode & 0o777 == 0o600
    _, document = examined(home.root, capsys)
    assert not [f for f in document["findings"] if f["id"] == "home.private"]


@pytest.mark.parametrize(
    ("text", "id", "words"),
    [
        ("[exec]\nmode = 'auto'\n", "config.valid", "mode"),
        ("[network]\nallow = ['http://x']\n", "config.valid", "no entry"),
        ("[sandbox]\nbackend = 'none'\n", "config.valid", "backend"),
        ("[search]\nprovider = 'altavista'\n", "config.valid", "'altavista' is none"),
        ("[search]\nprovider = 'brave'\n", "config.valid", "needs api_key"),
        ("[sandbox]\nparsers = 'unconfined'\n", "sandbox.parsers", "without a sandbox"),
        ("[exec]\nallow = ['nonesuch-program']\n", "exec.list", "no program"),
        ("[exec]\nallow = ['env']\n", "exec.list", "runs other programs"),
        ("[exec]\nallow = ['unzip']\n", "exec.list", "may write or run"),
        ("[exec]\nmode = 'full'\n", "exec.mode", "without a question"),
        (
            "[model]\nname = 'openai:x'\napi_key = 'env:NO_SUCH_KEY_HERE'\n",
            "config.secrets",
            "NO_SUCH_KEY_HERE",
        ),
        (
            "[model]\nname = 'openai:x'\napi_key = 'sk-itself'\n",
            "config.literal_secret",
            "holds model.api_key itself",
        ),
        ("[secrets.hub]\nvalue = 'sk-itself'\n", "config.literal_secret", "holds secrets.hub.value itself"),
    ],
)
def test_each_mistake_is_named_with_its_mend(
    home: Home, capsys: pytest.CaptureFixture[str], text: str, id: str, words: str
) -> None:
    home.config_file.write_text(text)
    home.config_file.chmod(0o600)
    code, document = examined(home.root, capsys)
    assert code == 1
    found = [f for f in document["findings"] if f["id"] == id]
    assert found, document
    assert words in found[0]["message"]
    assert "sk-itself" not in str(document)
    assert found[0]["mend"]


def test_a_missing_sandbox_is_an_error_with_its_mend(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.setattr(checks, "open_sandbox", lambda *_, **__: Bubblewrap(program="/nonexistent"))
    found = {finding.id: finding for finding in checks.examine(home, fix=False)}
    assert found["sandbox.available"].severity == "error"
    assert "apt install bubblewrap" in found["sandbox.available"].mend


def test_without_a_sandbox_what_strangers_wrote_is_not_read_and_doctor_says_so(
    monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    monkeypatch.setattr(app, "open_sandbox", lambda *_, **__: Bubblewrap(program="/nonexistent"))
    monkeypatch.setattr(app, "parsers_of", PARSERS)
    found = {finding.id: finding for finding in checks.examine(home, fix=False)}
    assert found["sandbox.parsers"].severity == "error"
    assert "cannot be read" in found["sandbox.parsers"].message
    assert "apt install bubblewrap" in found["sandbox.parsers"].mend
    assert 'parsers = "unconfined"' in found["sandbox.parsers"].mend


def test_a_damaged_database_is_an_error(home: Home) -> None:
    home.database.write_bytes(b"not a database at all" * 100)
    found = {finding.id: finding for finding in checks.examine(home, fix=False)}
    assert found["ledger.whole"].severity == "error"


def test_a_check_that_falls_over_is_told(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    def broken_check(_: object) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(checks, "CHECKS", (broken_check,))
    [finding] = checks.examine(home, fix=False)
    assert (finding.id, finding.severity) == ("broken.check", "error")


def test_the_text_says_mend_on_the_next_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.config_file.write_text("[exec]\nmode = 'full'\n")
    assert main(["--home", str(home.root), "doctor"]) == 1
    said = capsys.readouterr().out
    assert "! exec.mode: " in said
    assert "\n    tawny config set exec.mode ask" in said


@pytest.mark.parametrize(
    ("said", "id", "word"),
    [
        ("bwrap: Creating new namespace failed: Operation not permitted", "sandbox.network", "userns_clone"),
        ("bwrap: setting up uid map: Permission denied", "sandbox.network", "apparmor_restrict"),
        ("no network namespace: Operation not permitted", "sandbox.network", "max_user_namespaces"),
        ("bwrap: No permissions to create a new namespace", "sandbox.network", "userns_clone"),
        ("bwrap: prctl(PR_SET_SECCOMP): Invalid argument", "sandbox.seccomp", "CONFIG_SECCOMP_FILTER"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "sandbox.proc", "systempaths"),
        ("no network namespace: No space left on device", "sandbox.room", "max_net_namespaces"),
        ("[Errno 11] Resource temporarily unavailable", "sandbox.room", "TasksMax"),
        ("something else", "sandbox.works", "see the message"),
    ],
)
def test_each_missing_capability_has_its_own_mend(said: str, id: str, word: str) -> None:
    found, mend = missing_capability(said)
    assert found == id
    assert word in mend
    assert "\n" not in mend
