"""The files that the platform's service managers read, and what is asked of them; both pass one suite."""

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tawny.errors import PermanentError
from tawny.service.launchd import Launchd
from tawny.service.manager import Service
from tawny.service.systemd import Systemd

SERVICE = Service(
    ("/opt/python", "-m", "tawny", "--home", "/home/me/my tawny", "gateway", "run"), Path("/home/me/my tawny")
)


class Shell:
    """Writes down what is run, and answers as told."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails: set[str] = set()

    def __call__(self, argv: list[str]) -> tuple[int, str]:
        self.ran.append(" ".join(argv))
        return (1, "no such unit") if any(word in self.fails for word in argv) else (0, "fine")


@pytest.fixture
def shell() -> Shell:
    return Shell()


@pytest.fixture(params=["systemd", "launchd"])
def manager(request, tmp_path, shell):
    if request.param == "systemd":
        return Systemd(shell, folder=tmp_path / "units", user="me")
    return Launchd(shell, folder=tmp_path / "agents", domain="gui/501")


def test_install_writes_the_file_and_starts_it(manager, shell):
    manager.install(SERVICE)

    assert manager.file(SERVICE).read_text() == manager.text(SERVICE)
    assert any("enable --now" in line or "bootstrap" in line for line in shell.ran)


def test_installing_twice_changes_nothing(manager):
    manager.install(SERVICE)
    before = manager.file(SERVICE).read_text()
    manager.install(SERVICE)

    assert manager.file(SERVICE).read_text() == before


def test_uninstall_leaves_no_file_and_may_be_repeated(manager):
    manager.install(SERVICE)
    manager.uninstall(SERVICE)

    assert not manager.file(SERVICE).exists()
    assert manager.uninstall(SERVICE) == ["there was no service"]


def test_a_refusing_manager_is_an_error_that_says_what_it_printed(manager, shell):
    shell.fails = {"enable", "bootstrap"}

    with pytest.raises(PermanentError, match="no such unit"):
        manager.install(SERVICE)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "status"])
def test_orders_reach_the_manager(manager, shell, verb):
    manager.order(verb, SERVICE)

    assert len(shell.ran) == 1


def test_the_unit_keeps_commands_alive_and_quotes_its_paths(tmp_path, shell):
    text = Systemd(shell, folder=tmp_path, user="me").text(SERVICE)

    assert 'ExecStart=/opt/python -m tawny --home "/home/me/my tawny" gateway run' in text
    assert {"KillMode=process", "Delegate=yes", "Restart=always", "UMask=0077"} <= set(text.splitlines())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path, shell):
    home = tmp_path / "my tawny 100%"
    home.mkdir()
    service = Service((sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run"), home)
    unit = tmp_path / "tawny.service"
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}

    def verify(text: str) -> str:
        unit.write_text(text)
        command = ["systemd-analyze", "verify", "--user", "--recursive-errors=no", str(unit)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=60, check=False
        )
        return done.stdout + done.stderr

    text = Systemd(shell, folder=tmp_path, user="me").text(service)
    assert "Restrat" in verify(text.replace("Restart=", "Restrat=")), "it looks at the unit"
    assert "tawny.service" not in verify(text)


def test_the_agent_is_a_property_list_that_keeps_commands_alive(tmp_path, shell):
    document = plistlib.loads(Launchd(shell, folder=tmp_path, domain="gui/501").text(SERVICE).encode())

    assert document["ProgramArguments"] == list(SERVICE.argv)
    assert document["AbandonProcessGroup"] is True
    assert document["RunAtLoad"] is True
    # What ends in order (SIGTERM, exit code 0) was stopped by somebody; all else is started again.
    assert document["KeepAlive"] == {"SuccessfulExit": False}
    kinds = {  # launchd.plist(5)
        "Label": str, "ProgramArguments": list, "WorkingDirectory": str, "RunAtLoad": bool, "KeepAlive": dict,
        "ThrottleInterval": int, "AbandonProcessGroup": bool, "Umask": int, "StandardErrorPath": str,
    }  # fmt: skip
    assert {key: type(value) for key, value in document.items()} == kinds


def test_no_lingering_is_said_with_its_mend(tmp_path, shell):
    shell.fails = {"enable-linger"}

    done = Systemd(shell, folder=tmp_path, user="me").install(SERVICE)

    assert "sudo loginctl enable-linger me" in done[-1]
