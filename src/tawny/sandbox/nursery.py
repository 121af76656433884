"""The process from which supervisors are forked: started once, so that a command does not wait for a Python to start.

It is nearly empty and knows no secret: a spec is read by the supervisor alone, after the fork. It ends when the
gateway is gone, or when nobody has wanted a command for a while; the supervisors it has forked go on.
"""

import gc
import os
import signal
import socket

from tawny.sandbox.supervisor import stand_by

LOCK = 3
"""The descriptor on which a supervisor holds its command's lock."""
IDLE = 300.0
"""Seconds without a command after which the nursery ends by itself."""


def main(idle: float = IDLE) -> None:
    """Fork a supervisor for every message on standard input, a socket; each brings its spec, its reply, its lock."""
    os.closerange(3, 1 << 20)
    os.chdir("/")
    gateway = socket.socket(fileno=os.dup(0))
    gateway.settimeout(idle)
    # The kernel takes the records of supervisors that have ended; nobody asks for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    while True:
        descriptors = _next(gateway)
        if len(descriptors) != 3:
            return
        if os.fork() == 0:
            try:
                _settle(*descriptors)
                stand_by()
            finally:
                # Neither what was left to do here, nor the thread of a proxy, is waited for.
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _next(gateway: socket.socket) -> list[int]:
    """The descriptors of the next command; none where there will be no more."""
    try:
        return socket.recv_fds(gateway, 1, 3)[1]
    except TimeoutError:
        # From here on the gateway's next message fails at its end, and it starts another nursery. What was sent before
        # that is still here and is served.
        gateway.shutdown(socket.SHUT_RD)
        return socket.recv_fds(gateway, 1, 3)[1]
    except ConnectionResetError:
        return []


def _settle(spec: int, reply: int, lock: int) -> None:
    """Become a process of its own, with nothing open but what it was given."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    high = [os.dup(descriptor) for descriptor in (spec, reply, lock)]
    for target, descriptor in enumerate((high[0], high[1], 2, high[2])):
        if target != descriptor:
            os.dup2(descriptor, target, inheritable=False)
    os.closerange(LOCK + 1, 1 << 20)
