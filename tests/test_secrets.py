"""Secrets stand by reference, go to their own hosts alone, and are seen nowhere else."""

import base64
import html
import json
import logging
import re
import subprocess
import sys
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tawny import log
from tawny.app import open_app
from tawny.cli.main import main
from tawny.config import Config, Network, Secret, parse
from tawny.domain.approvals import Question
from tawny.domain.tasks import Effect, Origin, Status, Submission
from tawny.engine.kinds import Kind
from tawny.errors import ConfigError, PermanentError, Refused, TemporaryError
from tawny.ledger import approvals, events
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get
from tawny.log import REDACTED, Log, Redactor, redact
from tawny.secrets import Strongbox, fill_secrets, learn_secrets, resolve_secret


@pytest.fixture(autouse=True)
def forgetful():
    redact.forget()
    yield
    redact.forget()


# ---- references


def test_each_kind_of_reference(home, monkeypatch):
    monkeypatch.setenv("A_KEY", "from-the-environment")
    (home.root / "kept").write_text("from-a-file\n")
    assert resolve_secret("env:A_KEY", home) == "from-the-environment"
    assert resolve_secret("file:kept", home) == "from-a-file"
    assert redact("x from-a-file y from-the-environment") == f"x {REDACTED} y {REDACTED}"


@pytest.mark.parametrize("reference", ["env:MISSING_KEY", "file:missing", "age:missing", "keyring:missing"])
def test_a_missing_secret_is_named_with_its_mend(home, reference, monkeypatch):
    monkeypatch.delenv("TAWNY_PASSPHRASE", raising=False)
    with pytest.raises(ConfigError) as caught:
        resolve_secret(reference, home)
    assert "missing" in caught.value.message.lower() or "keyring" in caught.value.message
    assert caught.value.hint


@pytest.fixture
def keyrings(tmp_path, monkeypatch):
    """The real library, with a file for a keyring; another one can be set for the rest of the test."""
    keyring = pytest.importorskip("keyring")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    before = keyring.get_keyring()
    keyring.core.init_backend()
    yield keyring
    keyring.set_keyring(before)


def test_a_secret_comes_out_of_the_keyring_as_the_page_says_it_is_put_in(home, keyrings):
    command = [sys.executable, "-m", "keyring", "set", "tawny", "MAIL"]
    subprocess.run(command, input="from-the-keyring", text=True, check=True, capture_output=True)
    assert resolve_secret("keyring:MAIL", home) == "from-the-keyring"
    assert redact("x from-the-keyring") == f"x {REDACTED}"
    vault = Config(secrets={"hub": Secret("keyring:MAIL", ("api.hub.example",))})
    text = "Bearer {{secret:hub}}"
    filled = fill_secrets(text, url="https://api.hub.example/", home=home, config=vault)
    assert filled == "Bearer from-the-keyring"
    with pytest.raises(Refused, match="does not belong"):
        fill_secrets(text, url="https://api.hub.example.evil.test/", home=home, config=vault)
    with pytest.raises(ConfigError, match="the keyring has no OTHER") as caught:
        resolve_secret("keyring:OTHER", home)
    assert caught.value.hint == "keyring set tawny OTHER"


def test_a_keyring_that_fails_is_an_error_with_a_mend(home, keyrings):
    """As on every machine without a desktop: the library is there, and no keyring."""
    from keyring.backends.fail import Keyring

    keyrings.set_keyring(Keyring())
    with pytest.raises(ConfigError, match="keyring:MAIL: NoKeyringError") as caught:
        resolve_secret("keyring:MAIL", home)
    assert "age:" in (caught.value.hint or "")


def test_the_strongbox_opens_with_its_passphrase_alone(home, monkeypatch):
    pytest.importorskip("pyrage")
    monkeypatch.setenv("TAWNY_PASSPHRASE", "correct horse")
    Strongbox(home).write({"MAIL": "mail-password-1"})
    sealed = home.root / "secrets.age"
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert b"mail-password-1" not in sealed.read_bytes()
    assert resolve_secret("age:MAIL", home) == "mail-password-1"
    Strongbox(home).write({"MAIL": "mail-password-2"})
    monkeypatch.setenv("TAWNY_PASSPHRASE", "wrong")
    with pytest.raises(ConfigError, match="does not open"):
        resolve_secret("age:MAIL", home)
    monkeypatch.delenv("TAWNY_PASSPHRASE")
    (home.root / "pass").write_text("correct horse\n")
    monkeypatch.setenv("TAWNY_PASSPHRASE_FILE", str(home.root / "pass"))
    assert resolve_secret("age:MAIL", home) == "mail-password-2"


