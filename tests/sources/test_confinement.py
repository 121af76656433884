"""What strangers wrote is parsed in the sandbox: whatever takes a parser over gets nowhere from there.

The hostile page here is the takeover: its text is run as a program in the very process that parses. Each probe is first
shown to succeed in a parser outside of the sandbox, where that harms nobody.
"""

import asyncio
import os
import shutil
import socket
import sys
import textwrap
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tawny import config
from tawny.app import parsers_of
from tawny.config import Config, Home, Sandbox, Source
from tawny.domain.calendar import day_span
from tawny.errors import PermanentError, Refused, TemporaryError
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.cell import Cell, interpreter_files, open_cell
from tawny.sandbox.order import Order
from tawny.sandbox.seatbelt import profile
from tawny.sources.children import Confined
from tawny.sources.place import NewEvent, Place, TextQuery, bare
from tawny.sources.shelf import Shelf
from tawny.sources.workers import Workers

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

SECRET = "c4nary-55d0"
PAGE = Place(noun="page", name="page", url="https://stranger.example/page")
TAKEOVER = """
import sys, types
from tawny.sources import worker
def read(place, query):
    said = {"place": place}
    exec(query.html, said)
    return said.get("escaped", "")
module = types.ModuleType("takeover")
module.read = read
sys.modules["takeover"] = module
worker.PARSING["page.text"] = ("takeover", "read", worker.TextQuery, None)
worker.main()
"""
PROBES = {
    "read_the_ssh_key": "escaped = open('{home}/.ssh/id_ed25519').read()",
    "read_the_ledger": "escaped = open('{home}/state.db').read()",
    "read_the_token": "escaped = open('{home}/token').read()",
    "list_the_workspace": "import os; escaped = str(os.listdir('{home}/workspace'))",
    "read_the_environment_of_the_gateway": """
        import glob
        for path in glob.glob('/proc/[0-9]*/environ'):
            try:
                if b'{secret}' in open(path, 'rb').read(): escaped = 'it is there'
            except OSError: pass
    """,
    "connect_to_the_machine": "import socket; socket.create_connection(('127.0.0.1', {port}), 2); escaped = 'in'",
    "send_a_datagram": """
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port})); escaped = 'sent'
    """,
    "connect_to_the_gateways_socket": """
        import socket
        socket.socket(socket.AF_UNIX).connect('{home}/g'); escaped = 'in'
    """,
    "fork": """
        import os
        child = os.fork()
        if child == 0: os._exit(0)
        os.waitpid(child, 0); escaped = 'forked'
    """,
    "start_a_program": "import subprocess; escaped = subprocess.run(['/bin/echo', 'ran'], capture_output=True).stdout",
    "become_a_program": "import os; os.execv('/bin/true', ['true'])",
    "signal_a_process_outside": "import os; os.kill({victim}, 0); escaped = 'signalled'",
    "write_into_the_package": "open('{home}/new', 'w').write('x'); escaped = 'written'",
    "find_an_inherited_descriptor": """
        import os
        for name in os.listdir('/proc/self/fd'):
            try:
                if int(name) > 2 and '{home}' in os.readlink('/proc/self/fd/' + name): escaped = name
            except OSError: pass
    """,
    "see_other_processes": "import os; escaped = '{victim}' if os.path.exists('/proc/{victim}/cmdline') else ''",
}
# These would harm the machine outside.
MORE = {
    "write_into_the_interpreter": "import msgspec; open(msgspec.__file__, 'a').close(); escaped = 'opened'",
    "write_into_our_own_code": "import tawny; open(tawny.__file__, 'a').close(); escaped = 'opened'",
    "bomb_with_forks": """
        import os
        made = 0
        try:
            while made < 200:
                if os.fork() == 0: os._exit(0)
                made += 1
        except OSError: pass
        escaped = str(made) if made else ''
    """,
    "fill_the_memory": "x = bytearray(1200 * 2**20); escaped = 'allocated'",
    "fill_the_temporary_folder": """
        import os
        written = 0
        try:
            for number in range(40):
                with open('/tmp/%d' % number, 'wb') as file: written += file.write(bytes(4 * 2**20))
        except OSError: pass
        escaped = str(written) if written > 100 * 2**20 else ''
    """,
    "fill_the_shared_memory": "open('/dev/shm/x', 'wb').write(b'x'); escaped = 'written'",
    "make_namespaces": """
        import ctypes
        if ctypes.CDLL(None).unshare(0x10000000) == 0: escaped = 'made'
    """,
    "loosen_the_filter": """
        import ctypes
        if ctypes.CDLL(None).prctl(22, 0, 0, 0, 0) == 0: escaped = 'loosened'
    """,
}


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A home with something to find, a server to reach, and a process to signal."""
    home = tmp_path / "home"
    for name in (".ssh/id_ed25519", "state.db", "token", "workspace/note"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(SECRET)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as gateway:
        gateway.bind(str(home / "g"))
        gateway.listen()
        yield {"home": home, "secret": SECRET, "port": server.getsockname()[1], "victim": os.getpid()}


async def takeover(workers: Workers, probe: str, trap: dict[str, object]) -> str:
    text = textwrap.dedent(probe)
    for name, value in trap.items():
        text = text.replace(f"{{{name}}}", str(value))
    return str(await workers.ask("page.text", PAGE, TextQuery(text)))


def open_workers(home: Path, **more: float) -> Workers:
    """Workers whose parsers run what a page says, in the sandbox."""

    def confine(_: Sequence[str]) -> Confined:
        return open_cell(Bubblewrap(), (sys.executable, "-I", "-c", TAKEOVER, "sealed"), keep_out=home)

    return Workers(wall=more.pop("wall", 60), confine=confine, **more)  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def inside(trap: dict[str, object]) -> AsyncGenerator[Workers]:
    workers = open_workers(Path(str(trap["home"])))
    yield workers
    await workers.close()


@pytest.fixture
async def outside(trap: dict[str, object]) -> AsyncGenerator[Workers]:
    """The same without a sandbox, and with a secret in the environment."""

    def plain(_: Sequence[str]) -> Confined:
        return Cell((sys.executable, "-I", "-c", TAKEOVER, "sealed"), {"KEY": str(trap["secret"])}, (), b"")

    workers = Workers(wall=60, confine=plain)
    yield workers
    await workers.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in our own environment."""
    monkeypatch.setenv("TAWNY_TEST_KEY", SECRET)


