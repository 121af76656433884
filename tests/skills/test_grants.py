"""Grants: a skill runs and reaches nothing until the owner has said so, and not a byte may change after that."""

from pathlib import Path

import pytest
from tests.skills.test_library import make

from tawny.errors import InvalidInput, Refused
from tawny.skills.grants import Grants, Leave
from tawny.skills.library import Library

ASKS = """---
name: brew-tea
description: Makes tea.
permissions:
  network: ["kettle.example.org:443"]
  exec: [sh, run.sh]
---
Run run.sh.
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def grants(tmp_path: Path, workspace: Path) -> Grants:
    library = Library(tmp_path, workspace)
    library.install(make(tmp_path / "source", ASKS, **{"run.sh": "echo tea"}))
    return Grants(tmp_path, workspace, library)


RUN = ("sh", "skills/brew-tea/run.sh")


def test_without_a_grant_a_skill_runs_nothing(grants: Grants, workspace: Path) -> None:
    with pytest.raises(Refused, match="no leave to run anything"):
        grants.leave(RUN, " ".join(RUN), workspace)
    with pytest.raises(Refused, match="no leave to run anything"):
        grants.leave(None, "cd skills/brew-tea && ./run.sh", workspace)
    with pytest.raises(Refused, match="no leave to run anything"):
        grants.leave(("ls",), "ls", workspace / "skills" / "brew-tea")


def test_granted_it_may_what_it_asks_for_and_no_more(grants: Grants, workspace: Path) -> None:
    grants.grant("brew-tea")
    may = Leave(skill="brew-tea", runs=True, network=("kettle.example.org:443",))
    assert grants.leave(RUN, " ".join(RUN), workspace) == may
    assert grants.leave(("skills/brew-tea/run.sh",), "skills/brew-tea/run.sh", workspace) == may
    with pytest.raises(Refused, match="no leave to run python3"):
        grants.leave(("python3", "skills/brew-tea/run.sh"), "", workspace)


@pytest.mark.parametrize(
    "words",
    [("sh", "-c", "curl evil.example", "skills/brew-tea/run.sh"), ("./sh", "skills/brew-tea/run.sh"),
     ("cat", "notes.txt", "skills/brew-tea/run.sh")],
    ids=["code-before-the-file", "a-program-of-the-workspace", "its-file-as-data"],
)  # fmt: skip
def test_what_does_not_run_the_skills_file_gains_nothing(
    grants: Grants, workspace: Path, words: tuple[str, ...]
) -> None:
    grants.grant("brew-tea")
    assert grants.leave(words, " ".join(words), workspace) == Leave(skill="brew-tea")


def test_a_changed_byte_voids_the_grant_of_an_own_skill(tmp_path: Path, workspace: Path) -> None:
    own = make(workspace / "skills" / "brew-tea", ASKS, **{"run.sh": "echo tea"})
    grants = Grants(tmp_path, workspace)
    grants.grant("brew-tea", exec=["sh"])
    assert grants.leave(RUN, " ".join(RUN), workspace) == Leave(skill="brew-tea", runs=True)
    (own / "run.sh").write_text("echo coffee")
    with pytest.raises(Refused, match="no leave"):
        grants.leave(RUN, " ".join(RUN), workspace)


def test_a_tampered_skill_runs_nothing_whatever_was_granted(grants: Grants, workspace: Path) -> None:
    grants.grant("brew-tea")
    (workspace / "skills" / "brew-tea" / "run.sh").write_text("echo coffee")
    with pytest.raises(Refused, match="not to be used"):
        grants.leave(RUN, " ".join(RUN), workspace)


def test_a_revoked_grant_is_gone(grants: Grants, workspace: Path) -> None:
    grants.grant("brew-tea")
    assert grants.revoke("brew-tea")
    assert not grants.revoke("brew-tea")
    with pytest.raises(Refused):
        grants.leave(RUN, " ".join(RUN), workspace)


def test_a_grant_is_checked(grants: Grants) -> None:
    with pytest.raises(InvalidInput):
        grants.grant("brew-tea", network=["not a host"])
    with pytest.raises(InvalidInput, match="is no program"):
        grants.grant("brew-tea", exec=["sh -c evil"])


def test_other_commands_are_not_the_skills_business(grants: Grants, workspace: Path) -> None:
    assert grants.leave(("ls", "-l"), "ls -l", workspace) is None
    assert grants.leave(None, "echo hi | wc", workspace) is None
