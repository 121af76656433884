"""Files that tasks made: bytes under `artifacts/<task>/`, a row each.

Where several machines share the ledger, the bytes of those up to `SHARED` go into it too, for the gateway to show.
"""

import errno
import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tawny.clock import Instant, iso
from tawny.errors import InvalidInput, NotFound, PermanentError, StorageError, TawnyError
from tawny.files import make_folder
from tawny.ids import new_id
from tawny.ledger.database import Row, Tx
from tawny.paths import Root

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a full or failing disk answers: waiting, or a person, can mend it."""
SHARED = 16 * 1024 * 1024
"""The most bytes of a file that a shared ledger keeps."""


class Artifact(msgspec.Struct, frozen=True):
    """A file of a task; `path` is relative to the home's `artifacts/`, `size` in bytes."""

    artifact_id: str
    task_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    path: str
    partial: bool
    created_at: Instant

    def document(self) -> dict[str, Any]:
        """The artifact as on the wire."""
        return {
            "artifact_id": self.artifact_id,
            "task_id": self.task_id,
            "name": self.name,
            "media_type": self.media_type,
            "size": self.size,
            "sha256": self.sha256,
            "partial": self.partial,
            "created_at": iso(self.created_at),
        }


def store(root: Path, task_id: str, name: str, data: bytes) -> str:
    """Write the bytes durably; the path relative to `root`. The same name replaces.

    Raises:
        InvalidInput: the name would leave the task's folder.
        Refused: a link stands where it should go.
        StorageError: the disk is full, or fails.
    """
    clean = name.strip()
    if not clean or clean.startswith(("/", "\\")) or ".." in Path(clean).parts or "\0" in clean:
        raise InvalidInput(
            f"artifact name {name!r} leaves the task's folder", hint="give a plain relative name"
        )
    path = str(Path(task_id) / clean)
    try:
        make_folder(root)
        # The task's commands write into its folder too: what they put there leads this write nowhere.
        Root(root, links=False).write(path, data)
    except (OSError, PermanentError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _DISK:
            raise
        raise StorageError(
            f"artifact {name!r} could not be kept: {cause.strerror}",
            hint="free some disk space; work goes on by itself then",
        ) from error
    return path


def put(
    tx: Tx, task_id: str, name: str, *, media_type: str, size: int, sha256: str, path: str, partial: bool
) -> str:
    """Record a stored file; its id. A whole result replaces a partial one of the same name."""
    return str(
        tx.value(
            "INSERT INTO artifacts (artifact_id, task_id, name, media_type, size, sha256, path, partial, created_at)"
            " VALUES (:id, :task_id, :name, :media_type, :size, :sha256, :path, :partial, :now)"
            " ON CONFLICT (task_id, name) DO UPDATE SET media_type = excluded.media_type, size = excluded.size,"
            " sha256 = excluded.sha256, path = excluded.path, partial = excluded.partial,"
            " created_at = excluded.created_at RETURNING artifact_id",
            id=new_id("art", tx.now),
            task_id=task_id,
            name=name,
            media_type=media_type,
            size=size,
            sha256=sha256,
            path=path,
            partial=int(partial),
            now=tx.now,
        )
    )


def share(tx: Tx, artifact_id: str, data: bytes) -> None:
    """Keep the bytes in a ledger that other machines read too; larger ones stay where they were made."""
    if tx.dialect == "sqlite":
        return
    tx.execute("DELETE FROM artifact_contents WHERE artifact_id = :id", id=artifact_id)
    if len(data) <= SHARED:
        tx.execute(
            "INSERT INTO artifact_contents (artifact_id, data) VALUES (:id, :data)", id=artifact_id, data=data
        )


def bring(tx: Tx, root: Path, artifact: Artifact) -> None:
    """See to it that the file is on this machine: taken out of the ledger where another machine made it.

    Raises:
        NotFound: it is gone, or too large for the ledger and on the machine that made it.
    """
    if _is_here(Root(root, links=False), artifact, exactly=tx.dialect != "sqlite"):
        return
    if tx.dialect == "sqlite":
        raise NotFound(f"the file of {artifact.artifact_id} is gone")
    data = tx.value("SELECT data FROM artifact_contents WHERE artifact_id = :id", id=artifact.artifact_id)
    if data is None:
        worker = tx.value(
            "SELECT worker FROM executions WHERE task_id = :task_id ORDER BY attempt DESC LIMIT 1",
            task_id=artifact.task_id,
        )
        raise NotFound(
            f"the file of {artifact.artifact_id} has {artifact.size} bytes and is not in the database, which takes"
            f" {SHARED} at most",
            hint=f"it is in artifacts/{artifact.path} of the home of {worker or 'the worker that made it'}",
        )
    store(root, artifact.task_id, artifact.name, bytes(data))


def open_file(root: Path, artifact: Artifact) -> BinaryIO:
    """The file, open for reading: the task's own, whatever its commands have put into its place since.

    Raises:
        NotFound: it is gone, or a link or folder stands there now.
    """
    try:
        return Root(root, links=False).open(artifact.path)
    except TawnyError as error:
        raise NotFound(f"the file of {artifact.artifact_id} is gone") from error


def _is_here(root: Root, artifact: Artifact, *, exactly: bool) -> bool:
    try:
        if exactly:
            return hashlib.sha256(root.read(artifact.path)).hexdigest() == artifact.sha256
        return root.stat(artifact.path).kind == "file"
    except TawnyError:
        return False


def of_task(tx: Tx, task_id: str) -> list[Artifact]:
    """All artifacts of a task, oldest first."""
    rows = tx.all("SELECT * FROM artifacts WHERE task_id = :task_id ORDER BY artifact_id", task_id=task_id)
    return [_artifact(row) for row in rows]


def get(tx: Tx, artifact_id: str) -> Artifact:
    """One artifact.

    Raises:
        NotFound: there is none with this id.
    """
    row = tx.one("SELECT * FROM artifacts WHERE artifact_id = :id", id=artifact_id)
    if row is None:
        raise NotFound(f"there is no artifact {artifact_id!r}")
    return _artifact(row)


def _artifact(row: Row) -> Artifact:
    return msgspec.convert({**row, "partial": bool(row["partial"])}, Artifact)