@pytest.mark.usefixtures("told")
async def test_what_takes_a_parser_over_gets_nowhere(trap: dict[str, object], inside: Workers):
    for name, probe in {**PROBES, **MORE}.items():
        [said] = await asyncio.gather(takeover(inside, probe, trap), return_exceptions=True)
        if isinstance(said, PermanentError):
            # Its own error, and not the end of the process: that would be how a program is become.
            assert "cannot be read (" in said.message or "more memory than" in said.message, (name, said)
            assert SECRET not in said.message, name
        else:
            assert said == "", (name, said)


async def test_the_probes_get_out_where_there_is_no_sandbox(trap: dict[str, object], outside: Workers):
    silent = {"become_a_program", "find_an_inherited_descriptor"}
    for name, probe in PROBES.items():
        if name not in silent:
            assert await takeover(outside, probe, trap), name


async def test_a_parser_may_use_threads_and_its_libraries(trap: dict[str, object], inside: Workers):
    probe = """
        import threading, icalendar, feedparser, lxml.etree, zoneinfo
        zoneinfo.ZoneInfo('Asia/Kolkata')
        found = []
        thread = threading.Thread(target=lambda: found.append('ran')); thread.start(); thread.join()
        escaped = found[0]
    """
    assert await takeover(inside, probe, trap) == "ran"


async def test_a_parser_that_takes_too_long_is_ended_with_all_it_has(trap: dict[str, object], tmp_path: Path):
    workers = open_workers(tmp_path / "home", wall=8)
    with pytest.raises(TemporaryError, match="took more than 8 s"):
        await takeover(workers, "import time; time.sleep(600)", trap)
    assert workers._parsers._idle == []
    assert await takeover(workers, "escaped = 'the next is read'", trap) == "the next is read"
    await workers.close()


async def test_a_parser_that_burns_the_processor_is_ended_and_named(trap: dict[str, object], tmp_path: Path):
    workers = open_workers(tmp_path / "home", cpu=1)
    with pytest.raises(PermanentError, match="keeps the processor busy"):
        await takeover(workers, "while True: pass", trap)
    await workers.close()


