"""The other sandboxes and the limits, as the texts and command lines they are."""

from pathlib import Path

import pytest

from tawny.errors import ConfigError, Refused
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.choice import open_sandbox
from tawny.sandbox.container import Container
from tawny.sandbox.limits import Holder, find_holder
from tawny.sandbox.order import Limits, Order
from tawny.sandbox.seatbelt import Seatbelt, profile

ORDER = Order(
    argv=("/bin/echo", "a b"),
    cwd="/home/me/w",
    env={"A": "1"},
    writable=("/home/me/w",),
    readable=("/data",),
    protected=("/home/me/w/skills",),
)


def test_the_macos_profile_denies_first_and_protects_last() -> None:
    lines = profile(ORDER).splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert '(allow file-read* (subpath "/data"))' in lines
    assert '(allow file-write* (subpath "/home/me/w"))' in lines
    assert lines.index('(deny file-write* (subpath "/home/me/w/skills"))') > lines.index(
        '(allow file-write* (subpath "/home/me/w"))'
    )
    assert lines[-1] == "(deny network*)"
    assert not any("/Users" in line or "/home/me/.ssh" in line for line in lines)


def test_a_path_cannot_break_out_of_the_macos_profile() -> None:
    evil = Order(argv=("x",), cwd="/", writable=('/w")) (allow default) (("',))
    assert '(allow file-write* (subpath "/w\\")) (allow default) ((\\""))' in profile(evil)
    with pytest.raises(Refused):
        profile(Order(argv=("x",), cwd="/", writable=("/w\n(allow default)",)))


def test_the_macos_sandbox_is_refused_elsewhere() -> None:
    with pytest.raises(Refused, match="only macOS"):
        Seatbelt().wrap(ORDER)


def test_a_container_has_nothing_it_does_not_need() -> None:
    argv = Container(image="debian:stable-slim", program="/usr/bin/podman").argv(ORDER)
    text = " ".join(argv)
    assert "--env A --workdir" in text
    for wanted in (
        "--network none",
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--pids-limit 256",
        "--memory 1073741824 --memory-swap 1073741824",
        "--mount type=bind,source=/home/me/w,target=/home/me/w --mount",
        "type=bind,source=/home/me/w/skills,target=/home/me/w/skills,readonly",
        "type=bind,source=/data,target=/data,readonly",
        "--workdir /home/me/w --entrypoint /bin/echo debian:stable-slim a b",
    ):
        assert wanted in text
    for never in ("--privileged", "host", "docker.sock", "--pid ", "--volume", "A=1"):
        assert never not in text.replace("--hostname", "")


def test_a_container_without_engine_image_or_with_a_network_is_refused() -> None:
    with pytest.raises(Refused, match="neither is installed"):
        _no_engine().check()
    with pytest.raises(Refused, match="image is empty"):
        Container(image="", program="/bin/true").check()
    with pytest.raises(Refused, match="has no image"):
        Container(image="x", program="/bin/false").check()
    listed = Order(argv=("x",), cwd="/", allow=("example.com",))
    with pytest.raises(Refused, match="no way out"):
        Container(image="x", program="/bin/true").wrap(listed)


def _no_engine() -> Container:
    container = Container(image="x", program="/bin/true")
    container._program = ""  # pyright: ignore[reportPrivateUsage]
    return container


def test_a_mount_cannot_be_smuggled_into_a_container() -> None:
    with pytest.raises(Refused):
        Container(image="x", program="/bin/true").argv(
            Order(argv=("x",), cwd="/", writable=("/w,source=/etc,target=/etc",))
        )


def test_the_platform_decides_and_no_sandbox_is_not_to_be_had() -> None:
    assert open_sandbox(platform="linux").name == "bubblewrap"
    assert open_sandbox(platform="darwin").name == "seatbelt"
    assert open_sandbox("container", image="x").name == "container"
    for name in ("none", "off", ""):
        with pytest.raises(ConfigError):
            open_sandbox(name)


def test_a_forbidden_namespace_is_told_with_its_mend(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(Refused) as refusal:
        Bubblewrap(program=str(broken)).check()
    assert "No permissions to create new namespace" in refusal.value.message
    assert "sysctl" in refusal.value.hint


def test_version_2_groups_where_they_are_delegated(tmp_path: Path) -> None:
    base = tmp_path / "user.slice" / "tawny.service"
    base.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    (base / "cgroup.subtree_control").write_text("cpu memory pids\n")
    holder = find_holder(mount=tmp_path, memberships="0::/user.slice/tawny.service\n")
    assert (holder.kind, holder.controllers) == ("cgroup2", ("memory", "pids", "cpu"))
    [group] = holder.groups("x", Limits(memory=1000, processes=5, cpus=1.5))
    assert group["path"] == str(base / "tawny-x")
    assert group["files"] == {
        "memory.max": "1000",
        "memory.swap.max": "0",
        "pids.max": "5",
        "cpu.max": "150000 100000",
    }
    assert [name for name, _, _ in holder.rlimits(Limits())] == ["CORE", "FSIZE", "NOFILE"]


def test_version_1_groups_else_and_else_the_limits_of_each_process(tmp_path: Path) -> None:
    for controller in ("memory", "pids"):
        (tmp_path / controller / "here").mkdir(parents=True)
    memberships = "9:pids:/here\n4:memory:/here\n1:cpu:/elsewhere\n0::/\n"
    holder = find_holder(mount=tmp_path, memberships=memberships)
    assert (holder.kind, holder.controllers) == ("cgroup1", ("memory", "pids"))
    assert [group["files"] for group in holder.groups("x", Limits(memory=1000, processes=5))] == [
        {"memory.limit_in_bytes": "1000"},
        {"pids.max": "5"},
    ]
    nothing = find_holder(mount=tmp_path / "none", memberships=memberships)
    assert nothing == Holder("rlimits")
    names = [name for name, _, _ in nothing.rlimits(Limits(cpu_seconds=3))]
    assert names == ["CORE", "FSIZE", "NOFILE", "CPU", "AS", "NPROC"]
