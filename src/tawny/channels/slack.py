"""Slack in socket mode: no public address needed. Every message carries its key as metadata, so it is found again."""

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, cast

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tawny.api import (
    SECOND,
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
    attached,
    channel,
    chunk,
    json_object,
    request,
    text_at,
)

if TYPE_CHECKING:
    import httpx

_LOCKED_OUT = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "no_permission",
    }
)
_DOUBTFUL = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_TAKE_JSON = frozenset(
    {"chat.postMessage", "chat.update", "conversations.open", "files.completeUploadExternal"}
)
"""The methods that read their arguments from JSON; the others would see none of them there."""
_USER = re.compile(r"[UWBCDG][A-Z0-9]{2,20}")
_VALUE_LIMIT = 2000
_SECTION_LIMIT = 3000
_PAGE = 200
_MOST_PAGES = 5
_LARGEST_FILE = 1_000_000_000


class _Metadata(msgspec.Struct):
    next_cursor: str | None = None


class _Page(msgspec.Struct):
    """What is read of one page of a conversation. A list that is cut is not one that ends."""

    messages: list[dict[str, Any]]
    has_more: bool = False
    is_limited: bool = False
    response_metadata: _Metadata | None = None


def _page(answer: dict[str, Any]) -> _Page:
    try:
        return msgspec.convert(answer, _Page)
    except msgspec.ValidationError as error:
        raise AmbiguousSend(f"Slack's list of messages is none: {error}") from None


def _is_marked(entry: dict[str, Any], key: str) -> bool:
    found: Any = entry
    for name in ("metadata", "event_payload", "key"):
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return found == key


class SlackSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.slack]]`. `token` (xoxb-…) and `app_token` (xapp-…) are references.

    `allow` holds member ids such as U012AB3CD, `groups` channel ids; names can be changed and are refused.
    """

    token: str
    app_token: str = ""
    to: str = ""
    api_base: str = "https://slack.com/api"

    def __post_init__(self) -> None:
        for entry in (*self.allow, *self.groups):
            if not isinstance(entry, str) or _USER.fullmatch(entry) is None:
                raise ValueError(
                    f"allow: {entry!r} is no Slack id; names can be changed, so give an id like U012AB3CD"
                )


class SlackChannel(OneWay):
    """One workspace's bot."""

    kind = "slack"
    text_limit = 3900
    can_edit = True
    has_buttons = True
    idempotent = False
    files_apart = True

    def __init__(self, settings: SlackSettings, host: ChannelHost, *, token: str, app_token: str) -> None:
        self.name = settings.name
        self.home_address = settings.to or next(map(str, settings.allow), "")
        self._host = host
        self._base = settings.api_base.rstrip("/")
        self._token = token
        self._app_token = app_token
        self._client: httpx.AsyncClient = host.client()
        self._me = ""

    async def _call(self, method: str, *, token: str = "", **arguments: Any) -> dict[str, Any]:
        """Call a method; Slack answers 200 to everything and says in the body what it thinks."""
        takes_json = method in _TAKE_JSON
        response = await request(
            self._client,
            "POST",
            f"{self._base}/{method}",
            asks_back=True,
            json=arguments if takes_json else None,
            data=None if takes_json else _form(arguments),
            headers={"authorization": f"Bearer {token or self._token}"},
        )
        answer = json_object(response)
        if answer.get("ok") is True:
            return answer
        error = text_at(answer, "error")
        if error in _LOCKED_OUT:
            raise ChannelDown(f"Slack refuses: {error}", hint="check token and scopes")
        if error in _DOUBTFUL:
            raise AmbiguousSend(f"Slack says {error}, which may have done it")
        if error in ("ratelimited", "rate_limited"):
            raise TemporaryError("Slack asks to wait", retry_after=30)
        raise PermanentError(f"Slack refuses {method}: {error}")

    async def send(self, message: Outgoing, /) -> Receipt:
        if message.attachments and not message.text:
            return await self._send_file(message)
        answer = await self._call("chat.postMessage", **self._content(message), **await self._extras(message))
        return Receipt(ids=(text_at(answer, "ts"),), detail={"channel": text_at(answer, "channel")})

    def _content(self, message: Outgoing) -> dict[str, Any]:
        to = message.to or self.home_address
        if not to:
            raise PermanentError("the Slack channel has nobody to write to", hint="set 'to' or 'allow'")
        content: dict[str, Any] = {
            "channel": to,
            "text": _rendered(message),
            # No previews: fetching a link would tell its server what the model was made to write there.
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {"event_type": "tawny_delivery", "event_payload": {"key": message.key}},
        }
        return {**content, "thread_ts": message.thread} if message.thread else content

    async def _extras(self, message: Outgoing) -> dict[str, Any]:
        if not message.buttons and message.format == "markdown":
            return {}
        elements = [
            {
                "type": "button",
                "text": {"type": "plain_text", "text": button.label[:75]},
                "action_id": f"tawny_{number}",
                **({"url": button.url} if button.url else {"value": button.value[:_VALUE_LIMIT]}),
            }
            for number, button in enumerate(message.buttons)
        ]
        # Where there are blocks only they are shown, and none may be longer than this.
        sections = [
            {"type": "section", "text": _text_object(message, piece)}
            for piece in chunk(
                _rendered(message) if message.format == "markdown" else message.text, _SECTION_LIMIT
            )
        ]
        actions = [{"type": "actions", "elements": elements}] if elements else []
        return {"blocks": [*sections, *actions]}

    async def _send_file(self, message: Outgoing) -> Receipt:
        """Ask for an address, put the file there, share it: only the last step shows anything."""
        file = message.attachments[0]
        data = await asyncio.to_thread(attached, self._host.home, file, limit=_LARGEST_FILE)
        try:
            response = await request(
                self._client,
                "POST",
                f"{self._base}/files.getUploadURLExternal",
                data={"filename": file.name, "length": str(len(data))},
                headers={"authorization": f"Bearer {self._token}"},
            )
            ticket = json_object(response)
            if not ticket.get("ok"):
                raise PermanentError(f"Slack refuses the file: {ticket.get('error')}")
            upload, file_id = text_at(ticket, "upload_url"), text_at(ticket, "file_id")
            await request(self._client, "POST", upload, content=data)
        except AmbiguousSend as error:
            raise TemporaryError(f"the upload broke off: {error}") from None
        place = {"thread_ts": message.thread} if message.thread else {}
        await self._call(
            "files.completeUploadExternal",
            files=[{"id": file_id, "title": file.name}],
            channel_id=message.to or self.home_address,
            **place,
        )
        return Receipt(ids=(file_id,))

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        where = str(receipt.detail.get("channel") or message.to or self.home_address)
        content = {**self._content(message), "channel": where}
        for needless in ("unfurl_links", "unfurl_media", "thread_ts"):
            content.pop(needless, None)
        extras = await self._extras(message)
        await self._call("chat.update", ts=receipt.ids[-1], **content, **(extras or {"blocks": []}))
        return receipt

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Look for the key among the newest messages of the place, in a thread (told oldest first) among all."""
        if message.attachments and not message.text:
            raise AmbiguousSend("a file carries no mark by which it could be found")
        where = message.to or self.home_address
        try:
            if where[:1] in "UW":
                opened = await self._call("conversations.open", users=where)
                where = text_at(opened, "channel", "id")
            stamp = await self._find(where, message)
        except PermanentError as error:
            raise AmbiguousSend(f"the conversation cannot be read: {error}") from error
        return Receipt(ids=(stamp,), detail={"channel": where, "reconciled": True}) if stamp else None

    async def _find(self, where: str, message: Outgoing) -> str:
        """The time stamp of the message that carries the key, empty where there is none."""
        method, place = (
            ("conversations.replies", {"ts": message.thread})
            if message.thread
            else ("conversations.history", {})
        )
        cursor: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = await self._call(
                method, channel=where, limit=_PAGE, include_all_metadata=True, **place, **cursor
            )
            page = _page(answer)
            for entry in page.messages:
                if _is_marked(entry, message.key):
                    return text_at(entry, "ts")
            following = page.response_metadata.next_cursor if page.response_metadata else None
            if not following:
                if page.has_more or page.is_limited:
                    break
                return ""
            cursor = {"cursor": following}
        raise AmbiguousSend("the conversation is too long to be looked through")

    async def listen(self, accept: Accept, /) -> None:
        if not self._app_token:
            return
        self._me = text_at(await self._call("auth.test"), "user_id")
        while True:
            opened = await self._call("apps.connections.open", token=self._app_token)
            try:
                async with connect(text_at(opened, "url"), max_size=2**22) as socket:
                    async for raw in socket:
                        envelope = json.loads(raw)
                        if envelope.get("type") == "disconnect":
                            break
                        await self._take(envelope, accept)
                        if "envelope_id" in envelope:
                            # Only what the house has stored is acknowledged; the rest comes again.
                            await socket.send(json.dumps({"envelope_id": envelope["envelope_id"]}))
            except (WebSocketException, OSError) as error:
                raise TemporaryError(f"Slack's socket broke: {error}") from None

    async def _take(self, envelope: dict[str, Any], accept: Accept) -> None:
        try:
            inbound = self._understand(envelope)
        except (KeyError, TypeError, ValueError, AttributeError):
            # An event of another shape than documented; the next one still counts.
            return
        if inbound is not None:
            await accept(inbound)

    def _understand(self, envelope: dict[str, Any]) -> Inbound | None:
        payload: dict[str, Any] = envelope.get("payload") or {}
        if envelope.get("type") == "interactive" and payload.get("type") == "block_actions":
            return self._tap(envelope, payload)
        if envelope.get("type") != "events_api":
            return None
        event = payload["event"]
        is_word = event["type"] in ("message", "app_mention") and event.get("subtype") in (None, "file_share")
        if not is_word or not event.get("user") or event.get("bot_id") or event["user"] == self._me:
            return None
        group = event.get("channel_type", "channel") != "im"
        if (
            event["type"] == "app_mention"
            and event.get("channel_type") is None
            and str(event["channel"])[:1] == "D"
        ):
            group = False
        mention = f"<@{self._me}>"
        text = _plain(str(event.get("text") or ""))
        return Inbound(
            channel=self.name,
            # The same words come as message and as app_mention; the place and its time are one.
            event_id=f"{event['channel']}:{event['ts']}",
            sender=str(event["user"]),
            text=text.replace(mention, "").strip(),
            conversation=str(event["channel"]),
            thread=str(event.get("thread_ts") or ""),
            group=group,
            mentioned=not group or mention in text or event["type"] == "app_mention",
            reply_to=str(event.get("thread_ts") or ""),
            time=int(float(event["ts"]) * SECOND),
        )

    def _tap(self, envelope: dict[str, Any], payload: dict[str, Any]) -> Inbound | None:
        action = payload["actions"][0]
        if not action.get("value"):
            return None
        place: dict[str, Any] = payload.get("channel") or {}
        message: dict[str, Any] = payload.get("message") or {}
        return Inbound(
            channel=self.name,
            event_id=f"tap:{envelope['envelope_id']}",
            sender=str(payload["user"]["id"]),
            sender_name=str(payload["user"].get("username") or ""),
            conversation=str(place.get("id") or ""),
            thread=str(message.get("thread_ts") or ""),
            group=str(place.get("id") or "")[:1] != "D",
            action=str(action["value"]),
            reply_to=str(message.get("ts") or ""),
        )

    async def close(self) -> None:
        await self._client.aclose()


def _form(arguments: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in arguments.items()
    }


def _rendered(message: Outgoing) -> str:
    return to_mrkdwn(message.text) if message.format == "markdown" else _escaped(message.text)


def _text_object(message: Outgoing, text: str) -> dict[str, Any]:
    """A piece of the message: no name in it becomes a call, and what is no markup is shown as it is."""
    if message.format == "markdown":
        return {"type": "mrkdwn", "text": text, "verbatim": True}
    return {"type": "plain_text", "text": text, "emoji": False}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def to_mrkdwn(markdown: str) -> str:
    """Slack's own markup: bold has one star, links angle brackets; code stays."""
    parts = re.split(r"(```.*?```|`[^`\n]+`)", _escaped(markdown), flags=re.S)
    for index in range(0, len(parts), 2):
        part = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"*\1*", parts[index])
        part = re.sub(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$", r"*\1*", part, flags=re.M)
        part = re.sub(r"\[([^\]\n|]+)\]\((https?://[^\s)|]+)\)", r"<\2|\1>", part)
        parts[index] = part
    for index in range(1, len(parts), 2):
        parts[index] = re.sub(r"^```[\w+#.-]*\n", "```\n", parts[index])
    return "".join(parts)


@channel("slack", settings=SlackSettings, description="A Slack app in socket mode.")
def slack(settings: Any, host: ChannelHost) -> Channel:
    app_token = host.secret(settings.app_token) if settings.app_token else ""
    return SlackChannel(settings, host, token=host.secret(settings.token), app_token=app_token)


CHANNELS = {"slack": slack}
