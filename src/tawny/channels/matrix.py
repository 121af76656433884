"""Matrix: unencrypted rooms over the client-server interface. A transaction id makes every send exactly-once."""

import html
import json
import mimetypes
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tawny.api import (
    Accept,
    AmbiguousSend,
    Channel,
    ChannelDown,
    ChannelHost,
    ChatSettings,
    Inbound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TemporaryError,
    channel,
    request,
)

if TYPE_CHECKING:
    import httpx

_SYNC_SECONDS = 30
_FILTER: dict[str, Any] = {
    "presence": {"types": []},
    "account_data": {"types": ["m.direct"]},
    "room": {
        "ephemeral": {"types": []},
        "account_data": {"types": []},
        "state": {"lazy_load_members": True, "types": []},
        "timeline": {"limit": 100, "types": ["m.room.message"]},
    },
}


class MatrixSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.matrix]]`. `token` is a reference to an access token; `to` a room's id.

    `allow` holds full user ids (`@ann:example.org`), `groups` room ids (`!abc:example.org`); display names and aliases
    can be changed and are refused.
    """

    homeserver: str
    token: str
    to: str = ""

    def __post_init__(self) -> None:
        for entry in self.allow:
            if not str(entry).startswith("@") or ":" not in str(entry):
                raise ValueError(f"allow: {entry!r} is no Matrix user id; write it like @ann:example.org")
        for entry in (*self.groups, *((self.to,) if self.to else ())):
            if not str(entry).startswith("!"):
                raise ValueError(f"{entry!r} is no room id; it begins with ! (an alias can be moved)")


class MatrixChannel(OneWay):
    """One account on one homeserver."""

    kind = "matrix"
    text_limit = 16_000
    can_edit = True
    has_buttons = False
    idempotent = True
    files_apart = True

    def __init__(self, settings: MatrixSettings, host: ChannelHost, *, token: str) -> None:
        self.name = settings.name
        self.home_address = settings.to
        self._settings = settings
        self._host = host
        self._base = settings.homeserver.rstrip("/") + "/_matrix"
        self._headers = {"authorization": f"Bearer {token}"}
        self._client: httpx.AsyncClient = host.client(timeout=_SYNC_SECONDS + 30)
        self._me = ""
        self._alone: dict[str, bool] = {}

    async def _call(self, method: str, path: str, **content: Any) -> Any:
        try:
            response = await request(
                self._client, method, self._base + path, headers=self._headers, **content
            )
            return response.json()
        except ValueError:
            raise AmbiguousSend("the homeserver's answer is no Matrix") from None
        except PermanentError as error:
            if "M_UNKNOWN_TOKEN" in error.message or "M_MISSING_TOKEN" in error.message:
                raise ChannelDown("the homeserver refuses the access token", hint="log in again") from None
            raise

    async def send(self, message: Outgoing, /) -> Receipt:
        if message.attachments and not message.text:
            content = await self._file(message)
        else:
            content = _text(message.text, formatted=message.format == "markdown")
        if message.thread:
            content["m.relates_to"] = {
                "rel_type": "m.thread",
                "event_id": message.thread,
                "is_falling_back": True,
                "m.in_reply_to": {"event_id": message.thread},
            }
        return await self._put(message.to or self.home_address, message.key, content)

    async def _put(self, room: str, transaction: str, content: dict[str, Any]) -> Receipt:
        if not room.startswith("!"):
            raise PermanentError(f"{room!r} is no Matrix room id", hint="write matrix:!room:server")
        path = f"/client/v3/rooms/{quote(room, safe='')}/send/m.room.message/{quote(transaction, safe='')}"
        answer = await self._call("PUT", path, json=content)
        return Receipt(ids=(str(answer["event_id"]),), detail={"room": room})

    async def _file(self, message: Outgoing) -> dict[str, Any]:
        file = message.attachments[0]
        home = self._host.home.resolve()
        path = (home / file.path).resolve()
        if not file.path or not path.is_relative_to(home) or not path.is_file():
            raise PermanentError(f"the file {file.name!r} is not in the home any more")
        kind = file.media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        try:
            uploaded = await self._call(
                "POST", f"/media/v3/upload?filename={quote(file.name)}", content=path.read_bytes()
            )
        except AmbiguousSend as error:
            # An upload nobody refers to is seen by nobody.
            raise TemporaryError(str(error)) from error
        return {
            "msgtype": "m.image" if kind.startswith("image/") else "m.file",
            "body": file.name,
            "filename": file.name,
            "url": uploaded["content_uri"],
            "info": {"mimetype": kind, "size": path.stat().st_size},
        }

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        content = _text(message.text, formatted=message.format == "markdown")
        edited = {
            **content,
            "body": f"* {content['body']}",
            "m.new_content": content,
            "m.relates_to": {"rel_type": "m.replace", "event_id": receipt.ids[0]},
        }
        room = str(receipt.detail.get("room") or message.to or self.home_address)
        await self._put(room, f"{message.key}.edit.{self._host.clock.now()}", edited)
        return receipt

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        return await self.send(message)

    # --- in

    async def listen(self, accept: Accept, /) -> None:
        if not (self._settings.allow or self._settings.pairing):
            return
        try:
            self._me = str((await self._call("GET", "/client/v3/account/whoami"))["user_id"])
            since = await self._host.recall("since")
            while True:
                answer = await self._sync(since)
                if since is not None:
                    # What was said before the first sync is history, not an order.
                    for room, content in answer.get("rooms", {}).get("join", {}).items():
                        await self._take_room(room, content, accept)
                await self._answer_invites(answer.get("rooms", {}).get("invite", {}))
                since = str(answer["next_batch"])
                # Noted only now: what the house has not stored comes again after a crash.
                await self._host.note("since", since)
        except AmbiguousSend as error:
            raise TemporaryError(str(error)) from error

    async def _sync(self, since: str | None) -> dict[str, Any]:
        timeout = 0 if since is None else _SYNC_SECONDS * 1000
        parameters: dict[str, Any] = {"timeout": timeout, "filter": json.dumps(_FILTER)}
        if since is not None:
            parameters["since"] = since
        return await self._call("GET", "/client/v3/sync", params=parameters)

    async def _take_room(self, room: str, content: dict[str, Any], accept: Accept) -> None:
        for event in content.get("timeline", {}).get("events", ()):
            try:
                inbound = await self._understand(room, event)
            except (KeyError, TypeError, ValueError, AttributeError):
                # Anybody in a room can send an event of any shape.
                continue
            if inbound is not None:
                await accept(inbound)

    async def _understand(self, room: str, event: dict[str, Any]) -> Inbound | None:
        content = event["content"]
        relation: dict[str, Any] = content.get("m.relates_to") or {}
        is_edit = relation.get("rel_type") == "m.replace"
        if event["type"] != "m.room.message" or event["sender"] == self._me or is_edit:
            return None
        if content.get("msgtype") not in ("m.text", "m.emote"):
            return None
        text = str(content["body"])
        mentions: dict[str, Any] = content.get("m.mentions") or {}
        answered: dict[str, Any] = relation.get("m.in_reply_to") or {}
        group = not await self._is_alone(room)
        return Inbound(
            channel=self.name,
            event_id=str(event["event_id"]),
            sender=str(event["sender"]),
            sender_name=str(event["sender"]),
            text=text.replace(self._me, "").strip(" :,") if self._me in text else text,
            conversation=room,
            thread=str(relation["event_id"]) if relation.get("rel_type") == "m.thread" else "",
            group=group,
            mentioned=not group or self._me in mentions.get("user_ids", ()) or self._me in text,
            reply_to=str(answered.get("event_id") or ""),
            time=int(event.get("origin_server_ts", 0)) * 1000,
        )

    async def _is_alone(self, room: str) -> bool:
        """Whether the room holds nobody but one person and us."""
        if room not in self._alone:
            members = await self._call("GET", f"/client/v3/rooms/{quote(room, safe='')}/joined_members")
            self._alone[room] = len(members["joined"]) <= 2 and room not in {
                str(each) for each in self._settings.groups
            }
        return self._alone[room]

    async def _answer_invites(self, invites: dict[str, Any]) -> None:
        """Enter where an allowed person invites; anybody else's invitation stays unanswered."""
        allowed = {str(entry) for entry in self._settings.allow}
        for room, content in invites.items():
            events = content.get("invite_state", {}).get("events", ())
            inviters = {
                event.get("sender")
                for event in events
                if event.get("type") == "m.room.member" and event.get("state_key") == self._me
            }
            if inviters & allowed:
                try:
                    await self._call("POST", f"/client/v3/join/{quote(room, safe='')}", json={})
                except PermanentError:
                    continue
                self._alone.pop(room, None)

    async def close(self) -> None:
        await self._client.aclose()


def _text(text: str, *, formatted: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"msgtype": "m.text", "body": text}
    if formatted and "```" in text:
        parts = text.split("```")
        shown = [
            f"<pre><code>{html.escape(part.partition(chr(10))[2] or part)}</code></pre>"
            if index % 2
            else html.escape(part).replace("\n", "<br>")
            for index, part in enumerate(parts)
        ]
        content |= {"format": "org.matrix.custom.html", "formatted_body": "".join(shown)}
    return content


@channel("matrix", settings=MatrixSettings, description="A Matrix account, in unencrypted rooms.")
def matrix(settings: Any, host: ChannelHost) -> Channel:
    return MatrixChannel(settings, host, token=host.secret(settings.token))


CHANNELS = {"matrix": matrix}
