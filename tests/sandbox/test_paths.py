"""Files under a root: no traversal, no link, no swap in between leads outside."""

import os
import threading
from pathlib import Path

import pytest

from tawny.errors import InvalidInput, NotFound, PermanentError, Refused, TawnyError
from tawny.paths import Root


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Root:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "root" / "sub" / "a.txt").write_text("inside")
    return Root(tmp_path / "root", use_openat2=request.param)


def test_a_file_is_written_read_listed_and_removed(root: Root) -> None:
    root.write("new/deep/b.txt", b"hello")
    root.append("new/deep/b.txt", b" you")
    assert root.read("new/deep/b.txt") == b"hello you"
    assert root.read("new/deep/b.txt", limit=3) == b"hel"
    assert root.read(str(root.path / "sub" / "a.txt")) == b"inside"
    assert [(e.name, e.kind, e.size) for e in root.entries("new/deep")] == [("b.txt", "file", 9)]
    assert [e.name for e in root.entries()] == ["new", "sub"]
    root.remove("new/deep/b.txt")
    root.remove("new/deep")
    assert not root.exists("new/deep")


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/secret",
        "sub/../../outside/secret",
        "sub/../../../etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "sub/..",
        "./../outside/secret",
    ],
)
def test_a_path_that_leads_out_is_refused(root: Root, path: str) -> None:
    with pytest.raises(Refused):
        root.read(path)
    with pytest.raises(Refused):
        root.write(path, b"x")


@pytest.mark.parametrize("path", ["", "a\0b", "a/" * 100 + "b", "x" * 300, "."])
def test_what_is_no_path_is_an_error(root: Root, path: str) -> None:
    with pytest.raises(InvalidInput):
        root.read(path)


@pytest.mark.parametrize(
    "path", ["..\\secret", "%2e%2e/secret", "..%2fsecret", "....//secret", "~/.ssh/id", "file:///etc"]
)
def test_disguises_are_plain_names_that_do_not_exist(root: Root, path: str) -> None:
    with pytest.raises((NotFound, Refused)):
        root.read(path)


def test_links_that_lead_out_are_refused(root: Root) -> None:
    outside = root.path.parent / "outside"
    (root.path / "folder").symlink_to(outside)
    (root.path / "file").symlink_to(outside / "secret")
    (root.path / "proc").symlink_to("/proc/self/root")
    for path in ("folder/secret", "file", "proc/etc/passwd"):
        with pytest.raises(Refused):
            root.read(path)
    for path in ("folder/new", "proc/tmp/new"):
        with pytest.raises(Refused):
            root.write(path, b"x")
    with pytest.raises(Refused):
        root.append("file", b"x")
    with pytest.raises(Refused):
        root.entries("folder")
    root.write("file", b"replaces the link, not what it points to")
    assert (outside / "secret").read_text() == "secret"
    root.remove("folder")
    assert outside.is_dir()


def test_a_folder_or_a_pipe_is_no_file(root: Root) -> None:
    os.mkfifo(root.path / "pipe")
    for path in ("sub", "pipe"):
        with pytest.raises(PermanentError):
            root.read(path)
    with pytest.raises(PermanentError):
        root.write("sub", b"x")


def test_a_failed_write_leaves_no_trace(root: Root) -> None:
    with pytest.raises(PermanentError):
        root.write("sub", b"x")
    assert [e.name for e in root.entries()] == ["sub"]


@pytest.mark.parametrize("operation", ["read", "write"])
def test_a_component_swapped_at_full_speed_never_leads_out(root: Root, operation: str) -> None:
    """One thread exchanges a folder for a link to the outside as fast as it can while the tool works."""
    outside = root.path.parent / "outside"
    (outside / "a.txt").write_text("secret")
    link, real, place = root.path / "link", root.path / "real", root.path / "sub"
    link.symlink_to(outside)
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            os.rename(place, real)
            os.rename(link, place)
            os.rename(place, link)
            os.rename(real, place)
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    refused = done = 0
    try:
        for n in range(int(os.environ.get("TAWNY_SWAPS", "4000"))):
            try:
                if operation == "read":
                    assert root.read("sub/a.txt") == b"inside"
                else:
                    root.write(f"sub/n{n % 10}", b"x", make_folders=False)
                done += 1
            except TawnyError:
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert swaps > 0
    assert done > 0
    assert sorted(p.name for p in outside.iterdir()) == ["a.txt", "secret"]


def test_the_race_is_real_where_the_walk_is_naive(root: Root) -> None:
    """The same swap does defeat a check on the text of the path, so the test above can fail."""
    outside = root.path.parent / "outside"
    (outside / "a.txt").write_text("secret")
    naive = root.path / "sub" / "a.txt"
    assert naive.resolve().is_relative_to(root.path)
    os.rename(root.path / "sub", root.path / "real")
    (root.path / "sub").symlink_to(outside)
    assert naive.read_text() == "secret"
    with pytest.raises(Refused):
        root.read("sub/a.txt")
