"""Discord: a bot over the gateway's socket and the REST interface.

A message carries a nonce that Discord enforces for some minutes: within that time an unanswered send is asked again
under the same nonce, and comes back as what it was, never twice.
"""

import asyncio
import hashlib
import json
import mimetypes
import random
import re
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tawny.api import (
    SECOND,
    Accept,
    AmbiguousSend,
    Attachment,
    Button,
    Channel,
    ChannelDown,
    ChannelHost,
    ChatSettings,
    Inbound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TawnyError,
    TemporaryError,
    attached,
    channel,
    first_of,
    json_object,
    numeric_ids,
    request,
    text_at,
)

if TYPE_CHECKING:
    import httpx

_INTENTS = 1 << 0 | 1 << 9 | 1 << 12 | 1 << 15
"""Guilds, guild messages, direct messages, message content."""
_DISPATCH, _HEARTBEAT, _IDENTIFY, _RESUME, _RECONNECT, _INVALID, _HELLO, _ACK = 0, 1, 2, 6, 7, 9, 10, 11
_NEVER_AGAIN = {
    4004: "the token is not valid",
    4013: "the intents are not valid",
    4014: "the message content intent is not switched on for this bot",
}
_NONCE_WINDOW = 60 * SECOND
_SUPPRESS_EMBEDS = 4
_CUSTOM_ID = 100


class DiscordSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.discord]]`. `token` is a reference; `allow` holds user ids, `groups` channel ids, all numeric."""

    token: str
    to: int | str = ""
    api_base: str = "https://discord.com/api/v10"

    def __post_init__(self) -> None:
        numeric_ids((*self.allow, *self.groups), kind="Discord")


_MARKS = re.compile(r"[\\*_~`|<>\[\]#-]")
_MOST = 2000


def _shown(message: Outgoing) -> str:
    """What is to be said so that Discord shows it: of a text that is no markdown, each character as it is."""
    if message.format == "markdown":
        return message.text
    escaped = _MARKS.sub(r"\\\g<0>", message.text)
    inside = message.text.replace("```", "`\u2060``")
    fenced = f"```\n{inside}\n```"
    return next((text for text in (escaped, fenced) if len(text) <= _MOST), message.text)


