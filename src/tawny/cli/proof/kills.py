"""The crash proof: kills the engine at every commit and every effect, restarts it, and asks the world what happened."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType

import msgspec

from tawny.app import bundled_kinds, open_app
from tawny.cli.proof import toys
from tawny.cli.proof.scenarios import Scenario
from tawny.clock import SystemClock
from tawny.config import Config, Home, Ledger, Limits, Network, Source, Sources
from tawny.domain.tasks import Status
from tawny.engine.submit import parse_request
from tawny.ledger import tasks
from tawny.ledger.database import Tx, read_now, write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.stores import open_store
from tawny.ledger.submission import submit

_PATIENCE = 60.0


class Point(msgspec.Struct, frozen=True):
    """Where a run dies: the n-th commit (`before` or `after` it), or the n-th `effect` in the world."""

    where: str
    n: int

    def __str__(self) -> str:
        return f"{self.where} {self.n}"


class Verdict(msgspec.Struct):
    """What the world says after all the kills; every list names the point at which it happened."""

    points: int = 0
    kills: int = 0
    lost: list[str] = []
    repeated: list[str] = []
    stuck: list[str] = []
    uncertain: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated or stuck, and something was killed at all."""
        return self.kills > 0 and not (self.lost or self.repeated or self.stuck)


class Proof:
    """Runs scenarios against the engine, or against a toy that is known to be broken."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        tell: Callable[[str], None],
        every: int = 1,
        fresh: Callable[[], str] = lambda: "",
    ) -> None:
        """`fresh` gives each life a database of its own: the URL of an empty one, or nothing for the home's file."""
        self._fresh = fresh
        self._url = ""
        self._folder = folder
        self._port = port
        self._tell = tell
        self._every = every
        self._log = folder / "world.jsonl"
        self._control = folder / "control.json"
        self._modules = folder / "modules"

    def engine(self, wanted: list[Scenario]) -> Verdict:
        """Kill the engine everywhere in every scenario."""
        verdict = Verdict()
        for scenario in wanted:
            before = verdict.kills
            for heavy in scenario.loads:
                import_module(heavy)
            self._everywhere(
                scenario, verdict, run=partial(self._engine_run, scenario), prepare=self._engine_prepare
            )
            self._tell(f"{scenario.name:<10} {verdict.kills - before} kills")
        return verdict

    def toy(self, name: str) -> Verdict:
        """Kill a toy everywhere: the proof must find what is wrong with it."""
        verdict = Verdict()
        toy = toys.TOYS[name]
        scenario = Scenario(name, lambda _: [], {"/toy": 3})

        def run(home: Path, die: Callable[[str], None]) -> None:
            toy(home, self._port, die)

        self._everywhere(scenario, verdict, run=run, prepare=lambda _home, _scenario: None)
        return verdict

    # --- one scenario, killed at every point

    def _everywhere(
        self,
        scenario: Scenario,
        verdict: Verdict,
        *,
        run: Callable[[Path, Callable[[str], None]], None],
        prepare: Callable[[Path, Scenario], None],
    ) -> None:
        for where in ("before", "after", "effect"):
            n = 1
            while True:
                point = Point(where, n)
                home = self._folder / "home"
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir()
                self._log.write_text("")
                prepare(home, scenario)
                killed = self._once(home, point, run)
                verdict.points += 1
                verdict.kills += killed
                if killed and not self._settle(home, run):
                    verdict.stuck.append(f"{scenario.name}: killed {point}")
                self._check(scenario, point, verdict, home)
                if not killed:
                    break
                n += self._every

    def _once(self, home: Path, point: Point, run: Callable[[Path, Callable[[str], None]], None]) -> bool:
        """One run that dies at the point; whether it got there."""
        self._control.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            self._in_child(home, point, run)
        if point.where == "effect":
            self._control.write_text(json.dumps({"pid": child, "request": point.n}))
        _, status = os.waitpid(child, 0)
        self._control.unlink(missing_ok=True)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def _settle(self, home: Path, run: Callable[[Path, Callable[[str], None]], None]) -> bool:
        """The restart, unhindered; whether it came to rest in time."""
        child = os.fork()
        if child == 0:
            self._in_child(home, Point("never", 0), run)
        _, status = os.waitpid(child, 0)
        self._learn()
        return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0

    def _learn(self) -> None:
        """Load here what a life had to load, so that the next ones find it there: most of a life would be imports."""
        if not self._modules.exists():
            return
        for name in self._modules.read_text(encoding="utf-8").split():
            with contextlib.suppress(ImportError):
                # What cannot be loaded by its name alone is loaded by each life as before.
                import_module(name)
        self._modules.unlink()

    def _in_child(self, home: Path, point: Point, run: Callable[[Path, Callable[[str], None]], None]) -> None:
        """Never returns. The alarm makes a run that hangs a run that is stuck."""
        code = 3
        try:
            signal.signal(signal.SIGALRM, _give_up)
            signal.alarm(int(_PATIENCE))
            if point.where == "effect":
                while not self._control.exists():
                    os.sched_yield()
            seen: Counter[str] = Counter()

            def die(where: str) -> None:
                seen[where] += 1
                if where == point.where and seen[where] == point.n:
                    os.kill(os.getpid(), signal.SIGKILL)

            known = set(sys.modules)
            run(home, die)
            if fresh := set(sys.modules) - known:
                self._modules.write_text("\n".join(sorted(fresh)), encoding="utf-8")
            code = 0
        except BaseException as error:  # noqa: BLE001 - a forked child must not unwind into its parent's code
            sys.stderr.write(f"run failed: {type(error).__name__}: {error}\n")
        finally:
            os._exit(code)

    def _check(self, scenario: Scenario, point: Point, verdict: Verdict, home: Path) -> None:
        """Ask the world: each effect once. A resend with the same key is one effect, as its receiver drops it."""
        keys: dict[str, set[str]] = defaultdict(set)
        for line in self._log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            keys[entry["path"]].add(entry["key"] or f"none-{len(keys[entry['path']])}-{line}")
            if entry["path"] == "/told" and json.loads(entry["body"])["type"] != "task.succeeded":
                verdict.lost.append(f"{scenario.name}: told {entry['body'][:80]}, killed {point}")
        for path, count in scenario.effects.items():
            seen = len(keys.get(path, set()))
            if seen < count:
                verdict.lost.append(f"{scenario.name}: {path} {seen} of {count}, killed {point}")
            elif seen > count:
                verdict.repeated.append(f"{scenario.name}: {path} {seen} for {count}, killed {point}")
        if scenario.file:
            self._check_file(scenario, point, verdict, home)

    def _check_file(self, scenario: Scenario, point: Point, verdict: Verdict, home: Path) -> None:
        file = Home(home).workspace / scenario.file
        lines = len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0
        store = open_store(Home(home), self._config(Home(home), scenario))
        counts = read_now(store, SystemClock(), tasks.counts)
        waits = counts.get(Status.WAITING, 0)
        verdict.uncertain += waits
        if lines > 1:
            verdict.repeated.append(f"{scenario.name}: {lines} lines, killed {point}")
        elif lines == 0 and not waits:
            verdict.lost.append(f"{scenario.name}: no line and nobody asked, killed {point}")

    # --- the engine as the thing that is killed

    def _config(self, home: Home, scenario: Scenario) -> Config:
        loopback = (f"127.0.0.1:{self._port}",)
        own = (home.workspace / scenario.calendar).as_uri()
        return Config(
            limits=Limits(concurrency=4, max_running_per_owner=4, busy_load=0),
            ledger=Ledger(url=self._url),
            network=Network(allow=loopback, allow_private=loopback),
            sources=Sources(calendar=(Source(name="own", url=own),) if scenario.calendar else ()),
        )

    def _engine_prepare(self, root: Path, scenario: Scenario) -> None:
        home = Home(root)
        home.prepare()
        self._url = self._fresh()
        config = self._config(home, scenario)
        for name, text in scenario.files.items():
            (home.workspace / name).write_text(text, encoding="utf-8")
        store, clock = open_store(home, config), SystemClock()
        migrate(store, clock)
        kinds = bundled_kinds(home, config)
        ids: dict[str, str] = {}
        for body in scenario.requests(f"http://127.0.0.1:{self._port}"):
            body["after"] = [ids[title] for title in body.get("after", [])]
            submission = parse_request(body, kinds=kinds, now=clock.now())
            task = write_now(store, clock, lambda tx, submission=submission: submit(tx, submission))
            ids[task.title] = task.task_id

    def _engine_run(self, scenario: Scenario, root: Path, die: Callable[[str], None]) -> None:
        home = Home(root)
        asyncio.run(_until_rest(home, self._config(home, scenario), die))


