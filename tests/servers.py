"""Real servers for tests, each on a free port of this machine, each ended with its test."""

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended at once with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return
        time.sleep(0.02)
    pytest.fail(f"nothing answers on port {port} after {seconds} s")


async def reap(process: asyncio.subprocess.Process) -> int:
    """Kill a child that was started with pipes, wait for it, and close our ends; how it ended.

    To wait is not enough: the ends are closed when they were read to the last byte, which comes after the child's end,
    or never while a child of its own holds them. What is open outlives the loop, and fails whatever test runs when it
    is collected.
    """
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    try:
        return await process.wait()
    finally:
        process._transport.close()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@contextlib.contextmanager
def running(argv: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_login(port: int, *, seconds: float = 15) -> None:
    """Dovecot listens before it can authenticate: wait until it can."""
    import imaplib

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            box = imaplib.IMAP4("127.0.0.1", port, timeout=5)
            try:
                box.login("ann", "pw")
                return
            finally:
                box.logout()
        time.sleep(0.05)
    pytest.fail(f"nobody can log in on port {port} after {seconds} s")


@dataclass
class Dav:
    """A Radicale with the user `ann`, password `pw`."""

    port: int
    root: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: str = "", **headers: str) -> int:
        import httpx

        with httpx.Client(trust_env=False, auth=("ann", "pw")) as http:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return http.request(method, self.url + path, content=body.encode(), headers=names).status_code

    def make_calendar(self, name: str = "work") -> str:
        body = (
            '<?xml version="1.0"?><c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set>'
            f"<d:prop><d:displayname>{name}</d:displayname></d:prop></d:set></c:mkcalendar>"
        )
        assert self.request("MKCALENDAR", f"/ann/{name}/", body) == 201
        return f"caldav://ann@127.0.0.1:{self.port}/ann/{name}/"

    def make_addressbook(self, name: str = "people") -> str:
        body = (
            '<?xml version="1.0"?><d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:set><d:prop>'
            "<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype></d:prop></d:set></d:mkcol>"
        )
        assert self.request("MKCOL", f"/ann/{name}/", body) == 201
        return f"carddav://ann@127.0.0.1:{self.port}/ann/{name}/"

    def put(self, path: str, body: str, kind: str = "text/calendar") -> None:
        assert self.request("PUT", path, body, content_type=kind) in (201, 204)


@contextlib.contextmanager
def radicale(folder: Path) -> Iterator[Dav]:
    pytest.importorskip("radicale", reason="Radicale is not installed (uv sync installs it)")
    port = free_port()
    users = folder / "users"
    users.write_text("ann:pw\n")
    argv = [sys.executable, "-m", "radicale", "--config", "", "--server-hosts", f"127.0.0.1:{port}"]
    argv += ["--auth-type", "htpasswd", "--auth-htpasswd-filename", str(users)]
    argv += ["--auth-htpasswd-encryption", "plain", "--auth-delay", "0"]
    argv += ["--storage-filesystem-folder", str(folder / "dav")]
    with running(argv, port):
        yield Dav(port, folder / "dav")


@dataclass
class Imap:
    """A Dovecot with the user `ann`, password `pw`, mail in `maildir`."""

    port: int
    maildir: Path
    tls_port: int = 0

    @property
    def url(self) -> str:
        return f"imap://ann@127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.maildir.parent / "dovecot.log"

    @property
    def tls_url(self) -> str:
        return f"imaps://ann@127.0.0.1:{self.tls_port}"

    def deliver(self, message: bytes, *, name: str, seen: bool = False) -> None:
        folder = self.maildir / ("cur" if seen else "new")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (f"{name}:2,S" if seen else name)).write_bytes(message)
        if os.geteuid() == 0:
            for path in (self.maildir, folder, *folder.iterdir()):
                # The server may have taken a mail from `new` meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    os.chown(path, _MAIL_UID, _MAIL_GID)


_MAIL_UID, _MAIL_GID = 65534, 65534


