"""Linux: bubblewrap, which every desktop's Flatpak trusts. Namespaces for everything, nothing of the home."""

import os
import shutil
import subprocess

from tawny.errors import Refused
from tawny.sandbox import seccomp
from tawny.sandbox.order import MEGABYTE, PROXY_PORT, Order, Wrapped, environment

_HOME = "/tmp/home"
_UID = 1000
_SETSID = "/usr/bin/setsid"
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What programs need of /etc. Never all of it: as root the sandboxed process would own, and so read, the shadow file.
# Each bind costs about half a millisecond, so the list is short; links are made anew instead.
_ETC = (
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust",
    "/etc/ca-certificates", "/etc/services", "/etc/mime.types", "/etc/fonts",
)  # fmt: skip
_LINKS = ("/etc/localtime", "/etc/os-release", "/etc/ssl/openssl.cnf")
# A process of root's, even one without capabilities in a namespace of its own, may write the kernel's settings, as the
# kernel asks for the owner there; bubblewrap's own cover looks at the folder's mode and misses that.
_PROC = (
    "sys",
    "irq",
    "bus",
    "fs",
    "acpi",
    "scsi",
    "driver",
    "sysrq-trigger",
    "mtrr",
    "kcore",
    "dynamic_debug",
)
_FILES = {
    "/etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\ntawny:x:{_UID}:{_UID}:tawny:{_HOME}:/bin/sh\n",
    "/etc/group": f"root:x:0:\ntawny:x:{_UID}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_INSTALL = "install bubblewrap: apt install bubblewrap (dnf, pacman, apk and zypper call it the same)"


class Bubblewrap:
    """The sandbox of Linux. It needs no privilege and takes none when it is given one."""

    name = "bubblewrap"

    def __init__(self, *, program: str | None = None) -> None:
        self._program = program or shutil.which("bwrap") or ""
        self._checked = False

    def check(self) -> None:
        """Try it once: an empty sandbox must start.

        Raises:
            Refused: bubblewrap is missing, or the machine forbids what it needs.
        """
        if self._checked:
            return
        if not self._program:
            raise Refused("the sandbox needs bubblewrap, which is not installed", hint=_INSTALL)
        probe = [
            self._program,
            "--unshare-all",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "true",
        ]
        try:
            done = subprocess.run(probe, capture_output=True, timeout=10, check=False, env={})
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"bubblewrap cannot be started: {error}", hint=_INSTALL) from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise Refused(
                f"bubblewrap is forbidden to make namespaces here: {said[-1] if said else done.returncode}",
                hint="allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces="
                "10000 (Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0); in a container, run it with"
                " --security-opt seccomp=unconfined",
            )
        self._checked = True

    def wrap(self, order: Order) -> Wrapped:
        self.check()
        blobs = {"seccomp": seccomp.filter_for()}
        argv = [
            self._program, "--die-with-parent", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try", "--uid", str(_UID), "--gid", str(_UID), "--hostname", "sandbox",
            "--cap-drop", "ALL", *(["--unshare-net"] if order.alone else []),
        ]  # fmt: skip
        argv += _system()
        for number, (path, text) in enumerate(_FILES.items()):
            blobs[f"file{number}"] = text.encode()
            argv += ["--file", f"@fd:file{number}@", path]
        argv += ["--proc", "/proc", *_covered(), "--dev", "/dev", "--dir", "/run", "--dir", "/var"]
        argv += [
            "--size",
            str(min(order.limits.file_size, 512 * MEGABYTE)),
            "--tmpfs",
            "/tmp",
            "--dir",
            _HOME,
        ]
        argv += ["--symlink", "/tmp", "/var/tmp"]
        for path in order.readable:
            argv += ["--ro-bind", path, path]
        for path in order.writable:
            argv += ["--bind", path, path]
        for path in order.protected:
            argv += ["--ro-bind-try", path, path]
        # The environment comes by a descriptor: a secret in it shows in no process list, and a loader hook in it
        # cannot reach bubblewrap itself, which still runs outside.
        proxy = None if order.alone else f"http://127.0.0.1:{PROXY_PORT}"
        env = environment(order, home=_HOME, proxy=proxy)
        settings = [part for name, value in env.items() for part in ("--setenv", name, value)]
        blobs["env"] = "".join(f"{part}\0" for part in ("--clearenv", *settings)).encode()
        argv += ["--remount-ro", "/", "--chdir", order.cwd, "--args", "@fd:env@"]
        argv += ["--seccomp", "@fd:seccomp@"]
        # Shared memory is a file system without a size; where no control group counts it, nothing may be written there.
        argv += ["--remount-ro", "/dev"] if order.alone else ["--json-status-fd", "@fd:status@"]
        argv += ["--"]
        takes_terminal = order.pty and os.path.exists(_SETSID)
        if takes_terminal:
            argv += [_SETSID, "--ctty", "--wait"]
        return Wrapped(
            argv=(*argv, *order.argv),
            env={},
            cwd="/",
            blobs=blobs,
            own_network=not order.alone,
            takes_terminal=takes_terminal,
        )


def _covered() -> list[str]:
    """Read-only covers for what of /proc belongs to the whole machine: folders by themselves, files by nothing."""
    argv: list[str] = []
    for name in _PROC if os.geteuid() == 0 else ():
        path = f"/proc/{name}"
        if os.path.isdir(path):
            argv += ["--ro-bind", path, path]
        elif os.path.exists(path):
            argv += ["--ro-bind", "/dev/null", path]
    return argv


def _system() -> list[str]:
    """The read-only system: /usr, and what distributions link into it."""
    argv = ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM:
        if os.path.islink(path):
            argv += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            argv += ["--ro-bind", path, path]
    for path in _ETC:
        if os.path.exists(path):
            argv += ["--ro-bind", os.path.realpath(path), path]
    for path in _LINKS:
        target = os.path.realpath(path)
        if target.startswith("/usr/") and os.path.exists(target):
            argv += ["--symlink", target, path]
    return argv
