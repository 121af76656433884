"""A forked child on its way to becoming the command: its session, groups, network and limits."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import termios
from typing import Any

from tawny.sandbox.groups import enter_group

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_libc = ctypes.CDLL(None, use_errno=True)


def become(
    spec: dict[str, Any], argv: list[str], ends: list[int], keep: list[int], out: socket.socket
) -> None:
    """Turn into the command; never returns."""
    inheritable = True
    try:
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP) and not 31 < number < 34:
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    continue
        os.setsid()
        if spec["take_terminal"]:
            fcntl.ioctl(ends[0], termios.TIOCSCTTY, 0)
        for group in spec["cgroups"]:
            enter_group(group)
        network = spec.get("network")
        listener = enter_network(int(network["port"])) if network else None
        for name, soft, hard in spec["rlimits"]:
            which = int(getattr(resource, "RLIMIT_" + name))
            ceiling = resource.getrlimit(which)[1]
            if ceiling != resource.RLIM_INFINITY:
                soft, hard = min(soft, ceiling), min(hard, ceiling)
            resource.setrlimit(which, (soft, hard))
        if listener is not None:
            passed = struct.pack("i", listener.fileno())
            out.sendmsg([b"listener"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        else:
            out.send(b"ready")
        for target, end in enumerate(ends):
            os.dup2(end, target)
        for descriptor in keep:
            os.set_inheritable(descriptor, inheritable)
        os.umask(0o077)
        os.chdir(spec["cwd"])
        os.execve(argv[0], argv, spec["env"])
    except BaseException as error:  # noqa: BLE001 - a forked child must never run on as its parent
        out.send(f"error: {error}".encode())
        os._exit(127)


def enter_network(port: int) -> socket.socket:
    """A network of our own with nothing in it but loopback, and on that a listener for the proxy."""
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 or _libc.unshare(_CLONE_NEWNET) != 0:
        if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"no network namespace: {os.strerror(number)}")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sH14s", b"lo", 0, b"")
    flags = struct.unpack("16sH14s", fcntl.ioctl(probe.fileno(), _SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(probe.fileno(), _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))
    probe.close()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


def blob(data: bytes) -> int:
    """An open descriptor from which `data` can be read."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("blob")
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


def substitute(part: str, descriptors: dict[str, int]) -> str:
    """`@fd:name@` stands for the number of a descriptor that is opened only here."""
    if part.startswith("@fd:") and part.endswith("@"):
        return str(descriptors[part[4:-1]])
    return part
