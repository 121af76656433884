"""macOS: the system's own sandbox, by a profile that denies everything and then names what is needed."""

import os

from tawny.errors import Refused
from tawny.sandbox.order import Order, Wrapped, environment

_PROGRAM = "/usr/bin/sandbox-exec"

# What every program needs to start at all; the list follows the system's own profiles for its helpers.
_BASE = """(version 1)
(deny default)
(allow process-exec process-fork)
(allow signal (target same-sandbox))
(allow sysctl-read)
(allow mach-lookup (global-name "com.apple.system.logger") (global-name "com.apple.system.notification_center"))
(allow file-read-metadata)
(allow file-read*
  (literal "/") (literal "/dev/null") (literal "/dev/zero") (literal "/dev/random") (literal "/dev/urandom")
  (subpath "/usr") (subpath "/bin") (subpath "/sbin") (subpath "/System") (subpath "/Library/Apple")
  (subpath "/Library/Developer/CommandLineTools") (subpath "/opt/homebrew") (subpath "/private/etc/ssl")
  (literal "/private/etc/localtime") (subpath "/private/var/db/timezone") (subpath "/private/var/db/dyld"))
(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))
(allow file-ioctl (literal "/dev/tty"))
"""


class Seatbelt:
    """The sandbox of macOS. It has no network at all: there are no network namespaces to put a proxy in."""

    name = "seatbelt"

    def check(self) -> None:
        """Look for the system's program.

        Raises:
            Refused: this is no macOS, or it has none.
        """
        if not os.path.exists(_PROGRAM):
            raise Refused(
                f"the sandbox needs {_PROGRAM}, which only macOS has", hint='set [sandbox] backend = "auto"'
            )

    def wrap(self, order: Order) -> Wrapped:
        """The command line.

        Raises:
            Refused: the sandbox cannot be had, or the order wants the network.
        """
        self.check()
        if order.allow or order.allow_private:
            raise Refused(
                "the sandbox of macOS has no way out that could be held to a list",
                hint='run the command with an empty network list, or set [sandbox] backend = "container"',
            )
        argv = (_PROGRAM, "-p", profile(order), *order.argv)
        home = order.writable[0] if order.writable else "/private/tmp"
        return Wrapped(argv=argv, env=environment(order, home=home, proxy=None), cwd=order.cwd)


def profile(order: Order) -> str:
    """The profile's text for one order. The later rule wins, so protection comes last."""
    readable = [
        f"(allow file-read* (subpath {_quoted(path)}))" for path in (*order.readable, *order.writable)
    ]
    writable = [f"(allow file-write* (subpath {_quoted(path)}))" for path in order.writable]
    protected = [f"(deny file-write* (subpath {_quoted(path)}))" for path in order.protected]
    last = ["(deny file-write-setugid)", "(deny network*)"]
    if order.alone:
        # One program and no other: it is started by the very call that the profile is for.
        last += ["(deny process-fork)", "(deny process-exec*)"]
        last += [f"(allow process-exec (literal {_quoted(order.argv[0])}))"]
    return "\n".join([_BASE.rstrip(), *readable, *writable, *protected, *last]) + "\n"


def _quoted(path: str) -> str:
    if any(ord(character) < 0x20 for character in path):
        raise Refused(f"{path!r} has a control character in its name")
    escaped = os.path.realpath(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
