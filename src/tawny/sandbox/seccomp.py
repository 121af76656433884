"""The filter of system calls a sandboxed program lives under, as the bytes the kernel takes.

Written by a generator of our own, some forty lines, instead of libseccomp: no library to find at run time, nothing to
install, and every line of the policy can be read here. A call newer than `_NEWEST` does not exist for the program.
"""

import errno
import platform
import struct
from functools import cache

from tawny.errors import Refused

_LOAD, _EQUAL, _GREATER, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_NEWEST = 462

# Calls that change the machine, look into other processes, or make namespaces and mounts anew. They fail with EPERM.
_DENIED = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise", "syslog",
    "acct", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "unshare", "setns", "add_key", "request_key", "keyctl", "bpf",
    "perf_event_open", "userfaultfd", "fanotify_init", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load", "reboot",
    "swapon", "swapoff", "sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex",
    "clock_adjtime", "quotactl", "quotactl_fd", "nfsservctl", "lookup_dcookie", "name_to_handle_at",
    "open_by_handle_at", "vhangup", "iopl", "ioperm", "modify_ldt", "_sysctl", "mbind", "set_mempolicy",
    "migrate_pages", "move_pages", "memfd_secret",
)  # fmt: skip

# These have older forms whose arguments can be looked at; programs fall back on them.
_ABSENT = ("clone3", "openat2")

_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_THREAD = 0x00010000
# Words put into a terminal's mouth, and drivers loaded for it: TIOCSTI, TIOCLINUX, TIOCSETD.
_TERMINAL = (0x5412, 0x541C, 0x5423)
_SET_ID = 0o6000
_CREATES = 0o100 | 0o20000000  # O_CREAT, O_TMPFILE
_FAMILIES = (1, 2, 10)  # unix, IPv4, IPv6

_COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "openat2": 437, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "fchmodat2": 452,
}  # fmt: skip

_TABLES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (0xC000003E, {
        "open": 2, "ioctl": 16, "socket": 41, "clone": 56, "fork": 57, "vfork": 58, "execve": 59,
        "creat": 85, "chmod": 90, "fchmod": 91, "ptrace": 101,
        "syslog": 103, "mknod": 133, "personality": 135, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155,
        "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165,
        "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
        "iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175, "delete_module": 176, "quotactl": 179,
        "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "mbind": 237, "set_mempolicy": 238,
        "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "openat": 257,
        "mknodat": 259, "fchmodat": 268, "unshare": 272, "move_pages": 279, "perf_event_open": 298,
        "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
        "bpf": 321, "execveat": 322, "userfaultfd": 323, **_COMMON,
    }),
    "aarch64": (0xC00000B7, {
        "lookup_dcookie": 18, "ioctl": 29, "mknodat": 33, "umount2": 39, "mount": 40, "pivot_root": 41,
        "nfsservctl": 42, "chroot": 51, "fchmod": 52, "fchmodat": 53, "openat": 56, "vhangup": 58, "quotactl": 60,
        "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
        "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162,
        "settimeofday": 170, "adjtimex": 171, "socket": 198, "add_key": 217, "request_key": 218, "keyctl": 219,
        "clone": 220, "execve": 221, "execveat": 281,
        "swapon": 224, "swapoff": 225, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238,
        "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294, **_COMMON,
    }),
}  # fmt: skip

Instruction = tuple[int, int, int, int]
"""Operation, how far to jump if true, how far if false, operand."""


@cache
def filter_for(machine: str | None = None) -> bytes:
    """The filter for a machine's architecture (this one's unless told), as an array of `struct sock_filter`.

    Raises:
        Refused: the architecture has no table here.
    """
    name = machine or platform.machine()
    if name not in _TABLES:
        raise Refused(
            f"the sandbox knows no system-call table for {name}",
            hint=f'known are {", ".join(sorted(_TABLES))}; or use [sandbox] backend = "container"',
        )
    return assemble(program(*_TABLES[name], x32=name == "x86_64"))


@cache
def seal_for(machine: str | None = None) -> bytes:
    """What a parser puts over itself once it runs: threads, but no further process, no other program, no socket.

    Raises:
        Refused: the architecture has no table here.
    """
    filter_for(machine)
    architecture, numbers = _TABLES[machine or platform.machine()]
    refuse = _ERRNO | errno.EPERM
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for name in ("fork", "vfork", "execve", "execveat", "socket"):
        if name in numbers:
            code += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, refuse)]
    code += [(_EQUAL, 0, 4, numbers["clone"]), _argument(0), (_AND, 0, 1, _THREAD)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse), (_RETURN, 0, 0, _ALLOW)]
    return assemble(code)


def assemble(instructions: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def program(architecture: int, numbers: dict[str, int], *, x32: bool) -> list[Instruction]:
    """The policy as instructions; every block leaves the call's number in the accumulator or returns."""
    refuse = _ERRNO | errno.EPERM
    missing = _ERRNO | errno.ENOSYS
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        # Above the newest known call, which includes the second numbering (x32) of x86.
        (_GREATER, 0, 1, _NEWEST),
        (_RETURN, 0, 0, missing),
    ]
    assert not x32 or _NEWEST < 0x40000000
    for name in _ABSENT:
        code += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, missing)]
    for name in _DENIED:
        if name in numbers:
            code += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, refuse)]
    blocks: list[tuple[str, list[Instruction]]] = [
        ("clone", _if_any_bit(0, _NAMESPACES, refuse)),
        ("personality", _unless_one_of(0, (0, 8, 0xFFFFFFFF), refuse)),
        ("ioctl", _if_one_of(1, _TERMINAL, refuse)),
        ("socket", _unless_one_of(0, _FAMILIES, _ERRNO | errno.EAFNOSUPPORT)),
        ("chmod", _if_any_bit(1, _SET_ID, refuse)),
        ("fchmod", _if_any_bit(1, _SET_ID, refuse)),
        ("fchmodat", _if_any_bit(2, _SET_ID, refuse)),
        ("fchmodat2", _if_any_bit(2, _SET_ID, refuse)),
        ("creat", _if_any_bit(1, _SET_ID, refuse)),
        ("mknod", _if_any_bit(1, _SET_ID, refuse)),
        ("mknodat", _if_any_bit(2, _SET_ID, refuse)),
        ("open", _if_created_with(1, 2, refuse)),
        ("openat", _if_created_with(2, 3, refuse)),
    ]
    for name, block in blocks:
        if name in numbers:
            code += [(_EQUAL, 0, len(block), numbers[name]), *block]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _if_any_bit(index: int, mask: int, verdict: int) -> list[Instruction]:
    return [_argument(index), (_AND, 0, 1, mask), (_RETURN, 0, 0, verdict), (_RETURN, 0, 0, _ALLOW)]


def _if_one_of(index: int, values: tuple[int, ...], verdict: int) -> list[Instruction]:
    tests = [part for value in values for part in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, verdict))]
    return [_argument(index), *tests, (_RETURN, 0, 0, _ALLOW)]


def _unless_one_of(index: int, values: tuple[int, ...], verdict: int) -> list[Instruction]:
    tests = [part for value in values for part in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]
    return [_argument(index), *tests, (_RETURN, 0, 0, verdict)]


def _if_created_with(flags: int, mode: int, verdict: int) -> list[Instruction]:
    """Where a file is made, its mode may not have the set-id bits; else the mode means nothing."""
    return [
        _argument(flags),
        (_AND, 1, 0, _CREATES),
        (_RETURN, 0, 0, _ALLOW),
        *_if_any_bit(mode, _SET_ID, verdict),
    ]
