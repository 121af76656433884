"""What commands leave in the folders they may write into leads this process nowhere: no read, no write, no words."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.conftest import needs_bubblewrap

from tawny.agent.prompt import Workspace
from tawny.api import Attachment, attached
from tawny.channels.file import FileChannel
from tawny.clock import SystemClock
from tawny.config import AgentProfile, Config, Home
from tawny.domain import standing
from tawny.domain.messages import Outgoing
from tawny.errors import NotFound, PermanentError, Refused, TawnyError
from tawny.ledger import artifacts
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.commands import Commands
from tawny.sandbox.order import Order
from tawny.sandbox.workshop import Workshop
from tawny.tools.files import file_tools

SECRET = "c4nary-of-the-home"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    (made.root / "token").write_text(SECRET)
    (tmp_path / "authorized_keys").write_text("mine\n")
    return made


def test_an_artifact_is_written_through_no_link_of_its_tasks_commands(home: Home, tmp_path: Path) -> None:
    victim = tmp_path / "authorized_keys"
    folder = home.artifacts / "task_1"
    folder.mkdir()
    # The name of the next result is easily guessed, and so was that of the file beside it.
    for name in ("call-2.txt", ".call-2.txt.part"):
        (folder / name).symlink_to(victim)
    (folder / "deeper").symlink_to(tmp_path)
    assert artifacts.store(home.artifacts, "task_1", "call-2.txt", b"theirs") == "task_1/call-2.txt"
    assert (folder / "call-2.txt").read_bytes() == b"theirs"
    assert not (folder / "call-2.txt").is_symlink()
    with pytest.raises(Refused):
        artifacts.store(home.artifacts, "task_1", "deeper/authorized_keys", b"theirs")
    assert victim.read_text() == "mine\n"


def test_an_artifact_exchanged_for_a_link_is_gone(home: Home) -> None:
    artifacts.store(home.artifacts, "task_1", "report.txt", b"a report")
    made = _artifact("report.txt")
    with artifacts.open_file(home.artifacts, made) as file:
        assert file.read() == b"a report"
    place = home.artifacts / "task_1" / "report.txt"
    place.unlink()
    place.symlink_to("../../token")
    with pytest.raises(NotFound):
        artifacts.open_file(home.artifacts, made)


def test_an_artifacts_folder_exchanged_for_a_link_into_the_home_is_gone(home: Home) -> None:
    artifacts.store(home.artifacts, "task_1", "out/token", b"a report")
    made = _artifact("out/token")
    folder = home.artifacts / "task_1" / "out"
    (folder / "token").unlink()
    folder.rmdir()
    folder.symlink_to("../..")
    with pytest.raises(NotFound):
        artifacts.open_file(home.artifacts, made)


@pytest.mark.parametrize("link", ["../../token", "/etc/hostname"])
def test_no_link_is_sent_as_an_attachment(home: Home, link: str) -> None:
    folder = home.artifacts / "task_1"
    folder.mkdir()
    (folder / "plain.txt").write_text("a report")
    (folder / "report.txt").symlink_to(link)
    (folder / "up").symlink_to("../..")
    assert attached(home.root, Attachment("plain.txt", path="artifacts/task_1/plain.txt"), limit=100)
    with pytest.raises(PermanentError, match="over the"):
        attached(home.root, Attachment("plain.txt", path="artifacts/task_1/plain.txt"), limit=3)
    for path in ("artifacts/task_1/report.txt", "artifacts/task_1/up/token", "../authorized_keys", ""):
        with pytest.raises(PermanentError, match="not in the home any more"):
            attached(home.root, Attachment("report.txt", path=path), limit=100)


def test_the_prompt_holds_nothing_that_a_link_points_to(home: Home) -> None:
    workspace = Workspace(home.workspace)
    (home.workspace / "AGENTS.md").symlink_to("../token")
    os.mkfifo(home.workspace / "MEMORY.md")
    assert workspace.read("AGENTS.md") == ""
    assert workspace.read("MEMORY.md") == ""
    (home.workspace / "AGENTS.md").unlink()
    (home.workspace / "AGENTS.md").write_text("be brief")
    assert workspace.read("AGENTS.md") == "be brief"


@pytest.mark.parametrize("name", ["x.html", "x.pdf", "x.txt"])
async def test_read_file_follows_no_link_whatever_reads_it(home: Home, name: str) -> None:
    async def text_of(path: Path) -> str:
        return await asyncio.to_thread(path.read_text)

    read = next(tool for tool in file_tools(home.workspace, text_of) if tool.name == "read_file")
    (home.workspace / name).symlink_to(home.root / "token")
    with pytest.raises(Refused):
        await read.run(_nobody(), read.params(path=name))
    (home.workspace / f"plain-{name}").write_text("words")
    found = await read.run(_nobody(), read.params(path=f"plain-{name}"))
    assert found["content"] == "words"


async def test_the_file_channel_writes_through_no_link(home: Home, tmp_path: Path) -> None:
    channel = FileChannel("file", home.workspace, SystemClock())
    victim = tmp_path / "authorized_keys"
    (home.workspace / "results.md").symlink_to(victim)
    (home.workspace / "out").symlink_to(tmp_path)
    for to in ("results.md", "out/authorized_keys"):
        with pytest.raises(TawnyError):
            await channel.send(Outgoing(key="k1", text="ssh-ed25519 theirs", to=to))
    assert victim.read_text() == "mine\n"


@needs_bubblewrap
@pytest.mark.parametrize("name", [*standing.FILES, *standing.FOLDERS, "butler/AGENTS.md"])
async def test_no_command_makes_or_moves_what_steers_later_work(home: Home, name: str) -> None:
    """Also where there was none before: what is not there cannot be held, so it is made."""
    workshop = Workshop(
        home, Config(agents=(AgentProfile(name="butler", workspace="butler"),)), SystemClock()
    )
    lines = (
        f"echo theirs > {name}",
        f"echo theirs > {name}/evil.md",
        f"rm -rf {name}; ln -s /usr {name}",
        f"mv {name} aside",
        f"mv $(dirname {name}) aside; mkdir -p $(dirname {name}); echo theirs > {name}",
        "echo theirs > x; mv -f x " + name,
        "cp -f /etc/hosts " + name,
        f"truncate -s 0 {name}",
        f"ln -f /etc/hosts {name}",
    )
    order = Order(
        argv=("/bin/sh", "-c", "\n".join(f"({line})" for line in lines) + "\ntrue"),
        cwd=str(home.workspace),
        writable=workshop.place.writable(),
        protected=workshop.place.protected(),
    )
    outcome, _ = await Commands(home.run / "probe", Bubblewrap()).run("probe", order)
    assert outcome.exit_code == 0
    place = home.workspace / name
    assert place.exists()
    assert not place.is_symlink()
    assert "theirs" not in "".join(
        path.read_text() for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file()
    )


def test_what_steers_later_work_is_one_list() -> None:
    """The tool that writes files asks by the same list as the sandbox holds."""
    for name in standing.FILES:
        assert standing.steers(name)
        assert standing.steers(f"butler/{name}")
    for name in standing.FOLDERS:
        assert standing.steers(f"{name}/a/b.md")
    assert not standing.steers("notes/a.md")


def _artifact(name: str) -> artifacts.Artifact:
    return artifacts.Artifact(
        artifact_id="art_1",
        task_id="task_1",
        name=name,
        media_type="text/plain",
        size=8,
        sha256="",
        path=f"task_1/{name}",
        partial=False,
        created_at=0,
    )


def _nobody() -> Any:
    return None
