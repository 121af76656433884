"""The channel: what is said in rooms. A transaction id keeps a second copy out; later, a mark in the message does."""

import asyncio
import html
import json
import logging
import mimetypes
import re
from typing import Any

from tawny.api import (
    SECOND,
    Accept,
    AmbiguousSend,
    ChannelHost,
    Inbound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TemporaryError,
    attached,
)
from tawny.channels.matrix import MatrixSettings
from tawny.channels.matrix.account import Account

_log = logging.getLogger("tawny.matrix")
_WAITING = "waiting"
_MOST_WAITING = 50
_LARGEST_FILE = 100_000_000
_HEAVIEST = 42_000
"""Bytes of a message's content before it is sealed: what a plain text as long as the limit may come to."""
_LONGEST_ASIDE = 500
_FENCE = re.compile(
    r"^ {0,3}(`{3,}(?=[^`\n]*\n)|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$\n?|\Z)", re.M | re.S
)
_MARK = "org.tawny.key"
"""In the content of what we send: by it an unanswered send is found again, whatever the server remembers."""
_SKEW = 3600 * SECOND
"""How far the homeserver's clock may be from ours."""
_REMEMBERED = 900 * SECOND
"""How long every homeserver surely knows a transaction; some keep it for half an hour, others for good."""


class MatrixChannel(OneWay):
    """One account on one homeserver."""

    kind = "matrix"
    # An event weighs 65,536 bytes at most; sealed, a UTF-16 unit is eight (six in JSON, in base64 a third more).
    text_limit = 7000
    can_edit = True
    has_buttons = False
    idempotent = True
    files_apart = True

    def __init__(self, settings: MatrixSettings, host: ChannelHost, *, token: str) -> None:
        self.name = settings.name
        self.home_address = settings.to
        self._settings = settings
        self._host = host
        self.account = Account(settings.homeserver, token, folder=host.folder)
        self._alone: dict[str, bool] = {}

    async def send(self, message: Outgoing, /) -> Receipt:
        room = message.to or self.home_address
        if not room.startswith("!"):
            raise PermanentError(f"{room!r} is no Matrix room id", hint="write matrix:!room:server")
        if message.attachments and not message.text:
            content = await self._file(room, message)
        else:
            content = _text(message.text, formatted=message.format == "markdown")
        if message.thread:
            content["m.relates_to"] = {
                "rel_type": "m.thread",
                "event_id": message.thread,
                "is_falling_back": True,
                "m.in_reply_to": {"event_id": message.thread},
            }
        return await self._put(room, message.key, content)

    async def _put(self, room: str, transaction: str, content: dict[str, Any]) -> Receipt:
        content[_MARK] = transaction
        event_id = await self.account.put(room, transaction, content)
        return Receipt(ids=(event_id,), detail={"room": room})

    async def _file(self, room: str, message: Outgoing) -> dict[str, Any]:
        file = message.attachments[0]
        data = await asyncio.to_thread(attached, self._host.home, file, limit=_LARGEST_FILE)
        kind = file.media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        await self.account.open()
        encrypted = await self.account.is_encrypted(room)
        return {
            "msgtype": "m.image" if kind.startswith("image/") else "m.file",
            "body": file.name,
            "filename": file.name,
            "info": {"mimetype": kind, "size": len(data)},
            **await self.account.upload(data, name=file.name, kind=kind, encrypted=encrypted),
        }

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        content = _text(message.text, formatted=message.format == "markdown")
        edited = {
            **content,
            # For clients that know no edits; the text itself stands in the new content.
            "body": f"* {content['body'][:_LONGEST_ASIDE]}",
            "m.new_content": dict(content),
            "m.relates_to": {"rel_type": "m.replace", "event_id": receipt.ids[0]},
        }
        room = str(receipt.detail.get("room") or message.to or self.home_address)
        await self._put(room, f"{message.key}.edit.{self._host.clock.now()}", edited)
        return receipt

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Look for the mark among what this account has said in the room.

        Where that cannot tell, the transaction still keeps a second copy out, for as long as servers remember it.
        """
        room = message.to or self.home_address
        try:
            async for event in self.account.own(room, message.tried_at - _SKEW):
                if message.key in (
                    event["content"].get(_MARK),
                    event.get("unsigned", {}).get("transaction_id"),
                ):
                    return Receipt(ids=(str(event["event_id"]),), detail={"room": room, "reconciled": True})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TemporaryError(f"what was said in the room is no Matrix: {type(error).__name__}") from None
        except AmbiguousSend as error:
            if self._host.clock.now() - message.tried_at < _REMEMBERED:
                raise
            raise PermanentError(f"nobody can tell whether it is there: {error}") from error
        return None

    # --- in

    async def listen(self, accept: Accept, /) -> None:
        try:
            await self.account.open()
            since = await self._host.recall("since")
            while True:
                sealed = self.account.was_encrypted()
                answer = await self.account.sync(since)
                if since is not None:
                    # What was said before the first sync is history, not an order.
                    for room, content in answer.rooms.join.items():
                        await self._take_room(room, content.timeline.events, accept, is_sealed=room in sealed)
                await self._answer_invites(answer.rooms.invite)
                if answer.to_device_events:
                    await self._read_again(accept)
                since = str(answer.next_batch)
                # Noted only now: what the house has not stored comes again after a crash.
                await self._host.note("since", since)
        except AmbiguousSend as error:
            raise TemporaryError(str(error)) from error

    async def _take_room(self, room: str, events: list[Any], accept: Accept, *, is_sealed: bool) -> None:
        for event in events:
            source: dict[str, Any] = event.source
            if source.get("type") == "m.room.member":
                self._alone.pop(room, None)
                continue
            if source.get("type") == "m.room.encrypted":
                # Still sealed: its key has not come, or it was looked at before.
                opened = self.account.read(room, source)
                if opened is None:
                    await self._wait_for_key(room, source)
                    continue
                source = opened
            elif event.decrypted:
                if not self.account.is_theirs(event):
                    continue
            elif is_sealed:
                # In a room that is encrypted, what came in clear is the server's word alone.
                continue
            await self._take(room, source, accept)

    async def _take(self, room: str, source: dict[str, Any], accept: Accept) -> None:
        try:
            inbound = await self._understand(room, source)
        except (KeyError, TypeError, ValueError, AttributeError):
            # Anybody in a room can send an event of any shape.
            return
        if inbound is not None:
            await accept(inbound)

    async def _wait_for_key(self, room: str, source: dict[str, Any]) -> None:
        """Keep what cannot be read yet: a key may come later than its message."""
        _log.warning("no key yet to a message", extra={"facts": {"room": room}})
        waiting = await self._waiting()
        if all(source.get("event_id") != event.get("event_id") for _, event in waiting):
            await self._host.note(_WAITING, json.dumps([*waiting, (room, source)][-_MOST_WAITING:]))

    async def _waiting(self) -> list[tuple[str, dict[str, Any]]]:
        return json.loads(await self._host.recall(_WAITING) or "[]")

    async def _read_again(self, accept: Accept) -> None:
        waiting = await self._waiting()
        left: list[tuple[str, dict[str, Any]]] = []
        for room, source in waiting:
            opened = self.account.read(room, source)
            if opened is None:
                left.append((room, source))
            else:
                await self._take(room, opened, accept)
        if len(left) < len(waiting):
            await self._host.note(_WAITING, json.dumps(left))

    async def _understand(self, room: str, event: dict[str, Any]) -> Inbound | None:
        content = event["content"]
        me = self.account.me
        relation: dict[str, Any] = content.get("m.relates_to") or {}
        is_edit = relation.get("rel_type") == "m.replace"
        if event["type"] != "m.room.message" or event["sender"] == me or is_edit:
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
            text=text.replace(me, "").strip(" :,") if me in text else text,
            conversation=room,
            thread=str(relation["event_id"]) if relation.get("rel_type") == "m.thread" else "",
            group=group,
            mentioned=not group or me in mentions.get("user_ids", ()) or me in text,
            reply_to=str(answered.get("event_id") or ""),
            time=int(event.get("origin_server_ts", 0)) * 1000,
        )

    async def _is_alone(self, room: str) -> bool:
        """Whether the room holds nobody but one person and us."""
        if room not in self._alone:
            is_group = room in {str(each) for each in self._settings.groups}
            self._alone[room] = not is_group and await self.account.members(room) <= 2
        return self._alone[room]

    async def _answer_invites(self, invites: dict[str, Any]) -> None:
        """Enter where an allowed person invites; anybody else's invitation stays unanswered."""
        allowed = {str(entry) for entry in self._settings.allow}
        for room, content in invites.items():
            sources: list[dict[str, Any]] = [event.source for event in content.invite_state]
            inviters = {
                event.get("sender")
                for event in sources
                if event.get("type") == "m.room.member" and event.get("state_key") == self.account.me
            }
            if inviters & allowed:
                try:
                    await self.account.join(room)
                except PermanentError:
                    continue
                self._alone.pop(room, None)

    async def close(self) -> None:
        await self.account.close()


def _text(text: str, *, formatted: bool) -> dict[str, Any]:
    """A message of those words, code shown as code. It calls nobody, whoever is named in it."""
    # Without this, clients look for names and @room in the words themselves.
    content: dict[str, Any] = {"msgtype": "m.text", "body": text, "m.mentions": {}}
    fences = list(_FENCE.finditer(text)) if formatted else []
    if not fences:
        return content
    shown: list[str] = []
    end = 0
    for fence in fences:
        shown += [_words(text[end : fence.start()]), f"<pre><code>{html.escape(fence[2])}</code></pre>"]
        end = fence.end()
    shown.append(_words(text[end:]))
    rich = {**content, "format": "org.matrix.custom.html", "formatted_body": "".join(shown)}
    return rich if len(json.dumps(rich)) <= _HEAVIEST else content


def _words(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
