"""What can be read by address: tasks, their results, and the files they made."""

import base64
import re
from collections.abc import Collection
from typing import Any, Protocol

import msgspec

from tawny.domain.tasks import TERMINAL
from tawny.errors import NotFound, TawnyError
from tawny.gateway.artifacts import content_of
from tawny.gateway.feed import Frame
from tawny.gateway.mcp.caller import BAD_PARAMS, NO_RESOURCE, Caller, Fault, Json
from tawny.gateway.principal import READ
from tawny.ledger import artifacts

_BYTES = 1024 * 1024
_ADDRESS = re.compile(r"tawny://(?P<what>tasks|results|artifacts)/(?P<id>[A-Za-z0-9_-]{1,100})")
_ENDS = frozenset(f"task.{status.value}" for status in TERMINAL)
_encode = msgspec.json.Encoder().encode


class Resources(Protocol):
    """What an endpoint offers to read: ours, or those a conformance suite asks for."""

    async def page(self, caller: Caller, cursor: str | None) -> tuple[list[Json], str | None]: ...

    def templates(self) -> list[Json]: ...

    async def read(self, caller: Caller, uri: str) -> list[Json]: ...

    async def exists(self, caller: Caller, uri: str) -> bool: ...

    async def complete(self, caller: Caller, template: str, argument: str, begun: str) -> list[str]: ...

    def touched(self, frame: Frame) -> Collection[str]:
        """What an event may have changed."""
        ...


class Work:
    """Our own: `tawny://tasks/ID`, `tawny://results/ID`, `tawny://artifacts/ID`."""

    async def page(self, caller: Caller, cursor: str | None) -> tuple[list[Json], str | None]:
        """Tasks and what came of them, newest first."""
        if not caller.may(READ):
            return [], None
        query = {"limit": 50} | ({"cursor": cursor} if cursor else {})
        try:
            page = await caller.perform("tasks.list", query)
        except TawnyError as error:
            raise Fault(BAD_PARAMS, error.message) from None
        return [entry for task in page["items"] for entry in _entries(task)], page["next_cursor"]

    def templates(self) -> list[Json]:
        return [
            _template("tasks", "Task", "The task document: status, progress, log, error", "application/json"),
            _template("results", "Result", "What came of a task, as text", "text/markdown"),
            _template("artifacts", "File", "A file that a task made", "application/octet-stream"),
        ]

    async def read(self, caller: Caller, uri: str) -> list[Json]:
        """The contents at an address.

        Raises:
            Fault: there is nothing there, or not for this token.
        """
        match = _ADDRESS.fullmatch(uri)
        if match is None or not caller.may(READ):
            raise Fault(NO_RESOURCE, f"there is no resource {uri!r}")
        reading = {"tasks": _task, "results": _result, "artifacts": _artifact}[match["what"]]
        try:
            return [{"uri": uri, **(await reading(caller, match["id"]))}]
        except TawnyError as error:
            raise Fault(NO_RESOURCE, error.message) from None

    async def exists(self, caller: Caller, uri: str) -> bool:
        """Whether something is there, or will be: a task's result can be watched before there is one."""
        match = _ADDRESS.fullmatch(uri)
        if match is None:
            return False
        id = match["id"]
        try:
            if match["what"] == "artifacts":
                await caller.site.ledger.read(lambda tx: artifacts.get(tx, id))
            else:
                await caller.perform("tasks.get", {"id": id})
        except TawnyError:
            return False
        return True

    async def complete(self, caller: Caller, template: str, argument: str, begun: str) -> list[str]:
        """Ids of recent tasks that begin so."""
        if argument != "id" or "artifacts" in template or not caller.may(READ):
            return []
        tasks = (await caller.perform("tasks.list", {"limit": 500}))["items"]
        return [task["task_id"] for task in tasks if task["task_id"].startswith(begun)]

    def touched(self, frame: Frame) -> Collection[str]:
        """The task with every change of it, its result when it ends."""
        if frame.task_id is None:
            return ()
        task = f"tawny://tasks/{frame.task_id}"
        return (task, f"tawny://results/{frame.task_id}") if frame.type in _ENDS else (task,)


async def _task(caller: Caller, id: str) -> Json:
    document = await caller.perform("tasks.get", {"id": id})
    return {"mimeType": "application/json", "text": _encode(document).decode()}


async def _result(caller: Caller, id: str) -> Json:
    document = await caller.perform("tasks.get", {"id": id})
    result: dict[str, Any] | None = document["result"]
    if result is None:
        raise NotFound(f"{id} has no result: it is {document['status']}")
    text = result.get("text")
    if isinstance(text, str):
        return {"mimeType": "text/markdown", "text": text}
    return {"mimeType": "application/json", "text": _encode(result).decode()}


async def _artifact(caller: Caller, id: str) -> Json:
    entry = await caller.site.ledger.read(lambda tx: artifacts.get(tx, id))
    if entry.size > _BYTES:
        raise NotFound(f"{entry.name} has {entry.size} bytes: read it at /v1/artifacts/{id}")
    content = await content_of(caller.site, entry)
    try:
        if not entry.media_type.startswith("text/"):
            raise ValueError
        return {"mimeType": entry.media_type, "text": content.decode()}
    except ValueError:
        return {"mimeType": entry.media_type, "blob": base64.b64encode(content).decode()}


def _entries(task: Json) -> list[Json]:
    id, title = task["task_id"], task["title"] or task["kind"]
    entries: list[Json] = [
        {
            "uri": f"tawny://tasks/{id}",
            "name": title,
            "description": f"{task['kind']}: {task['status']}",
            "mimeType": "application/json",
        }
    ]
    if task["result"] is not None:
        entries.append(
            {"uri": f"tawny://results/{id}", "name": f"{title}: result", "mimeType": "text/markdown"}
        )
    return entries


def _template(what: str, title: str, description: str, media_type: str) -> Json:
    return {
        "uriTemplate": f"tawny://{what}/{{id}}",
        "name": what,
        "title": title,
        "description": description,
        "mimeType": media_type,
    }


WORK = Work()
