"""A Slack of our own: it checks every request against the documented methods."""

import asyncio
import itertools
import json
from typing import Any

from jsonschema import Draft202012Validator
from websockets.asyncio.server import ServerConnection

from fake_http import FakeHttp, Request, Response

TEXT = {"type": "string", "minLength": 1}


def _takes(*required: str, **arguments: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": arguments,
        "required": list(required),
        "additionalProperties": False,
    }


_PLAIN_TEXT = _takes("type", "text", type={"const": "plain_text"}, text={**TEXT, "maxLength": 75})
# Without `verbatim` Slack makes calls of names in plain words.
_MRKDWN = _takes(
    "type",
    "text",
    "verbatim",
    type={"const": "mrkdwn"},
    text={**TEXT, "maxLength": 3000},
    verbatim={"const": True},
)
_AS_IT_IS = _takes(
    "type",
    "text",
    type={"const": "plain_text"},
    text={**TEXT, "maxLength": 3000},
    emoji={"type": "boolean"},
)
_BUTTON = {
    **_takes(
        "type",
        "text",
        "action_id",
        type={"const": "button"},
        text=_PLAIN_TEXT,
        action_id={**TEXT, "maxLength": 255},
        url={**TEXT, "maxLength": 3000},
        value={**TEXT, "maxLength": 2000},
    ),
    "oneOf": [{"required": ["url"]}, {"required": ["value"]}],
}
_BLOCK = {
    "oneOf": [
        _takes("type", "text", type={"const": "section"}, text={"oneOf": [_MRKDWN, _AS_IT_IS]}),
        _takes(
            "type",
            "elements",
            type={"const": "actions"},
            elements={"type": "array", "items": _BUTTON, "minItems": 1, "maxItems": 25},
        ),
    ]
}
_MESSAGE: dict[str, Any] = {
    "channel": TEXT,
    "text": {"type": "string", "maxLength": 40_000},
    "blocks": {"type": "array", "items": _BLOCK, "maxItems": 50},
    "metadata": _takes(
        "event_type",
        "event_payload",
        event_type={"type": "string", "pattern": "^[a-z0-9_]+$"},
        event_payload={"type": "object"},
    ),
}
_STAMP = {"type": "string", "pattern": r"^\d+\.\d+$"}
_LIST: dict[str, Any] = {
    "channel": {"type": "string", "pattern": "^[CDG]"},
    "limit": {"type": "string", "pattern": "^[1-9]\\d{0,2}$"},
    "cursor": TEXT,
    "include_all_metadata": {"enum": ["true", "false"]},
}
JSON_METHODS = {
    "chat.postMessage": _takes(
        "channel",
        "text",
        **_MESSAGE,
        thread_ts=_STAMP,
        unfurl_links={"type": "boolean"},
        unfurl_media={"type": "boolean"},
    ),
    "chat.update": _takes("channel", "ts", **_MESSAGE, ts=_STAMP),
    "conversations.open": _takes("users", users={"type": "string", "pattern": "^[UW]"}),
    "files.completeUploadExternal": _takes(
        "files",
        files={
            "type": "array",
            "items": _takes("id", id=TEXT, title={"type": "string"}),
            "minItems": 1,
            "maxItems": 10,
        },
        channel_id=TEXT,
        thread_ts=_STAMP,
    ),
}
FORM_METHODS = {
    "conversations.history": _takes("channel", **_LIST),
    "conversations.replies": _takes("channel", "ts", **_LIST, ts=_STAMP),
    "files.getUploadURLExternal": _takes(
        "filename", "length", filename=TEXT, length={"type": "string", "pattern": "^[1-9]\\d*$"}
    ),
    "auth.test": _takes(),
    "apps.connections.open": _takes(),
}
"""As the published methods say; Slack reads JSON with some of them only, and of the others just forms."""