class DiscordChannel(OneWay):
    """One bot. `discord:ID` is a channel's or thread's id; `discord:user-ID` talks to a person alone."""

    kind = "discord"
    # Discord takes 2,000; what is no markdown may need a fence around it.
    text_limit = 1990
    can_edit = True
    has_buttons = True
    idempotent = False
    files_apart = True

    def __init__(self, settings: DiscordSettings, host: ChannelHost, *, token: str) -> None:
        self.name = settings.name
        first = next((f"user-{entry}" for entry in settings.allow), "")
        self.home_address = str(settings.to) or first
        self._host = host
        self._base = settings.api_base.rstrip("/")
        self._headers = {"authorization": f"Bot {token}", "user-agent": "DiscordBot (tawny, 1)"}
        self._token = token
        self._client: httpx.AsyncClient = host.client()
        self._rooms: dict[str, str] = {}
        self._me = ""
        self._session = ""
        self._resume_url = ""
        self._seq: int | None = None

    async def _call(self, method: str, path: str, **content: Any) -> Any:
        response = await request(self._client, method, self._base + path, headers=self._headers, **content)
        if response.status_code == 204:
            return None
        return json_object(response)

    async def _room(self, to: str) -> str:
        """The channel an address leads to; a person's own is opened once."""
        to = to or self.home_address
        person = to.removeprefix("user-")
        if not person.isdigit():
            raise PermanentError(
                f"{to!r} is no Discord id", hint="write discord:CHANNEL_ID or discord:user-USER_ID"
            )
        if person == to:
            return to
        if person not in self._rooms:
            try:
                made = await self._call("POST", "/users/@me/channels", json={"recipient_id": person})
            except AmbiguousSend as error:
                # Opening a conversation twice is opening it once.
                raise TemporaryError(str(error)) from error
            self._rooms[person] = text_at(made, "id")
        return self._rooms[person]

    async def send(self, message: Outgoing, /) -> Receipt:
        room = await self._room(message.thread or message.to)
        body = await self._body(message)
        if message.attachments and not message.text:
            return _receipt(await self._post_file(room, message.attachments[0], body))
        return _receipt(await self._call("POST", f"/channels/{room}/messages", json=body))

    async def _body(self, message: Outgoing) -> dict[str, Any]:
        body: dict[str, Any] = {
            "content": _shown(message),
            "nonce": hashlib.sha256(message.key.encode()).hexdigest()[:25],
            "enforce_nonce": True,
            # Nobody is pinged by what a model wrote, and no link is fetched for a preview.
            "allowed_mentions": {"parse": []},
            "flags": _SUPPRESS_EMBEDS,
        }
        if message.buttons:
            body["components"] = await self._components(message.buttons)
        return body

    async def _components(self, buttons: tuple[Button, ...]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for button in buttons:
            entry: dict[str, Any] = {"type": 2, "label": button.label[:80]}
            entry |= (
                {"style": 5, "url": button.url}
                if button.url
                else {"style": 2, "custom_id": await self._short(button.value)}
            )
            made.append(entry)
        return [{"type": 1, "components": made[start : start + 5]} for start in range(0, len(made), 5)]

    async def _short(self, value: str) -> str:
        if len(value) <= _CUSTOM_ID and not value.startswith("#"):
            return value
        short = "#" + hashlib.sha256(value.encode()).hexdigest()[:40]
        await self._host.note(f"button:{short}", value)
        return short

    async def _post_file(self, room: str, file: Attachment, body: dict[str, Any]) -> Any:
        data = await asyncio.to_thread(attached, self._host.home, file, limit=10_000_000)
        kind = file.media_type or mimetypes.guess_type(file.name)[0]
        with_file: dict[str, Any] = {**body, "attachments": [{"id": "0", "filename": file.name}]}
        return await self._call(
            "POST",
            f"/channels/{room}/messages",
            data={"payload_json": json.dumps(with_file)},
            files={"files[0]": (file.name, data, kind)},
        )

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        room = str(receipt.detail.get("room") or await self._room(message.thread or message.to))
        body: dict[str, Any] = {
            "content": _shown(message),
            "allowed_mentions": {"parse": []},
            "components": await self._components(message.buttons),
        }
        await self._call("PATCH", f"/channels/{room}/messages/{receipt.ids[-1]}", json=body)
        return receipt

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Within the nonce's minute: ask again under the same nonce, which brings back what is there."""
        since = self._host.clock.now() - message.tried_at
        if not 0 <= since <= _NONCE_WINDOW or message.attachments:
            raise AmbiguousSend("Discord has forgotten the nonce by now")
        room = await self._room(message.thread or message.to)
        return _receipt(
            await self._call("POST", f"/channels/{room}/messages", json=await self._body(message))
        )

    # --- in

    async def listen(self, accept: Accept, /) -> None:
        url = self._resume_url
        if not url:
            url = text_at(await self._call("GET", "/gateway/bot"), "url")
        try:
            async with connect(f"{url.rstrip('/')}/?v=10&encoding=json", max_size=2**24) as socket:
                hello = json.loads(await socket.recv())
                async with asyncio.TaskGroup() as group:
                    beating = group.create_task(self._beat(socket, hello["d"]["heartbeat_interval"] / 1000))
                    try:
                        await self._greet(socket)
                        await self._read(socket, accept)
                    finally:
                        beating.cancel()
        except (ExceptionGroup, ConnectionClosed, WebSocketException, OSError) as error:
            raise self._ended(error) from None
        raise TemporaryError("Discord asks to connect again")

    def _ended(self, error: Exception) -> Exception:
        """What the end of a connection means."""
        if (ours := first_of(error, TawnyError)) is not None:
            # The house could not keep it: that, and not the group around it, is what the house wants to hear.
            return ours
        if (closed := first_of(error, ConnectionClosed)) is not None:
            code = closed.rcvd.code if closed.rcvd else 0
            if code in _NEVER_AGAIN:
                return ChannelDown(
                    f"Discord: {_NEVER_AGAIN[code]}", hint="see the bot's page of the developer portal"
                )
            if code in (4007, 4009):
                self._forget()
            return TemporaryError(f"Discord closed the socket ({code})")
        if (broken := first_of(error, (WebSocketException, OSError))) is not None:
            # The address to resume at may be what is dead: the next time it is asked for again.
            self._resume_url = ""
            return TemporaryError(f"Discord's socket broke: {broken}")
        return error

    def _forget(self) -> None:
        self._session, self._resume_url, self._seq = "", "", None

    async def _greet(self, socket: ClientConnection) -> None:
        if self._session:
            data = {"token": self._token, "session_id": self._session, "seq": self._seq}
            await socket.send(json.dumps({"op": _RESUME, "d": data}))
            return
        properties = {"os": "linux", "browser": "tawny", "device": "tawny"}
        data = {"token": self._token, "intents": _INTENTS, "properties": properties}
        await socket.send(json.dumps({"op": _IDENTIFY, "d": data}))

    async def _beat(self, socket: ClientConnection, interval: float) -> None:
        """A heartbeat each interval, the first after a random part of it, as the documentation asks."""
        await asyncio.sleep(interval * random.random())
        while True:
            await socket.send(json.dumps({"op": _HEARTBEAT, "d": self._seq}))
            await asyncio.sleep(interval)

    async def _read(self, socket: ClientConnection, accept: Accept) -> None:
        async for raw in socket:
            frame = json.loads(raw)
            match frame.get("op"):
                case 0:
                    await self._dispatched(frame, accept)
                    # Resuming from here brings again what the house had not stored yet.
                    self._seq = frame.get("s", self._seq)
                case 1:
                    await socket.send(json.dumps({"op": _HEARTBEAT, "d": self._seq}))
                case 7:
                    return
                case 9:
                    if not frame.get("d"):
                        self._forget()
                    return
                case _:
                    continue

    async def _dispatched(self, frame: dict[str, Any], accept: Accept) -> None:
        data: dict[str, Any] = frame.get("d") or {}
        if frame.get("t") == "READY":
            self._me = str(data["user"]["id"])
            self._session = str(data["session_id"])
            self._resume_url = str(data.get("resume_gateway_url") or "")
            return
        try:
            inbound = await self._understand(str(frame.get("t")), data)
        except (KeyError, TypeError, ValueError, AttributeError):
            # An event of another shape than documented; the next one still counts.
            return
        if inbound is None:
            return
        await accept(inbound)
        if frame.get("t") == "INTERACTION_CREATE":
            await self._acknowledge(data)

    async def _understand(self, kind: str, data: dict[str, Any]) -> Inbound | None:
        if kind == "MESSAGE_CREATE":
            return self._message(data)
        if kind == "INTERACTION_CREATE" and data.get("type") == 3:
            user = data.get("user") or data["member"]["user"]
            action = str(data["data"]["custom_id"])
            if action.startswith("#"):
                action = await self._host.recall(f"button:{action}") or ""
            return Inbound(
                channel=self.name,
                event_id=f"tap:{data['id']}",
                sender=str(user["id"]),
                sender_name=str(user.get("username", "")),
                conversation=str(data["channel_id"]),
                group="guild_id" in data,
                action=action,
                reply_to=str(data["message"]["id"]),
            )
        return None

    def _message(self, data: dict[str, Any]) -> Inbound | None:
        author = data["author"]
        if author.get("bot") or data.get("webhook_id") or data.get("type", 0) not in (0, 19):
            return None
        replied: dict[str, Any] = data.get("referenced_message") or {}
        answered: dict[str, Any] = replied.get("author") or {}
        mentioned = any(str(each["id"]) == self._me for each in data.get("mentions", ()))
        text = (
            str(data.get("content", "")).replace(f"<@{self._me}>", "").replace(f"<@!{self._me}>", "").strip()
        )
        return Inbound(
            channel=self.name,
            event_id=str(data["id"]),
            sender=str(author["id"]),
            sender_name=str(author.get("username", "")),
            text=text,
            conversation=str(data["channel_id"]),
            group="guild_id" in data,
            mentioned=mentioned or str(answered.get("id", "")) == self._me,
            reply_to=str(replied.get("id") or ""),
        )

    async def _acknowledge(self, data: dict[str, Any]) -> None:
        """Say that the tap was heard; that it comes too late harms nobody."""
        try:
            await self._call("POST", f"/interactions/{data['id']}/{data['token']}/callback", json={"type": 6})
        except (PermanentError, TemporaryError, AmbiguousSend):
            return

    async def close(self) -> None:
        await self._client.aclose()


def _receipt(answer: Any) -> Receipt:
    return Receipt(ids=(text_at(answer, "id"),), detail={"room": text_at(answer, "channel_id")})


@channel("discord", settings=DiscordSettings, description="A Discord bot.")
def discord(settings: Any, host: ChannelHost) -> Channel:
    return DiscordChannel(settings, host, token=host.secret(settings.token))


CHANNELS = {"discord": discord}
