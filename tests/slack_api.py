"""A Slack of our own: it checks every request against the documented methods."""

import asyncio
import itertools
import json
from typing import Any

from websockets.asyncio.server import ServerConnection

from fake_http import FakeHttp, Request, Response

ALLOWED = {
    "chat.postMessage": {
        "channel",
        "text",
        "blocks",
        "thread_ts",
        "unfurl_links",
        "unfurl_media",
        "metadata",
    },
    "chat.update": {"channel", "ts", "text", "blocks", "metadata"},
    "conversations.history": {"channel", "limit", "cursor", "include_all_metadata"},
    "conversations.replies": {"channel", "ts", "limit", "cursor", "include_all_metadata"},
    "conversations.open": {"users"},
    "files.completeUploadExternal": {"files", "channel_id", "thread_ts"},
    "auth.test": set(),
    "apps.connections.open": set(),
}


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
        if method == "files.getUploadURLExternal":
            form = request.form()
            ticket = f"upload-{next(self._ids)}"
            self.uploads[ticket] = (form["filename"], b"")
            assert int(form["length"]) > 0
            return Response(200, {"ok": True, "upload_url": f"{self.http.url}/{ticket}", "file_id": ticket})
        arguments = request.json()
        if method not in ALLOWED or not set(arguments) <= ALLOWED[method]:
            self.violations.append(f"{method}: {set(arguments) - ALLOWED.get(method, set())}")
            return Response(200, {"ok": False, "error": "invalid_arguments"})
        return Response(200, getattr(self, "on_" + method.replace(".", "_").lower())(arguments))

    def on_auth_test(self, _: Any) -> Any:
        return {"ok": True, "user_id": "UBOT", "team": "t"}

    def on_apps_connections_open(self, _: Any) -> Any:
        return {"ok": True, "url": self.socket_url}

    def on_chat_postmessage(self, arguments: dict[str, Any]) -> Any:
        if arguments["channel"] == "CGONE":
            return {"ok": False, "error": "channel_not_found"}
        if len(arguments["text"]) > 40_000:
            return {"ok": False, "error": "msg_too_long"}
        for block in arguments.get("blocks", ()):
            if block["type"] == "section":
                assert 1 <= len(block["text"]["text"]) <= 3000
            for element in block.get("elements", ()):
                assert len(element["text"]["text"]) <= 75
                assert len(element.get("value", "")) <= 2000
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
        return {"ok": True, "channel": {"id": arguments["users"]}}

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