async def test_a_parser_is_not_asked_for_ever(trap: dict[str, object], tmp_path: Path):
    workers = open_workers(tmp_path / "home", most=3)
    stay = "import builtins; builtins.stayed = getattr(builtins, 'stayed', 0) + 1; escaped = str(builtins.stayed)"
    assert [await takeover(workers, stay, trap) for _ in range(4)] == ["1", "2", "3", "1"]
    await workers.close()


async def test_an_answer_that_is_none_is_an_error_of_its_source(trap: dict[str, object], inside: Workers):
    probe = """
        import os, struct
        for descriptor in range(3, 20):
            try: os.write(descriptor, struct.pack('>I', 5) + b'<no!>')
            except OSError: pass
    """
    with pytest.raises(PermanentError, match='page "page": what its reader answers is no answer'):
        await takeover(inside, probe, trap)


async def test_a_parser_is_told_no_secret(trap: dict[str, object], inside: Workers):
    place = Place(noun="mail", name="me", url="imaps://ann:pa55@mail.example.org/x?key=pa55", password="pa55")
    assert "pa55" not in str((bare(place).url, bare(place).password))
    said = await inside.ask(
        "page.text", place, TextQuery("escaped = place.url + place.password + place.label")
    )
    assert said == 'imaps://mail.example.org/xmail "me"'


async def test_without_a_sandbox_nothing_is_parsed_and_nothing_runs(tmp_path: Path):
    """Never without: the mend is named instead, also where bubblewrap starts and then fails."""
    broken = tmp_path / "bwrap"
    broken.write_text('#!/bin/sh\n[ "$2" = --ro-bind ] && exit 0\nexit 1\n')
    broken.chmod(0o755)
    ran = tmp_path / "ran"
    for program, said in (("/nonexistent/bwrap", "cannot be started"), (str(broken), "does not start")):
        workers = Workers(
            confine=lambda argv, program=program: open_cell(
                Bubblewrap(program=program), argv, keep_out=tmp_path / "home"
            )
        )
        with pytest.raises(Refused, match=said) as caught:
            await workers.ask("page.text", PAGE, TextQuery(f"open({str(ran)!r}, 'w')"))
        assert caught.value.hint
        await workers.close()
    assert not ran.exists()


def test_only_the_owners_word_gives_the_sandbox_up(tmp_path: Path):
    home = Home(tmp_path)
    assert parsers_of(home, Config()) is not None
    assert parsers_of(home, Config(sandbox=Sandbox(parsers="unconfined"))) is None


def test_what_a_parser_sees_holds_no_home(tmp_path: Path):
    """Files and folders of the interpreter, none of which holds a user's home."""
    assert not any(Path.home().is_relative_to(path) for path in interpreter_files())
    with pytest.raises(Refused, match="lies within"):
        open_cell(Bubblewrap(), ("true",), keep_out=Path(interpreter_files()[0]) / "home")


async def test_an_event_is_added_to_a_file_that_only_the_sandbox_has_read(tmp_path: Path):
    """The file is read outside, parsed and written anew inside, and stored outside."""
    (tmp_path / "a.ics").write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:old\r\nSUMMARY:Old\r\n"
        "DTSTART:20260302T100000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    workers = Workers(confine=parsers_of(Home(tmp_path / "tawny"), Config()))
    shelf = Shelf(config.Sources(calendar=(Source(url="a.ics"),)), root=tmp_path, workers=workers)
    noon = 1_772_452_800_000_000
    new = NewEvent(uid="new", title="New", start=noon, end=noon + 1)
    for title in ("New", "Newer"):
        await shelf.add_event(msgspec.structs.replace(new, title=title))
    start, end = day_span(date(2026, 3, 2), ZoneInfo("UTC"))
    assert [event.title for event in (await shelf.calendar("calendar", start, end)).items] == ["Old", "Newer"]
    await shelf.close()


def test_macos_lets_a_parser_start_nothing_but_itself():
    order = Order(argv=("/usr/bin/python3", "-I"), cwd="/", alone=True)
    last = profile(order).splitlines()[-3:]
    assert last == [
        "(deny process-fork)",
        "(deny process-exec*)",
        f'(allow process-exec (literal "{os.path.realpath("/usr/bin/python3")}"))',
    ]
