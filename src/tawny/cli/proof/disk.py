"""A disk that loses its power: what of the recorded operations may be there afterwards.

The model is the strictest that a POSIX file system may show: a file's bytes are sure only after its own sync, its name
only after a sync of its folder, and until then every sector of 512 bytes by itself may hold any version it ever had, or
rubbish where it was being written. Names of one folder reach the disk in their order.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import msgspec

from tawny.cli.proof.recording import Op

SECTOR = 512
PAGE = 4096


class Change(msgspec.Struct, frozen=True):
    """A write at an offset, or, without `data`, a new size."""

    at: int
    offset: int
    data: bytes | None


class File(msgspec.Struct):
    """One file's bytes: what is sure, what is not yet, and what never will be.

    A failed sync leaves its pages in memory, clean: whoever reads sees them, and no later sync writes them, unless
    somebody writes to the same page again.
    """

    sure: bytes = b""
    pending: list[Change] = []
    forgotten: list[Change] = []

    def change(self, change: Change) -> None:
        """Write, or cut; the pages that are touched are dirty again, whole."""
        if change.data is not None:
            pages = set(range(change.offset // PAGE, (change.offset + len(change.data)) // PAGE + 1))
            self.pending += [old for old in self.forgotten if old.offset // PAGE in pages]
            self.forgotten = [old for old in self.forgotten if old.offset // PAGE not in pages]
        self.pending.append(change)

    def sync(self, upto: int) -> None:
        """All that was changed before `upto` is sure now."""
        self.sure = _applied(self.sure, [change for change in self.pending if change.at < upto])
        self.pending = [change for change in self.pending if change.at >= upto]

    def fail(self, upto: int) -> None:
        """A sync has failed: the system believes that what was to be written is written."""
        failed = [change for change in self.pending if change.at < upto]
        self.pending = [change for change in self.pending if change.at >= upto]
        for change in failed:
            if change.data is None:
                self.sure = _applied(self.sure, [change])
            else:
                self.forgotten += _by_page(change)

    def seen(self) -> bytes:
        """What a reader sees while the power lasts."""
        return _applied(self.sure, sorted([*self.forgotten, *self.pending], key=lambda change: change.at))


class Name(msgspec.Struct, frozen=True):
    """A change of a folder: `file` is what the name stands for now, `None` for nothing; `-1` is a folder."""

    at: int
    name: str
    file: int | None


class Folder(msgspec.Struct):
    sure: dict[str, int] = {}
    pending: list[Name] = []

    def after(self, count: int) -> dict[str, int]:
        """The names when the first `count` pending changes have arrived."""
        names = dict(self.sure)
        for change in self.pending[:count]:
            if change.file is None:
                names.pop(change.name, None)
            else:
                names[change.name] = change.file
        return names

    def sync(self, upto: int) -> None:
        count = sum(change.at < upto for change in self.pending)
        self.sure, self.pending = self.after(count), self.pending[count:]


class Disk:
    """The state of a folder's tree after some operations. `root` is there from the beginning."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: list[File] = []
        self._folders: dict[str, Folder] = {root: Folder()}

    def apply(self, at: int, op: Op) -> None:
        """The operation with index `at` happens."""
        if op.kind in ("write", "truncate"):
            file = self._now(op.path)
            if file is not None:
                file.change(Change(at, op.offset, op.data if op.kind == "write" else None))
        elif op.kind == "sync":
            self._sync(op)
        elif op.kind == "fail":
            if (file := self._now(op.path)) is not None:
                file.fail(op.upto)
        elif op.kind == "create" and self._number(op.path) is None:
            self._files.append(File())
            self._name(at, op.path, len(self._files) - 1)
        elif op.kind == "mkdir":
            self._folders.setdefault(op.path, Folder())
            self._name(at, op.path, -1)
        elif op.kind == "unlink":
            self._name(at, op.path, None)
        elif op.kind in ("link", "rename"):
            self._name(at, op.to, self._number(op.path))
            if op.kind == "rename":
                self._name(at, op.path, None)

    def dropped(self) -> dict[str, bytes]:
        """Only what is sure."""
        return dict(self._tree(lambda folder: folder.after(0), lambda file: file.sure))

    def kept(self) -> dict[str, bytes]:
        """Everything that a reader saw, as after a kill of the process alone."""
        return dict(
            self._tree(
                lambda folder: folder.after(len(folder.pending)),
                lambda file: _applied(file.sure, file.pending),
            )
        )

    def reordered(self, chance: random.Random) -> dict[str, bytes]:
        """Any of the unsynced writes, whole, whichever came first."""

        def some(file: File) -> bytes:
            return _applied(file.sure, [change for change in file.pending if chance.random() < 0.5])

        return dict(self._tree(lambda folder: folder.after(len(folder.pending)), some))

    def torn(self, chance: random.Random) -> dict[str, bytes]:
        """Sector by sector any version, and now and then rubbish; the names as far as they came."""
        return dict(
            self._tree(
                lambda folder: folder.after(chance.randint(0, len(folder.pending))),
                lambda file: _torn(file, chance),
            )
        )

    def _tree(
        self, names: Callable[[Folder], dict[str, int]], content: Callable[[File], bytes]
    ) -> Iterator[tuple[str, bytes]]:
        pending = [self._root]
        while pending:
            path = pending.pop()
            for name, number in names(self._folders[path]).items():
                if number == -1:
                    pending.append(f"{path}/{name}")
                else:
                    yield f"{path}/{name}".removeprefix(self._root + "/"), content(self._files[number])

    def _sync(self, op: Op) -> None:
        folder = self._folders.get(op.path)
        if folder is not None:
            folder.sync(op.upto)
        elif (file := self._now(op.path)) is not None:
            file.sync(op.upto)

    def _name(self, at: int, path: str, file: int | None) -> None:
        pure = PurePosixPath(path)
        parent = self._folders.get(str(pure.parent))
        if parent is not None:
            parent.pending.append(Name(at, pure.name, file))

    def _number(self, path: str) -> int | None:
        pure = PurePosixPath(path)
        folder = self._folders.get(str(pure.parent))
        return None if folder is None else folder.after(len(folder.pending)).get(pure.name)

    def _now(self, path: str) -> File | None:
        number = self._number(path)
        return None if number is None or number == -1 else self._files[number]


