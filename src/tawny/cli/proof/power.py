"""The power-loss proof: a recording of real work, cut at every sync, and what the real ledger makes of the rest.

The checker believes the diary, which tells what had been promised when the power went, and not our tables.
"""

import asyncio
import hashlib
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tawny.app import open_app
from tawny.cli.proof import workload
from tawny.cli.proof.disk import Disk
from tawny.cli.proof.recording import Op, record
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.tasks import Status
from tawny.errors import NotFound, PermanentError, TawnyError
from tawny.ledger import artifacts, audit, care, events, recovery, steps, tasks
from tawny.ledger.database import Tx, read_now, write_now
from tawny.ledger.retention import Keep
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.tasks import get
from tawny.ledger.upgrade import prepare_store

_PATIENCE = 60.0


class Losses(msgspec.Struct):
    """What the cut-off disks showed: `syncs` cut at, `images` opened, and everything that was wrong with one.

    `failures` of a sync were injected, and `refusals` of new work told.
    """

    syncs: int = 0
    images: int = 0
    promises: int = 0
    failures: int = 0
    refusals: int = 0
    broken: list[str] = []

    @property
    def holds(self) -> bool:
        """Whether every promise was kept on every image, and there were some of both."""
        return self.images > 0 and self.promises > 0 and not self.broken


class Promises(msgspec.Struct):
    """What had been promised when the power went."""

    accepted: set[str] = set()
    ended: dict[str, str] = {}
    kept: dict[tuple[str, str], str] = {}
    refusals: int = 0
    effects: set[tuple[str, str]] = set()

    def add(self, line: bytes) -> None:
        """Read one line of the diary."""
        match json.loads(line):
            case ["accepted", task_id]:
                self.accepted.add(task_id)
            case ["ended", task_id, status]:
                self.ended[task_id] = status
            case ["kept", task_id, name, digest]:
                self.kept[task_id, name] = digest
            case ["effect", task_id, step]:
                self.effects.add((task_id, step))
            case ["refused", _]:
                self.refusals += 1
            case other:
                raise PermanentError(f"the diary says what nobody understands: {other}")

    @property
    def count(self) -> int:
        return len(self.accepted) + len(self.ended) + len(self.kept) + len(self.effects)


