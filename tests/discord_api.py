"""A Discord of our own: it checks every request against the documented interface."""

import asyncio
import itertools
import json
from typing import Any

from jsonschema import Draft202012Validator
from websockets.asyncio.server import ServerConnection

from fake_http import FakeHttp, Request, Response

TEXT = {"type": "string", "minLength": 1}


def _takes(*required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


_LABEL = {**TEXT, "maxLength": 80}
_BUTTON = {
    "oneOf": [
        _takes("type", "style", "label", "custom_id", type={"const": 2}, style={"enum": [1, 2, 3, 4]}, label=_LABEL,
               custom_id={**TEXT, "maxLength": 100}),
        _takes("type", "style", "label", "url", type={"const": 2}, style={"const": 5}, label=_LABEL,
               url={**TEXT, "maxLength": 512, "pattern": "^(https?|discord)://"}),
    ]
}  # fmt: skip
_ROW = _takes(
    "type",
    "components",
    type={"const": 1},
    components={"type": "array", "items": _BUTTON, "minItems": 1, "maxItems": 5},
)
_CONTENT: dict[str, Any] = {
    "content": {"type": "string", "maxLength": 2000},
    "allowed_mentions": _takes(parse={"type": "array", "items": {"enum": ["roles", "users", "everyone"]}}),
    "components": {"type": "array", "items": _ROW, "maxItems": 5},
    "flags": {"type": "integer"},
}
BODIES = {
    "post": _takes(
        **_CONTENT,
        nonce={**TEXT, "maxLength": 25},
        enforce_nonce={"type": "boolean"},
        attachments={
            "type": "array",
            "items": _takes("id", id={"type": "string", "pattern": "^\\d+$"}, filename=TEXT),
            "maxItems": 10,
        },
    ),
    "patch": _takes(**_CONTENT),
    "open": _takes("recipient_id", recipient_id={"type": "string", "pattern": "^\\d+$"}),
    "callback": _takes("type", type={"const": 6}),
}
"""What the published interface takes, of what concerns us."""


class FakeDiscord:
    """The documented REST interface and gateway: identify, resume with replay, heartbeats, enforced nonces."""

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.http.applies = lambda request: request.path.endswith("/messages")
        self.violations: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.identified = 0
        self.resumed = 0
        self.acknowledged: list[str] = []
        self.socket_url = ""
        self.close_with = 0
        self._ids = itertools.count(1000)
        self._news = asyncio.Event()
        self._sockets: set[ServerConnection] = set()

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bot t0k3n" and "callback" not in request.path:
            return Response(401, {"message": "401: Unauthorized", "code": 0})
        parts = request.path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "gateway", "bot"):
                return Response(200, {"url": self.socket_url, "shards": 1})
            case ("POST", "users", "@me", "channels"):
                if refused := self._refused("open", request.json()):
                    return refused
                return Response(200, {"id": "9" + request.json()["recipient_id"], "type": 1})
            case ("POST", "channels", room, "messages"):
                return self.post(room, request)
            case ("PATCH", "channels", room, "messages", message_id):
                if refused := self._refused("patch", request.json()):
                    return refused
                for message in self.messages:
                    if message["id"] == message_id and message["channel_id"] == room:
                        message.update(request.json())
                        return Response(200, message)
                return Response(404, {"message": "Unknown Message", "code": 10008})
            case ("POST", "interactions", interaction, _, "callback"):
                if refused := self._refused("callback", request.json()):
                    return refused
                self.acknowledged.append(interaction)
                return Response(204)
            case _:
                self.violations.append(f"{request.method} {request.path}")
                return Response(404, {"message": "404: Not Found", "code": 0})

    def _refused(self, kind: str, body: Any) -> Response | None:
        errors = [error.message for error in Draft202012Validator(BODIES[kind]).iter_errors(body)]
        self.violations += [f"{kind}: {error}" for error in errors]
        return Response(400, {"message": "Invalid Form Body", "code": 50035}) if errors else None

    @staticmethod
    def _buttons(body: dict[str, Any]) -> list[dict[str, Any]]:
        return [each for row in body.get("components", ()) for each in row["components"]]

    def post(self, room: str, request: Request) -> Response:
        form = request.form()
        body = json.loads(form["payload_json"]) if "payload_json" in form else form
        if refused := self._refused("post", body):
            return refused
        ids = [each["custom_id"] for each in self._buttons(body) if "custom_id" in each]
        if len(set(ids)) < len(ids):
            self.violations.append(f"two buttons are one: {ids}")
        if not body["content"] and "files[0]" not in form:
            return Response(400, {"message": "Cannot send an empty message", "code": 50006})
        for message in self.messages:
            if message["nonce"] == body["nonce"] and message["channel_id"] == room:
                return Response(200, message)
        message = {**body, "id": str(next(self._ids)), "channel_id": room, "author": {"id": "1", "bot": True}}
        if "files[0]" in form:
            message["file"] = form["files[0]"][0]
        self.messages.append(message)
        return Response(200, message)

    # --- the gateway

    async def talk(self, socket: ServerConnection) -> None:
        self._sockets.add(socket)
        await socket.send(json.dumps({"op": 10, "d": {"heartbeat_interval": 41250}}))
        greeting = json.loads(await socket.recv())
        while greeting["op"] == 1:
            greeting = json.loads(await socket.recv())
        if self.close_with:
            await socket.close(self.close_with)
            return
        sent = 0
        if greeting["op"] == 2:
            self.identified += 1
            assert {"token", "intents", "properties"} <= set(greeting["d"])
            ready = {"user": {"id": "1"}, "session_id": "s1", "resume_gateway_url": self.socket_url, "v": 10}
            # Kinder than Discord, which forgets what was said before; the tests need not wait for the login.
            self.log.insert(0, {"op": 0, "t": "READY", "d": ready})
        else:
            self.resumed += 1
            sent = greeting["d"]["seq"]

        async def tell() -> None:
            nonlocal sent
            while True:
                while sent < len(self.log):
                    sent += 1
                    await socket.send(json.dumps({**self.log[sent - 1], "s": sent}))
                self._news.clear()
                await self._news.wait()

        telling = asyncio.create_task(tell())
        try:
            async for raw in socket:
                if json.loads(raw)["op"] == 1:
                    await socket.send(json.dumps({"op": 11}))
        finally:
            telling.cancel()
            self._sockets.discard(socket)

    def push(self, kind: str, data: dict[str, Any]) -> None:
        self.log.append({"op": 0, "t": kind, "d": data})
        self._news.set()

    async def cut(self) -> None:
        for socket in list(self._sockets):
            socket.transport.abort()
