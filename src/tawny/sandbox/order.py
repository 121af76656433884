"""What is to be run in a sandbox, and what a sandbox is. Every implementation passes the same probes."""

from typing import Protocol

import msgspec

MEGABYTE = 1024 * 1024
PROXY_PORT = 3128
"""Where the proxy listens inside a sandbox; each has a loopback of its own, so it is always free."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds for one command and all its processes together, `file_size` and `open_files` for each process.

    Sizes are bytes, times seconds. `cpus` is how many processors' worth of time it gets, `cpu_seconds` how much of
    it one process may use up in all.
    """

    memory: int = 1024 * MEGABYTE
    processes: int = 256
    cpus: float = 2.0
    cpu_seconds: int | None = None
    file_size: int = 1024 * MEGABYTE
    open_files: int = 1024
    seconds: float | None = 1800.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One command. Paths are absolute; `writable` and `readable` come on top of the read-only system.

    `protected` are paths inside `writable` ones that stay read-only. `allow` and `allow_private` are entries as in
    `[network]`; where both are empty, everything is refused by name. `keep_stdin` leaves the input open after
    `input`. `split` keeps stdout and stderr apart. `env` may hold secrets: it goes to the command and nowhere else.
    `alone` says that no supervisor stands by it: no network, not even a proxy's. `held` are the files that were
    decided on, as `PATH sha256:DIGEST`: where one is another by then, the command is not started.
    """

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = {}
    input: bytes = b""
    keep_stdin: bool = False
    pty: bool = False
    split: bool = False
    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    limits: Limits = Limits()
    alone: bool = False
    held: tuple[str, ...] = ()


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox runs an order: what the supervisor starts.

    `@fd:NAME@` in `argv` stands for a descriptor on `blobs[NAME]` (`status` is the supervisor's own). With
    `own_network` the supervisor makes the network namespace and listens in it on `PROXY_PORT`.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    blobs: dict[str, bytes] = {}
    own_network: bool = False
    takes_terminal: bool = False
    """Whether the command itself makes the pty its controlling terminal, so that ^C reaches it and not its sandbox."""


class Sandbox(Protocol):
    """A way to run what is not trusted."""

    name: str

    def check(self) -> None:
        """Return if this sandbox can be had here.

        Raises:
            Refused: it cannot; the hint is the mend. Nothing is ever run without it instead.
        """
        ...

    def wrap(self, order: Order) -> Wrapped:
        """The command line that runs the order inside."""
        ...


SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def environment(order: Order, *, home: str, proxy: str | None) -> dict[str, str]:
    """The whole environment of a sandboxed command: nothing of the gateway's own."""
    made = {
        "PATH": SYSTEM_PATH,
        "HOME": home,
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "USER": "tawny",
        "LOGNAME": "tawny",
        "TERM": "xterm-256color" if order.pty else "dumb",
    }
    if proxy is not None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            made[name] = made[name.lower()] = proxy
    return {**made, **order.env}
