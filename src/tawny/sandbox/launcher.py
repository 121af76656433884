"""The gateway's end of the nursery: has a supervisor forked, and starts the nursery where there is none."""

import os
import socket
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tawny.errors import PermanentError

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
_BOOT = "import sys; sys.path.append(sys.argv[1]); from tawny.sandbox.nursery import main; main()"


class Launcher:
    """Launches supervisors. Its nursery lives as long as it does, or ends by itself when it has nothing to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nursery: _Nursery | None = None

    def launch(self, spec: bytes, lock: int) -> None:
        """Start a supervisor, hand it the lock and the spec; returns when it stands by, or has failed and recorded why.

        The spec goes through a pipe, not through arguments or a file: it may hold secrets.

        Raises:
            PermanentError: no supervisor could be started; nothing has run.
        """
        read, write = os.pipe()
        ready, said = os.pipe()
        try:
            try:
                self._send((read, said, lock))
            finally:
                os.close(read)
                os.close(said)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(spec)
            # Until it can be written to and killed, or has failed, which its record tells.
            os.read(ready, 1)
        except OSError as error:
            raise PermanentError("the supervisor of the command could not be started") from error
        finally:
            os.close(ready)

    def _send(self, descriptors: Sequence[int]) -> None:
        with self._lock:
            if self._nursery is not None:
                try:
                    self._nursery.send(descriptors)
                except OSError:
                    self._nursery.close()  # it has ended, idle or killed; nothing of the message was taken
                else:
                    return
            self._nursery = _Nursery()
            self._nursery.send(descriptors)


class _Nursery:
    """One nursery process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            actions: Sequence[Any] = [
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, nowhere, 1),
                (os.POSIX_SPAWN_DUP2, nowhere, 2),
            ]
            argv = [sys.executable, "-I", "-S", "-c", _BOOT, _PACKAGE_ROOT]
            environment = {"PATH": "/usr/bin:/bin"}
            self.process = os.posix_spawn(
                sys.executable, argv, environment, file_actions=actions, setsid=True
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(nowhere)
        self._socket = ours
        self.close = weakref.finalize(self, _end, ours, self.process)

    def send(self, descriptors: Sequence[int]) -> None:
        socket.send_fds(self._socket, [b"s"], descriptors)


def _end(end: socket.socket, process: int) -> None:
    end.close()
    try:
        os.waitpid(process, 0)  # it ends at once when its socket does
    except ChildProcessError:
        return
