"""The work that is under way when the power goes: run as a program, it tells its diary what it was promised.

A line of the diary is written only after the promise: `accepted ID`, `ended ID STATUS`, `kept ID NAME SHA256`; a line
`effect ID STEP` is an effect in the world that may happen at most once.
"""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

import msgspec

from tawny.app import App, open_app
from tawny.clock import SECOND, sleep
from tawny.config import Config, Home, Limits
from tawny.domain.tasks import Delivery, Effect, Json, Submission
from tawny.engine.kinds import Context, Kind
from tawny.errors import StorageError
from tawny.ledger.sqlite import SqliteConnection, SqliteStore
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get

CONFIG = Config(limits=Limits(concurrency=4, max_running_per_owner=4, busy_load=0))
_TASKS = 6
_MOST = 60
_CHECKPOINT_PAGES = 60


class Work(msgspec.Struct, frozen=True):
    """`n` tells tasks apart; `children` are awaited ones."""

    n: int
    children: int = 0


class Diary:
    """Appends lines with one write each; the recording sees them in their order."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, *words: str) -> None:
        os.write(self._file, (json.dumps(words) + "\n").encode())


class WeakStore(SqliteStore):
    """The store with another `synchronous`: the proof must find that OFF and NORMAL break the promise."""

    def __init__(self, path: Path, synchronous: str) -> None:
        super().__init__(path)
        self._synchronous = synchronous

    def connect(self, *, read_only: bool = False) -> SqliteConnection:
        connection = super().connect(read_only=read_only)
        if not read_only:
            connection.fetch(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection


def kinds(diary: Diary | None) -> dict[str, Kind]:
    """The kind `work`: an effect, a file, a wait and children, each told to the diary when it is promised."""

    def say(*words: str) -> None:
        if diary is not None:
            diary.say(*words)

    async def work(ctx: Context, params: Work) -> str:
        task_id = ctx.task.task_id

        async def effect() -> Json:
            say("effect", task_id, "pay")
            return {"paid": params.n}

        async def note() -> Json:
            return {"text": "x" * 3000}

        await ctx.step("pay", effect, effect=Effect.AT_MOST_ONCE)
        data = f"result {params.n} " * 500
        name = f"part {params.n}.txt"
        await ctx.artifact(name, data, partial=True)
        say("kept", task_id, name, hashlib.sha256(data.encode()).hexdigest())
        await ctx.progress(params.n, 10)
        await ctx.step("note", note)
        await ctx.wait_until("nap", (ctx.task.started_at or 0) + SECOND // 50)
        if params.children:
            await ctx.children(
                "children", [Submission(kind="work", params={"n": 100 + n}) for n in range(params.children)]
            )
        return f"done {params.n}"

    return {"work": Kind(name="work", params=Work, run=work)}


async def _life(
    home: Home, diary: Diary, synchronous: str, *, dies: bool, until_refused: bool = False
) -> None:
    store = WeakStore(home.database, synchronous)
    async with open_app(home, CONFIG, kinds=kinds(diary), store=store) as app:
        ids: list[str] = []
        for n in range(_MOST if dies else _TASKS):
            wanted = Submission(
                kind="work",
                params={"n": n, "children": 2 if n == 1 else 0},
                delivery=Delivery(channels=(f"file:{home.workspace / 'told.txt'}",)),
            )
            task_id = await _accepted(app, wanted, diary, dies=dies)
            ids.append(task_id)
            if dies and n + 1 >= _TASKS and not until_refused:
                break
        for task_id in ids[: len(ids) // 2] if dies else ids:
            diary.say("ended", task_id, await _end(app, task_id))
        if dies:
            os._exit(0)


async def _accepted(app: App, wanted: Submission, diary: Diary, *, dies: bool) -> str:
    """Hand in, again and again where the disk refuses, or die of it; the id."""
    while True:
        try:
            task = await app.ledger.write(lambda tx: submit(tx, wanted))
        except StorageError as error:
            diary.say("refused", error.message)
            if dies:
                os._exit(0)
            await sleep(app.clock, 0.05)
        else:
            diary.say("accepted", task.task_id)
            return task.task_id


async def _end(app: App, task_id: str) -> str:
    """Wait for a task's end; its status."""
    changed = app.ledger.bell.subscribe("ended", "events")
    while True:
        task = await app.ledger.read(lambda tx: get(tx, task_id))
        if task.status.is_terminal:
            return task.status
        await changed.wait()
        changed.clear()


def main() -> None:
    """HOME DIARY SYNCHRONOUS [refused]: one life without a goodbye, and one that goes on and ends in order.

    The first ends amid its work, or, with `refused`, where the disk first refuses to accept some.
    """
    home, diary, synchronous = Home(Path(sys.argv[1])), Diary(Path(sys.argv[2])), sys.argv[3]
    until_refused = sys.argv[4:] == ["refused"]
    child = os.fork()
    if child == 0:
        asyncio.run(_life(home, diary, synchronous, dies=True, until_refused=until_refused))
    os.waitpid(child, 0)
    asyncio.run(_life(home, diary, synchronous, dies=False))


if __name__ == "__main__":
    main()
