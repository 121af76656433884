"""Runs one chat turn again and again, killing the process after its first, second, third … commit.

Each run is a forked child on a home of its own; a second child recovers. What really happened outside (model calls,
effects of tools) is written to a log that no database of ours has a hand in. One JSON line a kill point.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
from pydantic_ai.messages import ToolReturnPart

import tawny.agent.turn  # noqa: F401 - loaded before the fork, so that each child is quick
from tawny.app import App, open_app
from tawny.config import Config, Home
from tawny.domain.tasks import Effect, Status
from tawny.engine import commands
from tawny.ledger import events, sessions, steps, tasks
from tawny.testing import ScriptedModel, Use
from tawny.tools.registry import CHANGE, Operation, Tool, ToolContext

TOOLS = {"look": Effect.PURE, "book": Effect.IDEMPOTENT, "send": Effect.AT_MOST_ONCE}


class Nothing(msgspec.Struct):
    pass


class World:
    """The outside: an append-only file, on the disk before anything goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def happened(self, what: str) -> None:
        with self._path.open("a") as file:
            file.write(what + "\n")
            file.flush()
            os.fsync(file.fileno())

    def log(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def tool(name: str, effect: Effect, world: World) -> Tool:
    async def run(scope: ToolContext, params: Nothing) -> str:
        world.happened(f"tool {name}")
        return f"{name} is done"

    return Tool(
        name=name,
        description=name,
        params=Nothing,
        operation=lambda _params: Operation(name="file.write", operation="update", level=CHANGE),
        run=run,
        effect=effect,
    )


def script(world: World) -> ScriptedModel:
    def reply(messages: list[Any]) -> Any:
        done = sum(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
        world.happened(f"model {done + 1}")
        names = list(TOOLS)
        return Use(names[done], call_id=f"c{done}") if done < len(names) else "all three are done"

    return ScriptedModel([reply] * 50)


def kill_after(app: App, count: int) -> None:
    """SIGKILL right after the `count`-th commit from now: it is on the disk, and nobody has heard of it."""
    commit = app.ledger._commit
    seen = 0

    def counted(connection: Any, group: Any) -> Any:
        nonlocal seen
        topics = commit(connection, group)
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return topics

    app.ledger._commit = counted  # type: ignore[method-assign]


async def until_settled(app: App) -> None:
    """Until every turn has ended; a person answers what is uncertain."""
    bell = app.ledger.bell.subscribe("events")
    while True:
        held = await app.ledger.read(lambda tx: tx.all("SELECT task_id, status FROM tasks"))
        if held and all(Status(row["status"]).is_terminal for row in held):
            await app.ledger.write(lambda tx: None)
            return
        for row in held:
            task = await app.ledger.read(lambda tx, key=row["task_id"]: tasks.get(tx, key))
            if task.waiting_for is not None and task.waiting_for.kind == "reconcile":
                await app.ledger.write(lambda tx, key=row["task_id"]: commands.reconcile(tx, key, "redo"))
        await bell.wait()
        bell.clear()


async def live(home: Home, *, kill: int | None) -> None:
    world = World(home.root / "world.log")
    async with open_app(home, Config(), model=script(world)) as app:
        for name, effect in TOOLS.items():
            app.agency.door.tools[name] = tool(name, effect, world)  # type: ignore[index]
        if kill is not None:
            kill_after(app, kill)
        await app.agency.inbox.say("main", "do three things", event_id="once", wait=None)
        async with asyncio.timeout(30):
            await until_settled(app)


def fork(work: Any) -> int:
    """Run it in a child; how the child ended."""
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - the child's only way to tell
            sys.stderr.write(f"child: {error!r}\n")
            os._exit(3)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


async def facts(home: Home) -> dict[str, Any]:
    from tawny.clock import SystemClock
    from tawny.ledger.database import read_now
    from tawny.ledger.sqlite import SqliteStore

    def look(tx: Any) -> dict[str, Any]:
        rows = tx.all("SELECT task_id, status FROM tasks")
        return {
            "tasks": [row["status"] for row in rows],
            "journal": [
                step.key
                for row in rows
                for step in steps.of_task(tx, row["task_id"])
                if step.status == "succeeded"
            ],
            "transcript": [(entry.role, entry.text) for entry in sessions.entries(tx, "main")],
            "sent": [event.data["text"] for event in events.after(tx, 0) if event.type == "message.sent"],
        }

    return read_now(SqliteStore(home.database), SystemClock(), look)


def main(root: Path, most: int) -> None:
    for kill in range(1, most + 1):
        home = Home(root / f"home-{kill}")
        home.prepare()
        ended = fork(lambda home=home, kill=kill: live(home, kill=kill))
        killed = os.WIFSIGNALED(ended)
        before = asyncio.run(facts(home))["journal"] if killed else []
        world_before = World(home.root / "world.log").log()
        recovered = fork(lambda home=home: live(home, kill=None))
        found = asyncio.run(facts(home))
        log = World(home.root / "world.log").log()
        line = {
            "kill": kill,
            "killed": killed,
            "recovered": recovered,
            "before": before,
            "world_before": world_before,
            "world": log,
            **found,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        if not killed:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