def self_signed(folder: Path, name: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A certificate for a name that nobody has signed, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name.partition(':')[2]}",
    ]
    argv += ["-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


def _dovecot() -> str | None:
    return shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")


def has_dovecot() -> bool:
    return _dovecot() is not None


@contextlib.contextmanager
def dovecot(folder: Path, *, certificate: tuple[Path, Path] | None = None) -> Iterator[Imap]:
    program = _dovecot()
    if program is None:
        pytest.skip("dovecot is not installed (Debian: apt-get install dovecot-imapd)")
    port, tls_port = free_port(), free_port() if certificate else 0
    me = pwd.getpwuid(os.geteuid()).pw_name
    root = os.geteuid() == 0
    if root:
        # Dovecot refuses to serve mail as root: it serves as nobody, who must reach the folder.
        for parent in (folder, *folder.parents):
            if parent in (Path("/"), Path("/tmp")):
                break
            parent.chmod(parent.stat().st_mode | 0o011)
    maildir = folder / "ann"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    run = folder / "run"
    run.mkdir()
    run.chmod(0o755)
    (folder / "users").write_text("ann:{PLAIN}pw\n")
    (folder / "users").chmod(0o644)
    login = "nobody" if root else me
    uid, gid = (_MAIL_UID, _MAIL_GID) if root else (os.geteuid(), os.getegid())
    if root:
        for path in (maildir, *maildir.iterdir()):
            os.chown(path, uid, gid)
    tls = (
        f"ssl = yes\nssl_cert = <{certificate[0]}\nssl_key = <{certificate[1]}" if certificate else "ssl = no"
    )
    (folder / "dovecot.conf").write_text(f"""
base_dir = {run}
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
{tls}
disable_plaintext_auth = no
default_internal_user = {"dovecot" if root else me}
default_internal_group = {"dovecot" if root else "root" if me == "root" else me}
default_login_user = {"dovenull" if root else login}
first_valid_uid = 1
mail_location = maildir:{maildir}
mail_uid = {uid}
mail_gid = {gid}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
  chroot =
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={maildir}
}}
""")
    with running([program, "-F", "-c", str(folder / "dovecot.conf")], port):
        wait_for_login(port)
        yield Imap(port, maildir, tls_port)


@contextlib.contextmanager
def mail_server(*, certificate: tuple[Path, Path] | None = None) -> Iterator[Imap]:
    """A Dovecot in a folder of its own: pytest closes its own again, to the user Dovecot runs as, with each session."""
    with (
        tempfile.TemporaryDirectory(prefix="tawny-dovecot-", ignore_cleanup_errors=True) as folder,
        dovecot(Path(folder), certificate=certificate) as server,
    ):
        yield server


@dataclass
class Site:
    """A small web server: what it serves by path, and what it was asked."""

    port: int
    pages: dict[str, bytes | Callable[[], bytes] | tuple[int, dict[str, str], bytes]] = field(
        default_factory=dict[str, Any]
    )
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    bodies: list[bytes] = field(default_factory=list[bytes])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def website() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            site.asked.append((self.command, self.path))
            site.bodies.append(self.rfile.read(int(self.headers.get("content-length") or 0)))
            page = site.pages.get(self.path.partition("?")[0], (404, {}, b"not here"))
            page = page() if callable(page) else page
            status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        do_GET = do_POST = do_PROPFIND = do_REPORT = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(server.server_address[1])
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Counting:
    """A proxy in front of a web server that counts requests by method."""

    port: int
    counts: dict[str, int] = field(default_factory=dict[str, int])


@contextlib.contextmanager
def counting(target: int) -> Iterator[Counting]:
    import http.client

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            seen.counts[self.command] = seen.counts.get(self.command, 0) + 1
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", target, timeout=10)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if (
                    name.lower()
                    not in (
                        "content-length",
                        "transfer-encoding",
                        "connection",
                        "content-encoding",
                    )
                    or name.lower() == "content-encoding"
                ):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            upstream.close()

        do_GET = do_PUT = do_OPTIONS = do_PROPFIND = do_REPORT = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen = Counting(server.server_address[1])
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _postgres_programs() -> Path:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    return versions[-1].parent


def _as_postgres() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as its own user."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL cannot run as root, and there is no user postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """A PostgreSQL of our own on a free port; `url` is that of its maintenance database."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """`durable` syncs each commit to the disk, which tests do without."""
        self._durable = durable
        self._programs, self._identity, self._folder = _postgres_programs(), _as_postgres(), folder
        self._port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://tawny@127.0.0.1:{self._port}/postgres"
        if self._identity:
            os.chown(folder, self._identity["user"], self._identity["group"])
        folder.chmod(0o700)
        argv = [self._programs / "initdb", "-D", folder / "data", "-U", "tawny", "-A", "trust", "--no-sync"]
        argv += ["-E", "UTF8", "--locale=C"]
        subprocess.run(argv, check=True, capture_output=True, cwd=folder, **self._identity)

    def start(self) -> None:
        argv = [self._programs / "postgres", "-D", self._folder / "data", "-p", str(self._port)]
        argv += ["-k", self._folder, "-c", "listen_addresses=127.0.0.1"]
        argv += ["-c", "max_connections=300", "-c", f"fsync={'on' if self._durable else 'off'}"]
        deadline = time.monotonic() + 60
        while True:
            self._server = subprocess.Popen(
                argv,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                **self._identity,
            )
            # After a kill, what is left of the one before keeps its memory for a moment.
            if _wait_for_postgres(self.url, self._server):
                return
            if time.monotonic() > deadline:
                pytest.fail("PostgreSQL does not answer")
            time.sleep(0.1)

    def kill(self) -> None:
        """As a power cut would, but for the disk."""
        assert self._server is not None
        self._server.kill()
        self._server.wait(20)

    def stop(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(20)


@contextlib.contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Postgres]:
    """A running PostgreSQL of our own, to be killed and started again at will."""
    folder = Path(tempfile.mkdtemp(prefix="tawny-pg-"))
    try:
        server = Postgres(folder, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres(*, fsync: bool = False) -> Iterator[str]:
    """A PostgreSQL of our own on a free port; the URL of its maintenance database. Benchmarks want `fsync`."""
    with postgres_server(durable=fsync) as server:
        yield server.url


def _wait_for_postgres(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Whether it has come to answer; `False` when it has ended instead."""
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                return False
            if time.monotonic() > deadline:
                pytest.fail("PostgreSQL does not answer")
            time.sleep(0.05)
        else:
            return True


_numbers = itertools.count()


@contextlib.contextmanager
def database(url: str) -> Iterator[str]:
    """A fresh database on a running PostgreSQL; its URL."""
    import psycopg

    name = f"tawny_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    try:
        yield url.rsplit("/", 1)[0] + f"/{name}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """An MQTT broker that lets anybody in; its port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with running([program, "-c", str(config)], port):
        yield port