def _give_up(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    os._exit(4)


async def _until_rest(home: Home, config: Config, die: Callable[[str], None]) -> None:
    """Run until every task has ended or waits for a person, and nothing is owed any more."""
    async with open_app(home, config, probe=die) as app:
        changed = app.ledger.bell.subscribe("ended", "events", "outbox")
        while not await app.ledger.read(_is_at_rest):
            await changed.wait()
            changed.clear()


def _is_at_rest(tx: Tx) -> bool:
    waiting = tasks.page(tx, status=Status.WAITING).items
    counts = tasks.counts(tx)
    asked = sum(task.waiting_for is not None and task.waiting_for.kind == "reconcile" for task in waiting)
    active = sum(counts.get(status, 0) for status in (Status.QUEUED, Status.RUNNING, Status.WAITING))
    return active == asked and not tasks.owed(tx)


@contextmanager
def temporary_folder() -> Generator[Path]:
    """A folder for a proof, in memory where the machine has such a place: what is killed there needs no disk."""
    memory = Path(
        "/dev/shm"
    )  # the proof's syncs are recorded, or not needed, and a disk's would take minutes
    folder = Path(
        tempfile.mkdtemp(prefix="tawny-selftest-", dir=memory if os.access(memory, os.W_OK) else None)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def world() -> Generator[tuple[Path, int]]:
    """A folder and the port of a fresh world."""
    with temporary_folder() as folder:
        argv = [
            sys.executable,
            "-m",
            "tawny.cli.proof.world",
            str(folder / "world.jsonl"),
            str(folder / "control.json"),
        ]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield folder, int(process.stdout.readline())
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
