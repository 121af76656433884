"""The bytes of what goes along with a message: a file of the home, where commands may have been at work since."""

from pathlib import Path

from tawny.domain.messages import Attachment
from tawny.errors import PermanentError, TawnyError
from tawny.paths import Root


def attached(home: Path, file: Attachment, *, limit: int) -> bytes:
    """The file's bytes. A link is not followed, wherever it stands on the way: what a task made is sent, or nothing.

    Raises:
        PermanentError: it is gone, no file of its own, or has more than `limit` bytes.
    """
    try:
        data = Root(home, links=False).read(file.path, limit=limit + 1)
    except TawnyError as error:
        raise PermanentError(f"the file {file.name!r} is not in the home any more") from error
    if len(data) > limit:
        raise PermanentError(
            f"the file {file.name!r} is over the {limit // 1_000_000} MB that can be sent here"
        )
    return data
