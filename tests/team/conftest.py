"""A team as its users have it: real processes, a real PostgreSQL, and a world outside that writes down what it got."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.team.driver import MAKE

import servers
from tawny.app import bundled_kinds
from tawny.cli.proof.kills import world
from tawny.clock import SystemClock
from tawny.config import Config, Home
from tawny.domain.tasks import Task
from tawny.engine.submit import parse_request
from tawny.ledger import tasks
from tawny.ledger.database import Tx, read_now, write_now
from tawny.ledger.postgres import PostgresStore
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import submit

DRIVER = Path(__file__).with_name("driver.py")
PATIENCE = 90.0
CLOCK = SystemClock()


@dataclass
class Found:
    """What the world says: `lost` effects, and ones that came again although a later step had been seen."""

    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)


@dataclass
class Sink:
    """The world outside; it keeps every request it got, in order, in a file of its own."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def entries(self, path: str) -> list[dict[str, Any]]:
        log = self.folder / "world.jsonl"
        if not log.exists():
            return []
        lines = [
            json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")
        ]
        return [entry for entry in lines if entry["path"] == path]

    def check(self, wanted: list[str], *, steps: int, late: Collection[str] = ()) -> Found:
        """Ask the world about simulated tasks: every step once, and no finished step again.

        A step in flight at a kill may come twice with one key, which its receiver drops; a step that comes again after
        a later one of its task was done over although it had been finished. Of tasks that a process held while it
        stood still, that one step may come `late`.
        """
        excused = set(late)
        found = Found()
        seen: dict[str, list[int]] = defaultdict(list)
        keys: dict[tuple[str, int], set[str]] = defaultdict(set)
        for entry in self.entries("/step"):
            body = json.loads(entry["body"])
            task_id, step = body["task_id"], int(body["step"])
            if any(later > step for later in seen[task_id]):
                if task_id in excused:
                    excused.remove(task_id)
                    continue
                found.repeated.append(f"{task_id}: step {step} after {seen[task_id]}")
            seen[task_id].append(step)
            keys[task_id, step].add(entry["key"])
        found.repeated += [
            f"{task} step {step}: keys {known}" for (task, step), known in keys.items() if len(known) > 1
        ]
        for task_id in wanted:
            missing = set(range(1, steps + 1)) - set(seen[task_id])
            if missing:
                found.lost.append(f"{task_id}: {sorted(missing)}")
        return found


