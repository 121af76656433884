"""`/mcp`: streamable HTTP. An answer is JSON; where something is told ahead of it, it is a stream.

A session is for clients that can be asked, watch resources or come back to a stream; work needs none, and outlives it.

A handler of our own: the SDK would cost a third of a second at the start and is a client of the same operations;
why, and what it leaves out, stands in docs/decisions/0061-mcp.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny import __version__
from tawny.errors import InvalidInput
from tawny.gateway.endpoint import answer, client_address, decode, header, principal_of, read_body
from tawny.gateway.errors import HttpError
from tawny.gateway.mcp import handles, prompts
from tawny.gateway.mcp.caller import (
    BAD_PARAMS,
    INVALID_REQUEST,
    LEVELS,
    NO_METHOD,
    NO_RESOURCE,
    PARSE_ERROR,
    Caller,
    Fault,
    Json,
    fault,
)
from tawny.gateway.mcp.listening import listen
from tawny.gateway.mcp.prompts import PROMPTS, Prompt
from tawny.gateway.mcp.reply import Reply
from tawny.gateway.mcp.resources import WORK, Resources
from tawny.gateway.mcp.session import MAX_WATCHED, Session, Sessions
from tawny.gateway.mcp.tools import TOOLS, Tool
from tawny.gateway.operation import Operation, checked
from tawny.gateway.principal import READ
from tawny.gateway.site import Site

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_VALUES = 100


class Offer(msgspec.Struct, frozen=True):
    """What a client finds here."""

    tools: tuple[Tool, ...] = TOOLS
    prompts: tuple[Prompt, ...] = PROMPTS
    resources: Resources = WORK


class McpEndpoint:
    """POST takes one message (or a batch, as older clients send); GET listens and DELETE ends, with a session."""

    def __init__(self, site: Site, operations: Mapping[str, Operation]) -> None:
        self._site = site
        self._operations = operations
        self.offer = Offer()
        self.sessions = Sessions()
        self._levels: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        session_id = header(scope, b"mcp-session-id")
        if method != "POST" and (method not in ("GET", "DELETE") or session_id is None):
            raise HttpError(405, "method_not_allowed", "only POST is served here", headers={"allow": "POST"})
        version = header(scope, b"mcp-protocol-version")
        if version is not None and version not in VERSIONS:
            raise HttpError(400, "unsupported_version", f"protocol version {version!r} is not spoken here")
        owner = principal_of(scope).credential_id
        if method != "POST":
            session = self.sessions.find(owner, session_id or "")
            if session is None:
                raise _no_session()
            if method == "GET":
                await listen(session, scope, receive, send, site=self._site, resources=self.offer.resources)
                return
            self.sessions.end(owner, session)
            await answer(send, 204, None)
            return
        session = self.sessions.resume(owner, session_id) if session_id is not None else None
        if session_id is not None and session is None:
            raise _no_session()
        try:
            message = decode(await read_body(receive))
        except HttpError as error:
            if error.status != 400:
                raise
            await answer(send, 400, fault(None, PARSE_ERROR, error.message))
            return
        reply = Reply(scope, receive, send, session)
        if isinstance(message, list):
            found = [await self._one(entry, scope, reply, session) for entry in message]  # pyright: ignore[reportUnknownVariableType]
            await reply.end([entry for entry in found if entry is not None] or None)
        else:
            await reply.end(await self._one(message, scope, reply, session))

    async def _one(self, message: Any, scope: Scope, reply: Reply, session: Session | None) -> Json | None:
        """The answer to one message; `None` to what expects none."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":  # pyright: ignore[reportUnknownMemberType]
            return fault(None, INVALID_REQUEST, "a JSON-RPC 2.0 message is expected")
        request: Json = message  # pyright: ignore[reportUnknownVariableType]
        id = request.get("id")
        method = request.get("method")
        if not isinstance(method, str):
            if "result" in request or "error" in request:
                if session is not None:
                    session.answered(request)
                return None
            return fault(id, INVALID_REQUEST, "no method")
        params = request.get("params")
        given: Json = params if isinstance(params, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        if "id" not in request:  # a notification
            withdrawn = given.get("requestId")
            if (
                session is not None
                and method == "notifications/cancelled"
                and isinstance(withdrawn, str | int)
            ):
                session.cancel(withdrawn)
            return None
        caller = self._caller(scope, given, reply, session)
        done = session.begin(id, reply) if session is not None and isinstance(id, str | int) else None
        try:
            return {"jsonrpc": "2.0", "id": id, "result": await self._result(method, given, caller)}
        except Fault as error:
            return fault(id, error.code, str(error))
        finally:
            if done is not None:
                done()

    def _caller(self, scope: Scope, params: Json, reply: Reply, session: Session | None) -> Caller:
        principal = principal_of(scope)
        meta = params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return Caller(
            site=self._site,
            operations=self._operations,
            principal=principal,
            address=client_address(scope),
            tell=reply.tell if reply.hears else None,
            gone=reply.gone,
            open=reply.open,
            headers=reply.headers,
            session=session,
            level=self._levels.get(principal.credential_id, "info"),
            progress_token=token if isinstance(token, (str, int)) else None,
        )

    async def _result(self, method: str, params: Json, caller: Caller) -> Json:
        answering = self._methods.get(method)
        if answering is None:
            raise Fault(NO_METHOD, f"there is no method {method!r}")
        return await answering(params, caller)

    @cached_property
    def _methods(self) -> Mapping[str, Callable[[Json, Caller], Awaitable[Json]]]:
        return {
            "initialize": self._initialize,
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "tools/list": self._list_tools,
            "tools/call": self._call,
            "resources/list": self._list_resources,
            "resources/templates/list": self._list_templates,
            "resources/read": self._read,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "prompts/list": self._list_prompts,
            "prompts/get": self._get_prompt,
            "completion/complete": self._complete,
            **handles.METHODS,
        }

    async def _initialize(self, params: Json, caller: Caller) -> Json:
        told = _initialized(params)
        begun = self.sessions.begin(
            caller.principal.credential_id,
            capabilities=params.get("capabilities"),
            version=told["protocolVersion"],
        )
        caller.headers["mcp-session-id"] = begun.id
        return told

    async def _ping(self, _: Json, __: Caller) -> Json:
        return {}

    async def _set_level(self, params: Json, caller: Caller) -> Json:
        level = params.get("level")
        if level not in LEVELS:
            raise Fault(BAD_PARAMS, f"level: one of {' '.join(LEVELS)} is expected")
        self._levels[caller.principal.credential_id] = level
        return {}

    async def _list_tools(self, _: Json, caller: Caller) -> Json:
        return {"tools": [tool.document() for tool in self.offer.tools if caller.may(tool.scope)]}

    async def _list_resources(self, params: Json, caller: Caller) -> Json:
        items, cursor = await self.offer.resources.page(caller, _text(params, "cursor"))
        return {"resources": items} | ({"nextCursor": cursor} if cursor else {})

    async def _list_templates(self, _: Json, __: Caller) -> Json:
        return {"resourceTemplates": self.offer.resources.templates()}

    async def _read(self, params: Json, caller: Caller) -> Json:
        return {"contents": await self.offer.resources.read(caller, _text(params, "uri") or "")}

    async def _subscribe(self, params: Json, caller: Caller) -> Json:
        session, uri = _watching(params, caller)
        if not caller.may(READ):
            raise Fault(NO_RESOURCE, f"there is no resource {uri!r}")
        if len(session.watched) >= MAX_WATCHED and uri not in session.watched:
            raise Fault(BAD_PARAMS, f"{MAX_WATCHED} resources are watched; leave one first")
        if not await self.offer.resources.exists(caller, uri):
            raise Fault(NO_RESOURCE, f"there is no resource {uri!r}")
        session.watched.add(uri)
        return {}

    async def _unsubscribe(self, params: Json, caller: Caller) -> Json:
        session, uri = _watching(params, caller)
        session.watched.discard(uri)
        return {}

    async def _list_prompts(self, _: Json, caller: Caller) -> Json:
        return {"prompts": [prompt.document() for prompt in await self._prompts(caller)]}

    async def _get_prompt(self, params: Json, caller: Caller) -> Json:
        prompt = await self._prompt(params.get("name"), caller)
        return {"description": prompt.description, "messages": prompt.messages(_arguments(params))}

    async def _call(self, params: Json, caller: Caller) -> Json:
        name = params.get("name")
        tool = next((tool for tool in self.offer.tools if tool.name == name), None)
        if tool is None or not caller.may(tool.scope):
            raise Fault(BAD_PARAMS, f"there is no tool {name!r}")
        arguments = _arguments(params)
        if "task" not in params:
            return await tool.call(caller, arguments)
        if not tool.as_task:
            raise Fault(NO_METHOD, f"{name} is answered at once: it is no task")
        arguments.pop("wait", None)
        return handles.created(await tool.call(caller, arguments))

    async def _complete(self, params: Json, caller: Caller) -> Json:
        ref, argument = params.get("ref"), params.get("argument")
        if not isinstance(ref, dict) or not isinstance(argument, dict):
            raise Fault(BAD_PARAMS, "ref and argument are expected")
        known: Json = ref  # pyright: ignore[reportUnknownVariableType]
        asked: Json = argument  # pyright: ignore[reportUnknownVariableType]
        name, begun = str(asked.get("name")), str(asked.get("value") or "")
        if known.get("type") == "ref/prompt":
            found = prompts.complete(await self._prompt(known.get("name"), caller), name, begun)
        elif known.get("type") == "ref/resource":
            found = await self.offer.resources.complete(caller, str(known.get("uri")), name, begun)
        else:
            raise Fault(BAD_PARAMS, "ref: ref/prompt or ref/resource is expected")
        more = len(found) > _VALUES
        return {"completion": {"values": found[:_VALUES], "total": len(found), "hasMore": more}}

    async def _prompts(self, caller: Caller) -> list[Prompt]:
        found = [*self.offer.prompts]
        if caller.may(READ):
            skills = (await caller.perform("skills.list", {}))["items"]
            found += [prompts.of_skill(skill) for skill in skills if skill["enabled"]]
        return found

    async def _prompt(self, name: Any, caller: Caller) -> Prompt:
        for prompt in await self._prompts(caller):
            if prompt.name == name:
                return prompt
        raise Fault(BAD_PARAMS, f"there is no prompt {name!r}")


def _arguments(params: Json) -> Json:
    try:
        return checked(params.get("arguments") or {}, dict[str, Any], what="arguments")
    except InvalidInput as error:
        raise Fault(BAD_PARAMS, error.message) from None


def _watching(params: Json, caller: Caller) -> tuple[Session, str]:
    if caller.session is None:
        raise Fault(
            INVALID_REQUEST, "resources are watched in a session: send the Mcp-Session-Id of initialize"
        )
    return caller.session, _text(params, "uri") or ""


def _no_session() -> HttpError:
    return HttpError(404, "not_found", "there is no such session", hint="begin with initialize")


def _text(params: Json, name: str) -> str | None:
    value = params.get(name)
    if value is not None and not isinstance(value, str):
        raise Fault(BAD_PARAMS, f"{name}: a text is expected")
    return value


def _initialized(params: Json) -> Json:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
        "capabilities": {
            "tools": {"listChanged": False},
            "resources": {"listChanged": False, "subscribe": True},
            "prompts": {"listChanged": False},
            "completions": {},
            "logging": {},
            "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
        },
        "serverInfo": {"name": "tawny", "title": "Tawny", "version": __version__},
        "instructions": (
            "Durable background work of one person's assistant. tasks_run hands in work and answers at once; "
            "look at it with tasks_get, or wait for it with wait. What needs a person's yes waits in approvals_list."
        ),
    }
