"""The system-call filter, run by an interpreter of its own for both architectures."""

import errno
import struct

import pytest

from tawny.errors import Refused
from tawny.sandbox.seccomp import filter_for

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = (0x50000 | number for number in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    "x86_64": {"read": 0, "open": 2, "mmap": 9, "ioctl": 16, "socket": 41, "clone": 56, "chmod": 90, "ptrace": 101,
               "personality": 135, "mount": 165, "openat": 257, "unshare": 272, "bpf": 321},
    "aarch64": {"read": 63, "mmap": 222, "ioctl": 29, "socket": 198, "clone": 220, "ptrace": 117, "personality": 92,
                "mount": 40, "openat": 56, "unshare": 97, "bpf": 280},
}  # fmt: skip


def judge(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would decide: classic BPF over `struct seccomp_data`."""
    padded = [argument & (2**64 - 1) for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number, ARCH[machine] if arch is None else arch, 0, *padded)
    code = [
        struct.unpack("=HBBI", filter_for(machine)[i : i + 8]) for i in range(0, len(filter_for(machine)), 8)
    ]
    at = accumulator = 0
    while True:
        operation, yes, no, operand = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x06:
            return operand
        else:
            holds = {
                0x15: accumulator == operand,
                0x25: accumulator > operand,
                0x45: bool(accumulator & operand),
            }
            at += yes if holds[operation] else no


both = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


@both
def test_ordinary_calls_pass(machine: str) -> None:
    calls = CALLS[machine]
    for name in ("read", "mmap"):
        assert judge(machine, calls[name]) == ALLOW
    assert judge(machine, calls["clone"], 0x01200011) == ALLOW
    assert judge(machine, calls["ioctl"], 0, 0x5413) == ALLOW
    for family in (1, 2, 10):
        assert judge(machine, calls["socket"], family, 1) == ALLOW
    assert (
        judge(machine, calls["openat"], -100, 0, 0, 0o6777) == ALLOW
    )  # nothing is made: the mode means nothing
    assert judge(machine, calls["openat"], -100, 0, 0o101, 0o644) == ALLOW
    assert judge(machine, calls["personality"], 0) == ALLOW
    assert judge(machine, calls["personality"], 0xFFFFFFFF) == ALLOW


@both
def test_the_rest_does_not(machine: str) -> None:
    calls = CALLS[machine]
    for name in ("ptrace", "mount", "unshare", "bpf"):
        assert judge(machine, calls[name]) == EPERM
    for flag in (0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x08000000):
        assert judge(machine, calls["clone"], flag | 17) == EPERM
    assert judge(machine, calls["ioctl"], 0, 0x5412) == EPERM
    assert judge(machine, calls["ioctl"], 0, 0x541C) == EPERM
    for family in (16, 17, 38, 40):
        assert judge(machine, calls["socket"], family, 3) == EAFNOSUPPORT
    assert judge(machine, calls["openat"], -100, 0, 0o101, 0o4755) == EPERM
    assert judge(machine, calls["openat"], -100, 0, 0o20200000, 0o2755) == EPERM
    assert judge(machine, calls["personality"], 0x0040000) == EPERM
    assert judge(machine, 435) == ENOSYS  # clone3, whose flags cannot be looked at
    assert judge(machine, 437) == ENOSYS  # openat2
    assert judge(machine, 463) == ENOSYS  # newer than this table
    assert judge(machine, 0x40000000) == ENOSYS  # x32
    assert judge(machine, 452, -100, 0, 0o4755) == EPERM


@both
def test_another_architecture_is_killed(machine: str) -> None:
    assert judge(machine, 0, arch=0x40000003) == KILL


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(Refused, match="riscv64"):
        filter_for("riscv64")
