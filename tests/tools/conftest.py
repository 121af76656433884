"""A run that makes scripted calls through the real door, on the real engine."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tawny.domain.rules import Rules, load
from tawny.domain.tasks import Effect, Json, Origin, Status, Submission, Task
from tawny.engine.kinds import Kind
from tawny.errors import Refused, TawnyError
from tawny.ledger import approvals
from tawny.ledger.submission import submit
from tawny.tools.call import Door
from tawny.tools.registry import Operation, Tool


class Anything(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    to: str = ""
    text: str = ""
    url: str = ""
    amount: float = 0


class Script(msgspec.Struct):
    calls: list[tuple[str, dict[str, Any]]] = []
    message: str = ""


class World:
    """What the tools have done, and what they give back."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.page: Json = "A page of prose about nothing in particular."
        self.answer = "ok"
        self.rules = Rules()
        self.secrets: list[str] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def redact(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "[redacted]")
        return text

    def tool(self, name: str, row: str, operation: str, *, effect: Effect = Effect.PURE, **more: Any) -> Tool:
        def describe(params: Anything) -> Operation:
            return Operation(
                name=row,
                operation=operation,
                level=1,
                recipients=(params.to,) if params.to else (),
                targets=(params.url,) if params.url else (),
                text=(params.text,) if params.text else (),
                amount=params.amount or None,
            )

        async def run(context: Any, params: Anything) -> Json:
            self.done.append((name, params.to or params.url or params.text))
            if self.meanwhile is not None:
                await self.meanwhile()
            if params.text == "fail":
                raise TawnyError("the other side fell over")
            if params.text == "refuse":
                refused = Refused("a.org is not in [network] allow")
                refused.own_words = True
                raise refused
            if params.text == "crash":
                raise RuntimeError("a bug")
            return self.page if more.get("reads_untrusted") or more.get("origin") else {"text": self.answer}

        return Tool(
            name=name, description=name, params=Anything, operation=describe, run=run, effect=effect, **more
        )


class Runs:
    """Starts runs and tells what became of their calls."""

    def __init__(self, engine: Any, world: World, door: Door) -> None:
        self.engine = engine
        self.world = world
        self.door = door

    async def start(self, *calls: tuple[str, dict[str, Any]], **more: Any) -> Task:
        origin = more.pop("origin", Origin())
        # The script stands for the model; only the message is the owner's.
        words = {"words": [more.get("message", "")], **origin.detail}
        origin = msgspec.structs.replace(origin, detail=words)
        params = {"calls": [list(call) for call in calls], "message": more.pop("message", "")}
        detached = more.pop("detached", True)
        submission = Submission(kind="script", params=params, origin=origin, detached=detached, **more)
        return await self.engine.ledger.write(lambda tx: submit(tx, submission))

    async def run(self, *calls: tuple[str, dict[str, Any]], **more: Any) -> list[Any]:
        """What came of the calls; `["asked"]` at the end where the run waits for a yes."""
        task = await self.start(*calls, **more)
        task = await self.engine.until(
            task.task_id, Status.SUCCEEDED, Status.FAILED, Status.WAITING, Status.CANCELLED
        )
        return (
            ["asked"] if task.status is Status.WAITING else (task.result or {"error": task.error})["results"]
        )

    async def pending(self) -> list[Any]:
        return (await self.engine.ledger.read(lambda tx: approvals.page(tx, status="pending")))[0]

    async def answer(self, status: str = "approved", **more: Any) -> Task:
        (approval,) = await self.pending()
        await self.engine.ledger.write(
            lambda tx: approvals.answer(tx, approval.approval_id, status=status, by="owner", **more)
        )
        return await self.engine.until(approval.task_id, Status.SUCCEEDED, Status.FAILED)


def script_kind(door: Callable[[], Door]) -> Kind:
    async def run(context: Any, params: Script) -> dict[str, Json]:
        calls = door().for_run(context, session="main", window=4_000)
        results: list[Json] = []
        for number, (name, arguments) in enumerate(params.calls):
            try:
                results.append(await calls.call(name, arguments, call_id=str(number)))
            except TawnyError as error:
                if error.code == "loop":
                    raise
                results.append(f"{error.code}: {error.message}")
        return {"results": results}

    return Kind(name="script", params=Script, run=run)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def runs(engine: Any, world: World) -> Runs:
    from tawny.domain.origin import from_contact, read_from

    tools = [
        world.tool("web_fetch", "web.fetch", "read", reads_untrusted=True),
        world.tool("notes", "file.read", "read"),
        world.tool("passport", "contacts.read", "read", reads_private=True),
        world.tool(
            "mail_read",
            "mail.read",
            "read",
            origin=lambda _, __: from_contact("mail from Bob", "see a.org/x"),
        ),
        world.tool("mail_spam", "mail.read", "read", origin=lambda _, __: read_from("mail from a stranger")),
        world.tool("mail_send", "mail.send", "send", effect=Effect.AT_MOST_ONCE),
        world.tool("pay", "payment.make", "pay", effect=Effect.AT_MOST_ONCE),
        world.tool("exec", "exec.allowed", "execute", effect=Effect.AT_MOST_ONCE),
        world.tool("memory_save", "memory.save", "create"),
        world.tool("automations", "automations.change", "create"),
        world.tool("delete", "file.delete", "delete"),
        world.tool("strange", "strange.thing", "update"),
        world.tool("config", "config.change", "update"),
    ]
    door = Door(
        {tool.name: tool for tool in tools}, engine.ledger, rules=lambda: world.rules, redact=world.redact
    )
    engine.app.kinds["script"] = script_kind(lambda: door)
    return Runs(engine, world, door)


def rules(*lines: tuple[str, str]) -> Rules:
    text = "".join(f"\n  - condition: {condition!r}\n    action: {action}" for condition, action in lines)
    return load("approval_rules:" + text)