class PowerProof:
    """Records the workload once and opens what a power cut would have left of it, again and again."""

    def __init__(
        self, folder: Path, *, every: int = 1, seed: int = 0, torn: int = 2, play_every: int = 25
    ) -> None:
        """`every` n-th sync is cut at; `torn` random images of each sort; every `play_every`-th is run to its end."""
        self._folder = folder
        self._every = every
        self._seed = seed
        self._torn = torn
        self._play_every = play_every

    def run(self, synchronous: str = "FULL", *, inject: str = "") -> Losses:
        """Record and cut; what was lost.

        `inject` makes the disk fail meanwhile, as strace's option says; the first process then dies of the refusal.
        """
        stage, diary = self._folder / "stage", self._folder / "diary"
        shutil.rmtree(stage, ignore_errors=True)
        diary.unlink(missing_ok=True)
        stage.mkdir(parents=True)
        argv = [sys.executable, "-m", workload.__name__, str(stage / "home"), str(diary), synchronous]
        argv += ["refused"] if inject else []
        ops, code = record(argv, stage, diary=diary, inject=inject)
        if code != 0:
            raise PermanentError(f"the recorded work failed with exit code {code}")
        return self._cut(ops, str(stage))

    def _cut(self, ops: list[Op], root: str) -> Losses:
        disk, promises, losses = Disk(root), Promises(), Losses()
        seen: set[str] = set()
        for at, op in enumerate(ops):
            if op.kind == "say":
                promises.add(op.data)
                losses.promises, losses.refusals = promises.count, promises.refusals
                continue
            if op.kind == "sync":
                losses.syncs += 1
                if losses.syncs % self._every == 0:
                    self._everywhere(disk, promises, losses, f"sync {losses.syncs} of {op.path}", seen)
            losses.failures += op.kind == "fail"
            disk.apply(at, op)
        self._everywhere(disk, promises, losses, "the end", seen)
        return losses

    def _everywhere(self, disk: Disk, promises: Promises, losses: Losses, where: str, seen: set[str]) -> None:
        """Every sort of image at one point; the same bytes under the same promises are looked at once."""
        for sort, image in self._images(disk, losses.syncs):
            digest = _digest(image, promises.count)
            if digest in seen:
                continue
            seen.add(digest)
            losses.images += 1
            play = losses.images % self._play_every == 0
            home = Home(self._folder / "image" / "home")
            _lay_out(self._folder / "image", image)
            losses.broken += [
                f"{sort} before {where} (seed {self._seed}): {problem}"
                for problem in examine(home, promises, play=play)
            ]

    def _images(self, disk: Disk, point: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        yield "dropped", disk.dropped()
        yield "kept", disk.kept()
        for n in range(self._torn):
            chance = random.Random(f"{self._seed} {point} {n}")
            yield "reordered", disk.reordered(chance)
            yield "torn", disk.torn(chance)


def examine(home: Home, promises: Promises, *, play: bool = False) -> list[str]:
    """Start on what is left of a home; every promise that does not hold, and everything that is inconsistent."""
    store, clock = SqliteStore(home.database), SystemClock()
    home.prepare()
    try:
        prepare_store(home, store, clock)
        known = {"work"}
        write_now(
            store, clock, lambda tx: recovery.recover(tx, gone=lambda _: True, known=known, resumable=known)
        )
        problems = read_now(store, clock, lambda tx: [*_kept(tx, home, promises), *_sound(tx)])
    except TawnyError as error:
        return [f"it does not start: {error.message}"]
    if play and not problems:
        problems = asyncio.run(_played(home))
    return problems


def _kept(tx: Tx, home: Home, promises: Promises) -> Iterator[str]:
    """The promises that do not hold."""
    for task_id in sorted(promises.accepted):
        try:
            status = get(tx, task_id).status
        except NotFound:
            yield f"{task_id} was accepted and is gone"
            continue
        told = promises.ended.get(task_id)
        if told is not None and status != told:
            yield f"{task_id} had ended {told} and is {status}"
    for (task_id, name), digest in sorted(promises.kept.items()):
        rows = [file for file in artifacts.of_task(tx, task_id) if file.name == name]
        path = home.artifacts / rows[0].path if rows else None
        if path is None or not path.exists():
            yield f"{name} of {task_id} was kept and is gone"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{name} of {task_id} holds something else"
    for task_id, key in sorted(promises.effects):
        step = steps.get(tx, task_id, key)
        if step is None or step.status not in ("running", "uncertain", "succeeded"):
            yield f"{key} of {task_id} has happened and nobody knows"


def _sound(tx: Tx) -> Iterator[str]:
    """What is inconsistent in itself."""
    seqs = [event.seq for event in events.after(tx, 0, limit=1_000_000)]
    if seqs != list(range(1, tx.numbers.take("event")[0] + 1)):
        yield f"the sequence of events has gaps or is cut off: {len(seqs)} are here"
    verified = audit.verify(tx)
    if not verified.ok:
        yield f"the audit chain is broken: {verified.problem}"
    for finding in care.audit(tx, keep=Keep()):
        yield f"tasks audit: {finding.code}: {finding.message}"


async def _played(home: Home) -> list[str]:
    """Let the real engine go on with what is left; what does not come to rest."""
    async with open_app(home, workload.CONFIG, kinds=workload.kinds(None)) as app:
        changed = app.ledger.bell.subscribe("ended", "events")
        unrest: list[str] = []
        try:
            async with asyncio.timeout(_PATIENCE):
                while unrest := await app.ledger.read(_unrest):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return [f"what is left does not come to rest: {', '.join(unrest)}"]
        counts = await app.ledger.read(tasks.counts)
    return [
        f"{counts[status]} ended {status}" for status in (Status.FAILED, Status.LOST) if counts.get(status)
    ]


def _unrest(tx: Tx) -> list[str]:
    """The tasks that still move: neither ended, nor waiting for a person, nor for a child that does."""
    active = [
        task
        for status in (Status.QUEUED, Status.RUNNING, Status.WAITING)
        for task in tasks.page(tx, status=status, limit=500).items
    ]
    return [
        f"{task.task_id} {task.status}"
        for task in active
        if task.waiting_for is None or task.waiting_for.kind not in ("reconcile", "child")
    ]


def _lay_out(folder: Path, image: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in image.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _digest(image: dict[str, bytes], count: int) -> str:
    whole = hashlib.sha256(str(count).encode())
    for name in sorted(image):
        if not name.endswith("-shm"):
            whole.update(name.encode() + b"\0" + hashlib.sha256(image[name]).digest())
    return whole.hexdigest()