def test_secrets_are_put_into_the_strongbox_from_the_command_line(home, monkeypatch, capsys):
    pytest.importorskip("pyrage")
    monkeypatch.setenv("TAWNY_PASSPHRASE", "correct horse")
    command = [sys.executable, "-m", "tawny", "--home", str(home.root), "secrets", "set", "MAIL"]
    subprocess.run(command, input="hunter2-hunter2\n", text=True, check=True, capture_output=True)
    assert main(["--home", str(home.root), "secrets", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == [{"name": "MAIL", "reference": "age:MAIL"}]
    assert resolve_secret("age:MAIL", home) == "hunter2-hunter2"
    assert main(["--home", str(home.root), "secrets", "remove", "MAIL"]) == 0
    assert main(["--home", str(home.root), "secrets", "remove", "MAIL"]) == 1


# ---- to their own hosts


VAULT = Config(secrets={"hub": Secret("env:HUB_KEY", ("api.hub.example", "127.0.0.1:8080"))})


@pytest.mark.parametrize(
    "url", ["https://api.hub.example/x", "https://API.hub.example:443/", "http://127.0.0.1:8080/"]
)
def test_a_secret_is_filled_in_for_its_own_hosts(home, url, monkeypatch):
    monkeypatch.setenv("HUB_KEY", "hub-secret")
    filled = fill_secrets("Bearer {{secret:hub}}", url=url, home=home, config=VAULT)
    assert filled == "Bearer hub-secret"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://api.hub.example.evil.example/",
        "https://api.hub.example@evil.example/",
        "https://evil.example/?api.hub.example",
        "https://api.hub.example:8443/",
        "http://api.hub.example/",
        "http://127.0.0.1:9090/",
        "http://127.0.0.1/",
        "https://",
        "https://[::1/",
        "not a url",
    ],
)
def test_a_secret_goes_nowhere_else(home, url, monkeypatch):
    monkeypatch.setenv("HUB_KEY", "hub-secret")
    with pytest.raises(Refused):
        fill_secrets("{{secret:hub}}", url=url, home=home, config=VAULT)


def test_an_unknown_secret_is_an_error_and_other_text_stays(home):
    with pytest.raises(ConfigError):
        fill_secrets("{{secret:other}}", url="https://a.org", home=home, config=VAULT)
    assert (
        fill_secrets("env:HUB_KEY {{x}}", url="https://a.org", home=home, config=VAULT) == "env:HUB_KEY {{x}}"
    )


def test_secrets_have_a_table_of_their_own_in_the_configuration():
    config = parse('[secrets.hub]\nvalue = "env:HUB_KEY"\nhosts = ["api.hub.example"]\n')
    assert config.secrets["hub"].hosts == ("api.hub.example",)


# ---- seen nowhere else


SECRET = 'pä"ss/word+42%&'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"me@example.org:{SECRET}".encode()).decode(),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        json.dumps(SECRET).replace("/", "\\/"),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        re.sub("%..", lambda match: match.group().lower(), quote(SECRET, safe="")),
        f"https://u:{quote(SECRET, safe='')}@h/",
    ],
)
def test_a_secret_is_found_however_it_is_written(written):
    redactor = Redactor()
    redactor.learn(SECRET)
    assert REDACTED in redactor(f"before {written} after")
    assert redactor("nothing here") == "nothing here"


def test_a_longer_secret_leaves_no_tail_of_itself():
    redactor = Redactor()
    redactor.learn("abcdefgh")
    redactor.learn("abcdefghijkl")
    assert redactor("abcdefghijkl") == REDACTED


def test_a_secret_too_short_to_be_one_does_not_tear_holes():
    redactor = Redactor()
    redactor.learn("a")
    redactor.learn("")
    assert redactor("a banana") == "a banana"


WORDS = st.text(st.sampled_from('aB3+/=" \n%ü\0\ud83d') | st.characters(), min_size=6, max_size=24)


@settings(deadline=None)  # the machine may be loaded
@given(secrets=st.lists(WORDS, min_size=1, max_size=40), data=st.data())
def test_many_secrets_in_one_pass_are_found_as_each_by_itself(secrets, data):
    plain, compiled = Redactor(), Redactor()
    compiled.compile()
    for secret in secrets:
        plain.learn(secret)
        compiled.learn(secret)
    inside = data.draw(st.sampled_from(secrets))
    around = data.draw(st.text(max_size=40))
    values = {
        "a": around,
        "b": f"{around}{inside}{around}",
        "c": 7,
        "d": json.dumps({"k": inside}),
        "e": None,
    }
    by_one = {name: plain(value) if type(value) is str else value for name, value in values.items()}
    assert plain.values(values) == compiled.values(values) == by_one
    if len(inside.strip()) >= 6:
        assert inside.strip() not in by_one["b"]
    assert {name: compiled(value) for name, value in values.items() if type(value) is str} == {
        name: value for name, value in by_one.items() if type(value) is str
    }


def test_what_lies_across_two_values_is_no_secret():
    redactor = Redactor()
    redactor.learn("abc\0defg")
    values = {"one": "xx abc", "two": "defg xx"}
    assert redactor.values(values) == values


