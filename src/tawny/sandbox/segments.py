"""A stream of output on the disk, of which the newest is kept."""

import errno
import os


class Segments:
    """A stream on the disk: files named by offset, of which only the newest are kept."""

    def __init__(self, folder: str, name: str, *, segment: int, keep: int) -> None:
        self._prefix = os.path.join(folder, name + ".")
        self._segment = segment
        self._keep = keep
        self._starts: list[int] = []
        self._file = -1
        self.offset = 0
        self._next()

    def write(self, data: bytes) -> None:
        while data:
            room = self._starts[-1] + self._segment - self.offset
            if room <= 0:
                self._next()
                continue
            part = data[:room]
            try:
                written = os.write(self._file, part)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                # A full disk costs output, never the command: the gap shows as a jump in the offsets.
                self.offset += len(data)
                self._next()
                return
            self.offset += written
            data = data[written:]

    def _next(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._prefix + str(self.offset), flags, 0o600)
        self._starts.append(self.offset)
        while len(self._starts) > self._keep:
            os.unlink(self._prefix + str(self._starts.pop(0)))