def _by_page(change: Change) -> Iterator[Change]:
    assert change.data is not None
    start = 0
    while start < len(change.data):
        offset = change.offset + start
        length = PAGE - offset % PAGE
        yield Change(change.at, offset, change.data[start : start + length])
        start += length


def _applied(sure: bytes, changes: list[Change]) -> bytes:
    content = bytearray(sure)
    for change in changes:
        if change.data is None:
            if change.offset <= len(content):
                del content[change.offset :]
            else:
                content.extend(bytes(change.offset - len(content)))
            continue
        end = change.offset + len(change.data)
        if end > len(content):
            content.extend(bytes(end - len(content)))
        content[change.offset : end] = change.data
    return bytes(content)


def _torn(file: File, chance: random.Random) -> bytes:
    if not file.pending:
        return file.sure
    versions, content = [file.sure], file.sure
    for change in file.pending:
        content = _applied(content, [change])
        versions.append(content)
    size = len(chance.choice(versions))
    torn = bytearray(size)
    for start in range(0, size, SECTOR):
        sector = chance.choice([version[start : start + SECTOR] for version in versions])
        torn[start : start + len(sector)] = sector
    del torn[size:]
    if chance.random() < 0.3:
        _spoil(torn, file.pending, chance)
    return bytes(torn)


def _spoil(content: bytearray, changes: list[Change], chance: random.Random) -> None:
    """Rubbish where a write was under way, and only there: a sector's other bytes stay (SQLite's PSOW asks that)."""
    for change in changes:
        if change.data is None or chance.random() < 0.7:
            continue
        start = change.offset + SECTOR * chance.randrange(1 + len(change.data) // SECTOR)
        end = min(start + SECTOR, change.offset + len(change.data), len(content))
        if start < end:
            content[start:end] = chance.randbytes(end - start)