class Process:
    """One process of the team."""

    def __init__(self, home: Path, argv: list[str], *, plugins: Path | None = None) -> None:
        """`plugins` is a folder of installed distributions beside the ones there are."""
        self.home = home
        path = {} if plugins is None else {"PYTHONPATH": str(plugins)}
        self._errors = (home / "stderr").open("a+")
        self.popen = subprocess.Popen(
            [sys.executable, *argv],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=home,
            env={**os.environ, **path},
        )
        self.address = ""

    def ready(self) -> "Process":
        """Wait for its word that it is ready."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if line.startswith("standing by"):
            line = self.popen.stdout.readline()
        if not line.startswith("ready "):
            pytest.fail(f"not ready: {line!r} {self.errors()}")
        self.address = line.split()[1]
        return self

    def errors(self) -> str:
        self._errors.flush()
        return (self.home / "stderr").read_text()

    def log(self) -> str:
        return "".join(file.read_text() for file in sorted((self.home / "logs").glob("*")))

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(20)

    def freeze(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(60)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(20)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self._errors.close()


class Team:
    """Homes of several machines on one database."""

    def __init__(self, folder: Path, url: str, sink: Sink) -> None:
        self.url = url
        self.sink = sink
        self.store = PostgresStore(url)
        self._folder = folder
        self.plugins: Path | None = None
        self.kinds = {**bundled_kinds(Home(folder / "kinds"), Config()), "make": MAKE}
        self._started: list[Process] = []

    def home(self, name: str) -> Path:
        """The home of a machine, with the one setting that makes it one of the team."""
        root = self._folder / name
        if not root.exists():
            root.mkdir(mode=0o700)
            (root / "config.toml").write_text(
                f'[ledger]\nurl = "{self.url}"\n\n[limits]\nconcurrency = 4\nmax_running_per_owner = 4\n'
                f'busy_load = 0.0\n\n[network]\nallow = ["127.0.0.1:{self.sink.port}"]\n'
                f'allow_private = ["127.0.0.1:{self.sink.port}"]\n'
            )
        return root

    def _start(self, name: str, argv: list[str]) -> Process:
        process = Process(self.home(name), argv, plugins=self.plugins)
        self._started.append(process)
        return process

    def gateway(self, name: str = "gateway", *more: str) -> Process:
        root = self.home(name)
        return self._start(name, ["-m", "tawny", "--home", str(root), "gateway", "run", "--port", "0", *more])

    def worker(self, name: str, *more: str) -> Process:
        root = self.home(name)
        return self._start(name, ["-m", "tawny", "--home", str(root), "worker", *more])

    def driver(self, name: str, *more: str) -> Process:
        """A worker that is not as it should be; see `driver.py`."""
        return self._start(name, [str(DRIVER), str(self.home(name)), *more])

    def close(self) -> None:
        for process in self._started:
            process.close()

    # --- what is asked of the ledger

    def submit(self, kind: str, **body: Any) -> str:
        request = parse_request({"kind": kind, **body}, kinds=self.kinds, now=CLOCK.now())
        return write_now(self.store, CLOCK, lambda tx: submit(tx, request)).task_id

    def simulate(self, count: int, *, steps: int = 4, seconds: float = 0.2, **more: Any) -> list[str]:
        params = {"steps": steps, "step_seconds": seconds, "effect_url": f"{self.sink.url}/step"}
        return [self.submit("simulate", params=params, **more) for _ in range(count)]

    def read(self, fn: Callable[[Tx], Any]) -> Any:
        return read_now(self.store, CLOCK, fn)

    def task(self, task_id: str) -> Task:
        return self.read(lambda tx: tasks.get(tx, task_id))

    def rows(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        return self.read(lambda tx: [dict(row) for row in tx.all(sql, **params)])

    def running_on(self, process: Process) -> list[str]:
        """The tasks that a machine has leases for."""
        name = json.loads((process.home / "node").read_text())["name"]
        rows = self.rows("SELECT task_id, lease_owner FROM tasks WHERE status = 'running'")
        return [row["task_id"] for row in rows if str(row["lease_owner"]).startswith(f"{name}.")]

    def unfinished(self, wanted: list[str]) -> list[str]:
        rows = self.rows("SELECT task_id FROM tasks WHERE ended_at IS NULL")
        return sorted(set(wanted) & {row["task_id"] for row in rows})


class Lone:
    """A gateway on a ledger of its own."""

    def __init__(self, root: Path, plugins: Path, sink: Sink) -> None:
        root.mkdir(mode=0o700)
        host = f"127.0.0.1:{sink.port}"
        (root / "config.toml").write_text(
            f'[network]\nallow = ["{host}"]\nallow_private = ["{host}"]\n[limits]\nbusy_load = 0.0\n'
        )
        self.store = SqliteStore(root / "state.db")
        self.root = root
        self._plugins = plugins
        self._started: list[Process] = []

    def start(self) -> Process:
        argv = ["-m", "tawny", "--home", str(self.root), "gateway", "run", "--port", "0"]
        process = Process(self.root, argv, plugins=self._plugins)
        self._started.append(process)
        return process

    def submit(self, gateway: Process, kind: str, params: dict[str, Any]) -> str:
        token = (self.root / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=gateway.address, trust_env=False, headers=headers, timeout=30) as client:
            answer = client.post("/v1/tasks", json={"kind": kind, "params": params})
        assert answer.status_code == 202, answer.text
        return answer.json()["task_id"]

    def close(self) -> None:
        for process in self._started:
            process.close()


def until(holds: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """Wait for something that happens in other processes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.05)
    return pytest.fail(f"in {seconds:g} s not: {what}")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with world() as (folder, port):
        yield Sink(folder, port)


@pytest.fixture
def team(tmp_path: Path, postgres: str, sink: Sink) -> Iterator[Team]:
    with servers.database(postgres) as url, contextlib.closing(Team(tmp_path, url, sink)) as made:
        yield made