class FakeSlack:
    """Slack's methods as documented, and its socket: envelopes come again until they are acknowledged."""

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.http.applies = lambda request: any(
            word in request.path for word in ("chat.", "completeUploadExternal")
        )
        self.violations: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.waiting: dict[str, dict[str, Any]] = {}
        self.socket_url = ""
        self._ids = itertools.count(1)
        self._news = asyncio.Event()
        self._sockets: set[ServerConnection] = set()

    def handle(self, request: Request) -> Response:
        method = request.path.rpartition("/")[2]
        if method.startswith("upload-"):
            self.uploads[method] = (self.uploads[method][0], request.body)
            return Response(200, b"OK")
        if request.headers.get("authorization") not in ("Bearer xoxb-1", "Bearer xapp-1"):
            return Response(200, {"ok": False, "error": "invalid_auth"})
        kind = request.headers.get("content-type", "").partition(";")[0]
        arguments: Any = {}
        if method in JSON_METHODS and kind == "application/json":
            arguments = request.json()
        elif request.body and kind != "application/json":
            arguments = request.form()
        schema = JSON_METHODS.get(method) or FORM_METHODS.get(method) or {"not": {}}
        errors = [error.message for error in Draft202012Validator(schema).iter_errors(arguments)]
        if kind == "application/json" and method not in JSON_METHODS:
            errors.append("reads no JSON")
        if errors:
            self.violations += [f"{method}: {error}" for error in errors]
            return Response(200, {"ok": False, "error": "invalid_arguments"})
        return Response(200, getattr(self, "on_" + method.replace(".", "_").lower())(arguments))

    def on_files_getuploadurlexternal(self, arguments: dict[str, Any]) -> Any:
        ticket = f"upload-{next(self._ids)}"
        self.uploads[ticket] = (arguments["filename"], b"")
        return {"ok": True, "upload_url": f"{self.http.url}/{ticket}", "file_id": ticket}

    def on_auth_test(self, _: Any) -> Any:
        return {"ok": True, "user_id": "UBOT", "team": "t"}

    def on_apps_connections_open(self, _: Any) -> Any:
        return {"ok": True, "url": self.socket_url}

    def on_chat_postmessage(self, arguments: dict[str, Any]) -> Any:
        if arguments["channel"] == "CGONE":
            return {"ok": False, "error": "channel_not_found"}
        message = {**arguments, "ts": f"1772438400.{next(self._ids):06d}"}
        self.messages.append(message)
        return {"ok": True, "channel": arguments["channel"], "ts": message["ts"]}

    def on_chat_update(self, arguments: dict[str, Any]) -> Any:
        for message in self.messages:
            if message["ts"] == arguments["ts"] and message["channel"] == arguments["channel"]:
                message.update(arguments)
                return {"ok": True, "ts": message["ts"], "channel": message["channel"]}
        return {"ok": False, "error": "message_not_found"}

    def on_conversations_history(self, arguments: dict[str, Any]) -> Any:
        """The newest first."""
        there = [each for each in self.messages if each["channel"] == arguments["channel"]]
        return _page(there[::-1], arguments)

    def on_conversations_replies(self, arguments: dict[str, Any]) -> Any:
        """The thread's first message, then its replies, the oldest first."""
        there = [each for each in self.messages if each["channel"] == arguments["channel"]]
        head = {"ts": arguments["ts"], "text": "the first", "channel": arguments["channel"]}
        return _page([head, *(each for each in there if each.get("thread_ts") == arguments["ts"])], arguments)

    def on_conversations_open(self, arguments: dict[str, Any]) -> Any:
        return {"ok": True, "channel": {"id": "D" + arguments["users"][1:]}}

    def on_files_completeuploadexternal(self, arguments: dict[str, Any]) -> Any:
        (file,) = arguments["files"]
        self.messages.append(
            {"channel": arguments["channel_id"], "text": "", "ts": "1.1", "file": self.uploads[file["id"]]}
        )
        return {"ok": True, "files": []}

    # --- the socket

    async def talk(self, socket: ServerConnection) -> None:
        self._sockets.add(socket)
        await socket.send(json.dumps({"type": "hello", "num_connections": 1}))
        sent: set[str] = set()

        async def tell() -> None:
            while True:
                for envelope_id, envelope in list(self.waiting.items()):
                    if envelope_id not in sent:
                        sent.add(envelope_id)
                        await socket.send(json.dumps(envelope))
                self._news.clear()
                await self._news.wait()

        telling = asyncio.create_task(tell())
        try:
            async for raw in socket:
                self.waiting.pop(json.loads(raw)["envelope_id"], None)
        finally:
            telling.cancel()
            self._sockets.discard(socket)

    def push(self, kind: str, payload: dict[str, Any]) -> None:
        envelope_id = f"env-{next(self._ids)}"
        self.waiting[envelope_id] = {"type": kind, "envelope_id": envelope_id, "payload": payload}
        self._news.set()

    async def cut(self) -> None:
        for socket in list(self._sockets):
            socket.transport.abort()


def _page(messages: list[dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    """One page of a list, with the cursor of the next where there is one."""
    begin = int(arguments.get("cursor") or 0)
    end = begin + min(int(arguments["limit"]), 999)
    following = str(end) if end < len(messages) else ""
    return {
        "ok": True,
        "messages": messages[begin:end],
        "has_more": bool(following),
        "response_metadata": {"next_cursor": following},
    }
