"""Escape probes: small programs that try to get out, and say ESCAPED when they have.

Each is first shown to succeed with the sandbox switched off (where that harms nobody), so that its silence inside means
something. `{name}` in a probe is filled from the trap that is laid around the sandbox.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.commands import Commands
from tawny.sandbox.order import MEGABYTE, Limits, Order

PYTHON = "/usr/bin/python3"
pytestmark = [
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
    pytest.mark.skipif(not os.path.exists(PYTHON), reason="the probes need /usr/bin/python3"),
]

SECRET = "c4nary-7f1e"
HEAD = """
import ctypes, os, socket, struct, sys, time, errno, fcntl, glob, stat
libc = ctypes.CDLL(None, use_errno=True)
def escaped(): print("ESCAPED", flush=True); os._exit(0)
"""

PROBES = {
    "read_the_ssh_key": "if '{secret}' in open('{home}/.ssh/id_ed25519').read(): escaped()",
    "read_the_ledger": "if '{secret}' in open('{home}/state.db').read(): escaped()",
    "read_the_owners_token": "if '{secret}' in open('{home}/token').read(): escaped()",
    "list_the_home_above_the_workspace": "if 'token' in os.listdir('{home}'): escaped()",
    "read_other_environments": """
        for path in glob.glob('/proc/[0-9]*/environ'):
            try:
                if b'{secret}' in open(path, 'rb').read(): escaped()
            except OSError: pass
    """,
    "read_through_proc_roots": """
        for path in glob.glob('/proc/[0-9]*/root'):
            try:
                if '{secret}' in open(path + '{home}/token').read(): escaped()
            except OSError: pass
    """,
    "find_the_secret_in_the_environment": "if '{secret}' in str(os.environ): escaped()",
    "find_an_inherited_descriptor": """
        for name in os.listdir('/proc/self/fd'):
            try:
                if int(name) > 2 and os.read(int(name), 100) == b'{secret}': escaped()
            except OSError: pass
    """,
    "signal_a_process_outside": "os.kill({victim}, 0); escaped()",
    "ptrace_a_process_outside": """
        if libc.ptrace(16, {victim}, 0, 0) == 0:
            os.waitpid({victim}, 0x40000000); libc.ptrace(17, {victim}, 0, 0); escaped()
    """,
    "read_memory_of_a_process_outside": "open('/proc/{victim}/mem', 'rb'); escaped()",
    "connect_to_the_gateways_socket": "socket.socket(socket.AF_UNIX).connect('{home}/g.sock'); escaped()",
    "connect_to_an_abstract_socket": "socket.socket(socket.AF_UNIX).connect('\\0{abstract}'); escaped()",
    "connect_to_a_socket_like_dockers": "socket.socket(socket.AF_UNIX).connect('{outside}/docker.sock'); escaped()",
    "write_outside_the_workspace": "open('{outside}/new', 'w').write('x'); escaped()",
    "write_into_the_system": """
        open('/usr/share/tawny-probe', 'w').write('x'); os.unlink('/usr/share/tawny-probe'); escaped()
    """,
    "link_a_file_in_from_outside": "os.link('{outside}/secret', '{workspace}/l'); escaped()",
    "reach_outside_by_a_symbolic_link": """
        os.symlink('{outside}/secret', '{workspace}/s')
        if '{secret}' in open('{workspace}/s').read(): escaped()
    """,
    "mount_something": """
        os.makedirs('{workspace}/m')
        if libc.mount(b'none', b'{workspace}/m', b'tmpfs', 0, None) == 0:
            libc.umount(b'{workspace}/m'); escaped()
    """,
    "make_namespaces_again": "\nif libc.unshare(0x10000000) == 0: escaped()",
    "clone_into_namespaces": """
        pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
        if pid == 0: os._exit(0)
        if pid > 0: escaped()
    """,
    "change_the_root": "os.chroot('/usr'); escaped()",
    "make_a_setuid_file": """
        open('{workspace}/x', 'w').close(); os.chmod('{workspace}/x', 0o4755)
        if os.stat('{workspace}/x').st_mode & stat.S_ISUID: escaped()
    """,
    "create_a_file_as_setuid": """
        os.umask(0); os.close(os.open('{workspace}/y', os.O_CREAT | os.O_WRONLY, 0o4755))
        if os.stat('{workspace}/y').st_mode & stat.S_ISUID: escaped()
    """,
    "gain_privileges_by_a_setuid_program": """
        if 'NoNewPrivs:\\t0' in open('/proc/self/status').read(): escaped()
    """,
    "hold_capabilities": """
        caps = [l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm', 'CapBnd'))]
        if any(int(c, 16) for c in caps): escaped()
    """,
    "make_a_device": """
        os.mknod('{workspace}/d', 0o600 | stat.S_IFCHR, os.makedev(1, 3)); open('{workspace}/d'); escaped()
    """,
    "use_the_kernels_keyrings": "\nif libc.syscall(248, b'user', b'tawny-probe', b'x', 1, -4) > 0: escaped()",
    "set_up_io_uring": "\nif libc.syscall(425, 4, ctypes.create_string_buffer(120)) >= 0: escaped()",
    "look_at_performance_counters": """
        attr = ctypes.create_string_buffer(struct.pack('=IIQ', 1, 128, 0), 128)
        if libc.syscall(298, attr, 0, -1, -1, 0) >= 0: escaped()
    """,
    "connect_to_the_machine": "socket.create_connection(('127.0.0.1', {port}), 2); escaped()",
    "connect_to_the_machine_by_its_address": "socket.create_connection(('{address}', {port_any}), 2); escaped()",
    "send_datagrams_as_a_tunnel": """
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
        s.sendto(b'x', ('127.0.0.1', {udp}))
        if s.recv(10) == b'pong': escaped()
    """,
    "ask_the_proxy_for_the_machine": """
        import urllib.request
        if b'hit' in urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=5).read(): escaped()
    """,
    "open_a_raw_socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); escaped()",
    "talk_netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); escaped()",
    "change_a_kernel_setting": "open('/proc/sys/kernel/core_pattern', 'w').close(); escaped()",
    "read_the_kernels_log": "\nif libc.klogctl(3, ctypes.create_string_buffer(100), 100) >= 0: escaped()",
    "reach_the_control_groups": "\nif os.listdir('/sys/fs/cgroup'): escaped()",
    "share_memory_with_outside": "\nif libc.shmget({shm}, 0, 0) >= 0: escaped()",
    "rename_the_machine": "n = os.uname().nodename.encode()\nif libc.sethostname(n, len(n)) == 0: escaped()",
    "load_a_program_into_the_kernel": """
        attr = ctypes.create_string_buffer(struct.pack('=IIIII', 2, 4, 4, 1, 0), 128)
        if libc.syscall(321, 0, attr, 128) >= 0: escaped()
    """,
    "clone_into_namespaces_the_newer_way": """
        args = ctypes.create_string_buffer(struct.pack('=QQQQQQQQ', 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64)
        pid = libc.syscall(435, args, 64)
        if pid == 0: os._exit(0)
        if pid > 0: escaped()
    """,
    "mount_something_the_newer_way": "\nif libc.syscall(430, b'tmpfs', 0) >= 0: escaped()",
    "take_the_mounts_as_they_are": "\nif libc.syscall(428, -100, b'/', 1) >= 0: escaped()",
    "take_a_descriptor_of_a_process_outside": """
        pidfd = os.pidfd_open({victim})
        if libc.syscall(438, pidfd, 1, 0) >= 0: escaped()
    """,
    "take_a_descriptor_of_a_child": """
        import subprocess
        child = subprocess.Popen(['sleep', '60'])
        taken = libc.syscall(438, os.pidfd_open(child.pid), 1, 0)
        child.kill()
        if taken >= 0: escaped()
    """,
    "copy_memory_of_a_process_outside": """
        into = ctypes.create_string_buffer(8)
        maps = open('/proc/{victim}/maps').readline()
        local = (ctypes.c_void_p * 2)(ctypes.cast(into, ctypes.c_void_p).value, 8)
        remote = (ctypes.c_void_p * 2)(int(maps.split('-')[0], 16), 8)
        if libc.syscall(310, {victim}, local, 1, remote, 1, 0) == 8: escaped()
    """,
    "catch_page_faults": "\nif libc.syscall(323, 0) >= 0: escaped()",
    "change_the_descriptor_table_of_the_processor": """
        if libc.syscall(154, 0, ctypes.create_string_buffer(64), 64) >= 0: escaped()
    """,
    "switch_the_shuffling_of_addresses_off": "\nif libc.personality(0x0040000) >= 0: escaped()",
    "pull_the_emergency_brake": "open('/proc/sysrq-trigger', 'w').close(); escaped()",
    "read_the_kernels_memory": "\nif open('/proc/kcore', 'rb').read(4) == b'\\x7fELF': escaped()",
    "write_into_the_kernels_log": "os.open('/dev/kmsg', os.O_WRONLY); escaped()",
    "use_the_kernels_ciphers": "socket.socket(38, socket.SOCK_SEQPACKET, 0); escaped()",
    "talk_to_the_hypervisor": "socket.socket(40, socket.SOCK_STREAM, 0); escaped()",
    "climb_by_the_working_folder": "os.chdir('{workspace}')\nif 'token' in os.listdir('/proc/self/cwd/..'): escaped()",
    "change_a_standing_order_by_a_second_name": """
        os.link('{workspace}/skills/good.md', '{workspace}/second')
        open('{workspace}/second', 'w').write('x'); escaped()
    """,
    "move_the_standing_orders_away": """
        os.rename('{workspace}/skills', '{workspace}/aside'); os.mkdir('{workspace}/skills'); escaped()
    """,
    "change_the_standing_orders": "open('{workspace}/skills/evil.md', 'w').write('x'); escaped()",
    "fork_without_end": """
        n = 0
        try:
            while n < 300:
                if os.fork() == 0: time.sleep(20); os._exit(0)
                n += 1
        except OSError: pass
        if n >= 200: escaped()
    """,
    "allocate_without_end": """
        x = bytearray(600 * 1024 * 1024)
        for i in range(0, len(x), 4096): x[i] = 1
        escaped()
    """,
    "write_a_file_without_end": "os.truncate(os.open('{workspace}/big', os.O_CREAT | os.O_RDWR), 10 << 30); escaped()",
    "open_files_without_end": "f = [os.open('/dev/null', 0) for _ in range(900)]; escaped()",
    "compute_without_end": """
        end = time.process_time() + 4
        while time.process_time() < end: pass
        escaped()
    """,
}

# These need a terminal of their own, see below.
_TERMINAL = {
    "inject_keystrokes": "fcntl.ioctl(0, 0x5412, b'x'); escaped()",
    "load_a_driver_for_the_terminal": "fcntl.ioctl(0, 0x5423, struct.pack('i', 0)); escaped()",
}

# What an ordinary user could not do outside either, so that only root shows the difference.
_ONLY_ROOT = {
    "write_into_the_system", "mount_something", "change_the_root", "make_a_device", "open_a_raw_socket",
    "change_a_kernel_setting", "read_the_kernels_log", "rename_the_machine", "hold_capabilities",
    "ptrace_a_process_outside", "look_at_performance_counters", "load_a_program_into_the_kernel",
    "mount_something_the_newer_way", "take_the_mounts_as_they_are", "catch_page_faults", "pull_the_emergency_brake",
    "read_the_kernels_memory", "write_into_the_kernels_log",
}  # fmt: skip
# What is not in every kernel, or not in every container; where it is not, there is nothing to keep from it.
_MAY_LACK = {
    "read_the_kernels_memory", "use_the_kernels_ciphers", "talk_to_the_hypervisor", "write_into_the_kernels_log",
    "change_the_descriptor_table_of_the_processor", "load_a_program_into_the_kernel", "catch_page_faults",
    "pull_the_emergency_brake",
}  # fmt: skip

LIMITS = Limits(
    memory=256 * MEGABYTE, processes=64, file_size=64 * MEGABYTE, open_files=256, cpu_seconds=2, seconds=20
)


class Trap(contextlib.AbstractContextManager["Trap"]):
    """Things worth stealing, laid out around the sandbox."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.workspace = self.home / "workspace"
        self.outside = folder / "outside"
        for place in (self.workspace / "skills", self.outside, self.home / ".ssh"):
            place.mkdir(parents=True)
        for path in (".ssh/id_ed25519", "state.db", "token"):
            (self.home / path).write_text(SECRET)
        (self.outside / "secret").write_text(SECRET)
        (self.workspace / "skills" / "good.md").write_text("an order")
        self.stack = contextlib.ExitStack()
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> "Trap":
        stack = self.stack
        self.victim = subprocess.Popen(["sleep", "600"], env={"SECRET": SECRET})
        stack.callback(self.victim.wait)
        stack.callback(self.victim.kill)
        self.abstract = f"tawny-probe-{os.getpid()}-{id(self)}"
        for address in (str(self.home / "g.sock"), "\0" + self.abstract, str(self.outside / "docker.sock")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        self.http = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.everywhere = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        for serve in (self.answer_http, self.answer_udp):
            thread = threading.Thread(target=serve)
            thread.start()
            self.threads.append(thread)
        # Left open for children by a careless gateway.
        read, write = os.pipe()
        os.write(write, SECRET.encode())
        os.set_inheritable(read, True)
        stack.callback(os.close, write)
        stack.callback(os.close, read)
        libc = ctypes.CDLL(None, use_errno=True)
        self.shm_key = 0x7A000000 + os.getpid() % 0xFFFFFF
        shared = libc.shmget(self.shm_key, 4096, 0o1666)
        stack.callback(libc.shmctl, shared, 0, None)
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (self.http, self.udp):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.stack.close()

    def answer_http(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.http.accept()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhit")
                connection.close()

    def answer_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, sender = self.udp.recvfrom(100)
                if not sender:
                    return  # it has been shut down
                self.udp.sendto(b"pong", sender)

    def fill(self, probe: str) -> str:
        values = {
            "secret": SECRET,
            "home": self.home,
            "outside": self.outside,
            "workspace": self.workspace,
            "victim": self.victim.pid,
            "abstract": self.abstract,
            "port": self.http.getsockname()[1],
            "port_any": self.everywhere.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "address": _own_address(),
            "shm": self.shm_key,
        }
        text = textwrap.dedent(probe)
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return HEAD + text

    def order(self, probe: str, *, pty: bool = False, limits: Limits = LIMITS) -> Order:
        return Order(
            argv=(PYTHON, "-c", self.fill(probe)),
            cwd=str(self.workspace),
            writable=(str(self.workspace),),
            protected=(str(self.workspace / "skills"),),
            pty=pty,
            limits=limits,
        )


def _own_address() -> str:
    """An address of this machine that is not loopback, else loopback's second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.2"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    monkeypatch.setenv("GATEWAY_SECRET", SECRET)
    with Trap(tmp_path) as laid:
        yield laid


async def _run(commands: Commands, order: Order) -> str:
    _, output = await commands.run("probe", order)
    return output["output"].decode(errors="replace")


@pytest.mark.parametrize("name", PROBES)
async def test_no_probe_escapes(name: str, trap: Trap, tmp_path: Path) -> None:
    said = await _run(Commands(tmp_path / "run", Bubblewrap()), trap.order(PROBES[name]))
    assert "ESCAPED" not in said, said
    assert "SyntaxError" not in said
    assert "NameError" not in said
    assert SECRET not in said.replace(str(trap.home), "")


@pytest.mark.parametrize("name", _TERMINAL)
async def test_a_terminal_is_no_way_out(name: str, trap: Trap, tmp_path: Path) -> None:
    said = await _run(Commands(tmp_path / "run", Bubblewrap()), trap.order(_TERMINAL[name], pty=True))
    assert "Operation not permitted" in said


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_can_escape_where_there_is_no_sandbox(name: str, trap: Trap) -> None:
    """The same program, run as a careless gateway would: it must succeed, or its silence inside proves nothing."""
    if name in _ONLY_ROOT and os.geteuid() != 0:
        pytest.skip("only root could do this outside")
    done = subprocess.run(
        [PYTHON, "-c", trap.fill(PROBES[name])],
        capture_output=True,
        text=True,
        close_fds=False,
        timeout=60,
        check=False,
    )
    with contextlib.suppress(OSError):
        os.unlink(trap.workspace / "big")
    if name in _MAY_LACK and "ESCAPED" not in done.stdout:
        pytest.skip(f"this kernel has no such thing: {done.stderr.strip().splitlines()[-1:]}")
    assert "ESCAPED" in done.stdout, done.stderr


def test_there_are_more_than_thirty_probes() -> None:
    assert len(PROBES) >= 30