def test_what_the_configuration_names_is_known_before_anything_runs(home, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", "canary-in-env")
    (home.root / "canary").write_text("canary-in-file")
    home.token_file.write_text("canary-token")
    config = parse(
        '[model]\nname = "openai:x"\napi_key = "env:CANARY_KEY"\n'
        '[[channels.telegram]]\ntoken = "file:canary"\n[[sources.mail]]\nurl = "imaps://x"\npassword = "env:NOT_SET"\n'
    )
    learn_secrets(home, config)
    text = redact("canary-in-env canary-in-file canary-token")
    assert text == f"{REDACTED} {REDACTED} {REDACTED}"


CANARIES = [f"canary-{number}-{'kQ7z' * 5}" for number in range(6)]


class Nothing(msgspec.Struct):
    how: str = ""
    number: int = 0


async def _suffer(context, params):
    """Meets every way of failing, with the secret in its mouth."""
    secret = CANARIES[params.number]
    context.log(f"about to use {secret}")
    await context.progress(1, 2, message=f"with {secret}")
    await context.step(
        "read", _giving({"header": f"Bearer {secret}", secret: [secret]}), input={"key": secret}
    )
    await context.artifact("note.txt", f"kept {secret}")
    match params.how:
        case "temporary":
            raise TemporaryError(f"the other side said {secret}", hint=secret)
        case "permanent":
            raise PermanentError(f"no: {secret}")
        case "bug":
            raise ValueError(f"a bug near {secret}")
        case "group":

            async def fail():
                raise RuntimeError(secret)

            import asyncio

            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        case "step":
            await context.step("bad", _raising(f"step {secret}"), effect=Effect.AT_MOST_ONCE)
        case "ask":
            question = Question(tool="t", operation="o", arguments={"k": secret}, level=4, reason=secret)
            await context.ask("ask", question)
        case "wait":
            await context.wait_event("e", secret, filter=f"x == '{secret}'", timeout=1_000_000)
        case _:
            pass
    return {"text": f"done with {secret}", "more": [secret]}


def _giving(value):
    async def give():
        return value

    return give


def _raising(text):
    async def fail():
        raise PermanentError(text)

    return fail


async def test_canaries_are_seen_nowhere_over_every_way_to_fail(home, clock, monkeypatch, capsys):
    for number, canary in enumerate(CANARIES):
        monkeypatch.setenv(f"CANARY_{number}", canary)
    config = Config(
        network=Network(),
        secrets={f"s{number}": Secret(f"env:CANARY_{number}") for number in range(len(CANARIES))},
    )
    log.to_file(home.logs)
    seen = []
    try:
        suffer = Kind(name="suffer", params=Nothing, run=_suffer)
        async with open_app(home, config, clock=clock, kinds={"suffer": suffer}) as app:
            kinds = ["fine", "temporary", "permanent", "bug", "group", "step", "ask", "wait"]
            ids = []
            for how in kinds:
                for canary in CANARIES:
                    submission = Submission(
                        kind="suffer",
                        title=f"with {canary}",
                        params={"how": how, "number": CANARIES.index(canary)},
                        origin=Origin(detail={"words": [canary]}),
                    )
                    task = await app.ledger.write(lambda tx, submission=submission: submit(tx, submission))
                    ids.append(task.task_id)
                    with pytest.raises(AssertionError, match="canary"):
                        await app.ledger.write(_failing_write(canary))
            await _settle(app, clock, ids)
            Log("test").error("it broke", exc=ValueError(CANARIES[0]), header=CANARIES[1])
            seen += [
                event.document()
                for event in await app.ledger.read(lambda tx: events.after(tx, 0, limit=5000))
            ]
            found, _ = await app.ledger.read(lambda tx: approvals.page(tx, limit=100))
            seen += [one.document() for one in found]
    finally:
        for handler in logging.getLogger("tawny").handlers:
            handler.close()
        logging.getLogger("tawny").handlers[:] = []
    for command in (
        "tasks list --json",
        "audit export",
        "audit verify",
        "approvals list --status all --json",
    ):
        assert main(["--home", str(home.root), *command.split()]) == 0
        seen.append("".join(capsys.readouterr()))
    written = json.dumps(seen, default=str)
    assert {one.task_id for one in found} == set(ids[6 * len(CANARIES) : 7 * len(CANARIES)])
    for canary in CANARIES:
        assert canary not in written, written[max(0, written.find(canary) - 600) : written.find(canary) + 100]
        for file in home.root.rglob("*"):
            # What the work itself was told to put into a file of its own is its result, not our record.
            if file.is_file() and home.artifacts not in file.parents:
                assert canary.encode() not in file.read_bytes(), file
    assert REDACTED in written


def _failing_write(canary):
    def write(tx):
        raise AssertionError(f"canary {canary}")

    return write


async def _settle(app, clock, ids):
    import asyncio

    changed = app.ledger.bell.subscribe("events")
    async with asyncio.timeout(30):
        while True:
            states = [await app.ledger.read(lambda tx, id=id: get(tx, id)) for id in ids]
            if all(task.status.is_terminal or task.status is Status.WAITING for task in states):
                return
            going = [task for task in states if not task.status.is_terminal and task.status != Status.WAITING]
            if all(task.next_attempt_at for task in going):
                await clock.advance("1h")
                continue
            await changed.wait()
            changed.clear()
