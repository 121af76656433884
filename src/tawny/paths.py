"""Files under a root that nobody can talk us out of: no `..`, no link, no swap in between leads outside.

Every access walks from an open folder, component by component, with `O_NOFOLLOW`: what is checked is what is opened, so
a component exchanged for a link at full speed changes nothing. On Linux `openat2(RESOLVE_BENEATH)` does the walk in the
kernel and follows links that stay inside; elsewhere links are refused. Commands in the sandbox write into the workspace
and into their task's folder: whatever this process reads or writes there goes through here.
"""

import ctypes
import errno
import os
import platform
import secrets
import shutil
import stat as mode_of
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from tawny.errors import InvalidInput, NotFound, PermanentError, Refused

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_DEPTH = 64


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Entry(msgspec.Struct, frozen=True):
    """One entry of a folder. `kind` is file, folder, link or other; `size` in bytes, `modified` in seconds."""

    name: str
    kind: str
    size: int
    modified: float


class Root:
    """A folder and everything beneath it; paths are relative to it, or absolute ones that lie in it.

    With `links=False` no folder on the way may be a link either, not even one that stays inside.

    Raises, in every method:
        Refused: the path leads outside.
        NotFound: there is nothing.
        InvalidInput: it is no path.
        PermanentError: the system refuses (permissions, a folder where a file is wanted, …).
    """

    def __init__(self, path: Path, *, use_openat2: bool = True, links: bool = True) -> None:
        self.path = Path(os.path.realpath(path))
        self._kernel_walks = use_openat2 and _has_openat2()
        self._resolve = _RESOLVE_BENEATH | (_RESOLVE_NO_MAGICLINKS if links else _RESOLVE_NO_SYMLINKS)

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        """The file's bytes, `limit` of them at most."""
        with self.open(path) as file:
            return file.read() if limit is None else file.read(limit)

    def open(self, path: str) -> BinaryIO:
        """The file, open for reading. Only regular files are opened: no pipe or device blocks us."""
        with self._parent(path) as (folder, name), self._errors(path):
            descriptor = self._open(folder, name, os.O_RDONLY | os.O_NONBLOCK)
            if not mode_of.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise PermanentError(f"{path} is no regular file")
            return os.fdopen(descriptor, "rb")

    def copy(self, path: str, folder: Path) -> Path:
        """A copy of the file in a folder of ours alone, for who opens by name: by then it may mean another file."""
        target = folder / PurePosixPath(path).name
        with self.open(path) as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
        return target

    def write(self, path: str, data: bytes, *, make_folders: bool = True) -> None:
        """Put the whole file in place at once and for sure; a reader sees the old or the new one."""
        with self._parent(path, make=make_folders) as (folder, name), self._errors(path):
            _not_a_folder(folder, name, path)
            temporary = f".{name[:100]}.{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            except BaseException:
                _forget(temporary, folder)
                raise

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of the file for sure, making it if it is missing."""
        with self._parent(path, make=True) as (folder, name), self._errors(path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            descriptor = self._open(folder, name, flags, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                if not mode_of.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise PermanentError(f"{path} is no regular file")
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def entries(self, path: str = ".") -> list[Entry]:
        """The entries of a folder by name."""
        with self._errors(path):
            descriptor = self._folder(_parts(path, self.path), make=False)
            try:
                found: list[Entry] = []
                for name in sorted(os.listdir(descriptor)):
                    try:
                        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    found.append(Entry(name, _kind(status.st_mode), status.st_size, status.st_mtime))
                return found
            finally:
                os.close(descriptor)

    def stat(self, path: str) -> Entry:
        """What stands at the path, links not followed."""
        with self._parent(path) as (folder, name), self._errors(path):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            return Entry(name, _kind(status.st_mode), status.st_size, status.st_mtime)

    def remove(self, path: str) -> None:
        """Delete a file, a link (not what it points to), or an empty folder."""
        with self._parent(path) as (folder, name), self._errors(path):
            try:
                os.unlink(name, dir_fd=folder)
            except (IsADirectoryError, PermissionError):
                os.rmdir(name, dir_fd=folder)

    def exists(self, path: str) -> bool:
        try:
            self.stat(path)
        except NotFound:
            return False
        return True

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        parts = _parts(path, self.path)
        if not parts:
            raise InvalidInput(f"{path!r} names the root itself", hint="name a file in it")
        with self._errors(path):
            folder = self._folder(parts[:-1], make=make)
        try:
            yield folder, parts[-1]
        finally:
            os.close(folder)

    def _folder(self, parts: list[str], *, make: bool) -> int:
        """An open folder; the root itself is the only path that is opened by name."""
        root = os.open(self.path, _FOLDER | os.O_NOFOLLOW)
        if not parts:
            return root
        try:
            if self._kernel_walks and not make:
                return _openat2(root, "/".join(parts), _FOLDER, self._resolve)
            current = os.dup(root)
            for part in parts:
                below = self._step(current, part, make=make)
                os.close(current)
                current = below
            return current
        finally:
            os.close(root)

    def _step(self, folder: int, part: str, *, make: bool) -> int:
        try:
            return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                os.close(folder)
                raise
        except OSError:
            os.close(folder)
            raise
        try:
            os.mkdir(part, 0o700, dir_fd=folder)
            os.fsync(folder)
        except FileExistsError:
            pass
        except OSError:
            os.close(folder)
            raise
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)

    def _open(self, folder: int, name: str, flags: int, mode: int = 0) -> int:
        # The last component is never followed: a link as a file's name is refused wherever it points to.
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)

    @contextmanager
    def _errors(self, path: str) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"there is no {path}") from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR, errno.EMLINK):
                raise Refused(
                    f"{path} leads through a link or outside of {self.path.name}", hint="name the file itself"
                ) from error
            raise PermanentError(f"{path}: {error.strerror}") from error


def _parts(path: str, root: Path) -> list[str]:
    """The components of a path, checked as text: the first wall, not the only one."""
    if not path or "\0" in path or len(path) > 4096:
        raise InvalidInput(f"{path[:80]!r} is no path", hint="give a path relative to the workspace")
    pure = PurePosixPath(path)
    if pure.is_absolute():
        try:
            pure = pure.relative_to(root)
        except ValueError:
            raise Refused(
                f"{path} lies outside of {root.name}", hint=f"only files in {root} are open"
            ) from None
    if ".." in pure.parts:
        raise Refused(f"{path} leads upwards", hint="give a path without '..'")
    parts = list(pure.parts)
    if len(parts) > _MAX_DEPTH or any(len(part.encode()) > 255 for part in parts):
        raise InvalidInput(f"{path[:80]!r} is too long or too deep for a path")
    return parts


def _kind(mode: int) -> str:
    if mode_of.S_ISREG(mode):
        return "file"
    if mode_of.S_ISDIR(mode):
        return "folder"
    return "link" if mode_of.S_ISLNK(mode) else "other"


def _not_a_folder(folder: int, name: str, path: str) -> None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if mode_of.S_ISDIR(status.st_mode):
        raise PermanentError(f"{path} is a folder")


def _forget(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return


def _openat2(folder: int, path: str, flags: int, resolve: int = _RESOLVE_BENEATH) -> int:
    how = _How(flags, 0, resolve)
    libc = _libc()
    for _ in range(64):
        result = libc.syscall(_OPENAT2, folder, path.encode(), ctypes.byref(how), ctypes.sizeof(how))
        if result >= 0:
            return int(result)
        number = ctypes.get_errno()
        # EAGAIN: something was renamed on the way and the kernel could not be sure; it asks to try again.
        if number != errno.EAGAIN:
            raise OSError(number, os.strerror(number), path)
    raise OSError(errno.EXDEV, "the path keeps changing", path)


_loaded: list[ctypes.CDLL] = []


def _libc() -> ctypes.CDLL:
    if not _loaded:
        _loaded.append(ctypes.CDLL(None, use_errno=True))
    return _loaded[0]


def _has_openat2() -> bool:
    """Whether this kernel walks beneath a folder for us (Linux 5.6 and later)."""
    if platform.system() != "Linux":
        return False
    folder = os.open("/", _FOLDER)
    try:
        os.close(_openat2(folder, ".", _FOLDER))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True
