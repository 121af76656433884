"""MCP's own tasks: a handle for a call whose result comes later. Its tasks are our tasks, under the same ids."""

from tawny.domain.tasks import Status
from tawny.errors import TawnyError
from tawny.gateway.mcp.caller import BAD_PARAMS, Caller, Fault, Json
from tawny.gateway.mcp.tools import result_of
from tawny.gateway.mcp.waiting import rests, until_rest

_KEPT = 30 * 24 * 3600 * 1000
_POLL = 2000
_RELATED = "io.modelcontextprotocol/related-task"
_STATUS = {
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.TIMED_OUT: "failed",
    Status.LOST: "failed",
    Status.CANCELLED: "cancelled",
}


def handle(document: Json) -> Json:
    """A task document in MCP's words; `input_required` is where a person has to answer, in the panel or a channel."""
    status = _STATUS.get(Status(document["status"]))
    if status is None:
        status = "input_required" if rests(document) else "working"
    made: Json = {
        "taskId": document["task_id"],
        "status": status,
        "createdAt": document["created_at"],
        "lastUpdatedAt": document["ended_at"] or document["started_at"] or document["created_at"],
        "ttl": _KEPT,
        "pollInterval": _POLL,
    }
    told: Json = document["error"] or document["progress"] or {}
    if message := told.get("message"):
        made["statusMessage"] = message
    return made


def created(result: Json) -> Json:
    """The answer to a call made as a task; a call that was refused is answered as ever."""
    if result.get("isError"):
        return result
    return {"task": handle(result["structuredContent"])}


async def _listed(params: Json, caller: Caller) -> Json:
    query = {"limit": 50} | ({"cursor": params["cursor"]} if params.get("cursor") else {})
    page = await _performed(caller, "tasks.list", query)
    listed: Json = {"tasks": [handle(task) for task in page["items"]]}
    return listed | ({"nextCursor": page["next_cursor"]} if page["next_cursor"] else {})


async def _get(params: Json, caller: Caller) -> Json:
    return handle(await _performed(caller, "tasks.get", {"id": params.get("taskId")}))


async def _cancelled(params: Json, caller: Caller) -> Json:
    return handle(await _performed(caller, "tasks.cancel", {"id": params.get("taskId")}))


async def _result(params: Json, caller: Caller) -> Json:
    """The result, once there is one: the caller waits for it as long as it likes."""
    id = (await _performed(caller, "tasks.get", {"id": params.get("taskId")}))["task_id"]
    document = await until_rest(caller, id, hold=None, ended=True)
    made = result_of(document)
    made["isError"] = document["status"] != Status.SUCCEEDED
    return {**made, "_meta": {_RELATED: {"taskId": id}}}


async def _performed(caller: Caller, name: str, params: Json) -> Json:
    try:
        return await caller.perform(name, params)
    except TawnyError as error:
        raise Fault(BAD_PARAMS, error.message) from None


METHODS = {"tasks/list": _listed, "tasks/get": _get, "tasks/cancel": _cancelled, "tasks/result": _result}
