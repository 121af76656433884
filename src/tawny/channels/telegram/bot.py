"""The bot itself: sends, edits, listens."""

import asyncio
import hashlib
import json
import logging
import mimetypes
import re
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import urlencode

import httpx
import msgspec
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    Update,
    User,
)
from telegram.constants import ParseMode
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)

from tawny.api import (
    Accept,
    AmbiguousSend,
    Attachment,
    Button,
    ChannelDown,
    ChannelHost,
    Inbound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TawnyError,
    TemporaryError,
    attached,
    units,
)
from tawny.channels.telegram import TelegramSettings
from tawny.channels.telegram.line import Line
from tawny.channels.telegram.markup import calling_nobody, to_html
from tawny.channels.telegram.updates import WANTED, attachment_of, inbound_of
from tawny.channels.telegram.webhook import serve

_log = logging.getLogger("tawny.telegram")
T = TypeVar("T")
_POLL_SECONDS = 50
_CALLBACK_BYTES = 64
_LARGEST_FILE = 20_000_000
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.LocalProtocolError)
_UNSAFE = re.compile(r"[^\w.\- ]+")


def _said_in(chat: int, text: str) -> str:
    """The text for that chat; groups have numbers below zero, and where both are alone nobody else can be called."""
    if chat > 0:
        return text
    quiet = calling_nobody(text)
    # So many names that there is no room: a sign that looks the same calls nobody either.
    return quiet if units(quiet) <= TelegramChannel.text_limit else text.replace("@", "\uff20")


class TelegramChannel(OneWay):
    """One bot. Sends cannot be repeated safely: the Bot API knows no key."""

    kind = "telegram"
    text_limit = 4096
    can_edit = True
    has_buttons = True
    idempotent = False
    files_apart = True

    def __init__(
        self, settings: TelegramSettings, host: ChannelHost, *, token: str, webhook_secret: str = ""
    ) -> None:
        self.name = settings.name
        self.home_address = next((str(entry) for entry in settings.allow if int(entry) > 0), "")
        self._settings = settings
        self._host = host
        self._token = token
        self._secret = webhook_secret
        base = settings.api_base.rstrip("/")
        self._bot = Bot(
            token,
            base_url=f"{base}/bot",
            base_file_url=f"{base}/file/bot",
            request=Line(
                connection_pool_size=16,
                read_timeout=20,
                write_timeout=20,
                connect_timeout=10,
                pool_timeout=30,
            ),
        )
        self._polling = Line(connection_pool_size=2, connect_timeout=10, pool_timeout=10)
        self._me: User | None = None

    async def send(self, message: Outgoing, /) -> Receipt:
        chat, place = self._place(message)
        if message.attachments and not message.text:
            sent = await self._guarded(lambda: self._send_file(chat, message, place))
        else:
            markup = await self._keyboard(message.buttons)
            sent = await self._send_text(chat, message, {**place, "reply_markup": markup})
        return Receipt(ids=(str(sent.message_id),), detail={"chat": sent.chat.id})

    def _place(self, message: Outgoing) -> tuple[int, dict[str, Any]]:
        where = message.to or self.home_address
        if not where.lstrip("-").isdigit():
            raise PermanentError(
                f"{where!r} is no Telegram chat id"
                if where
                else "the Telegram channel has nobody to write to",
                hint="write telegram:CHAT_ID, fill allow, or pair",
            )
        place: dict[str, Any] = {"disable_notification": message.severity == "low"}
        if message.thread:
            if not message.thread.isdigit():
                raise PermanentError(f"{message.thread!r} is no Telegram topic")
            place["message_thread_id"] = int(message.thread)
        return int(where), place

    async def _send_text(self, chat: int, message: Outgoing, place: dict[str, Any]) -> Message:
        # No previews: fetching a link would tell its server what the model was made to write there.
        place["link_preview_options"] = LinkPreviewOptions(is_disabled=True)
        text = _said_in(chat, message.text)
        if message.format == "markdown":
            try:
                return await self._guarded(
                    lambda: self._bot.send_message(chat, to_html(text), parse_mode=ParseMode.HTML, **place)
                )
            except _CannotParse:
                # Refused before anything was sent: as plain text, then.
                pass
        return await self._guarded(lambda: self._bot.send_message(chat, text, **place))

    async def _send_file(self, chat: int, message: Outgoing, place: dict[str, Any]) -> Message:
        file = message.attachments[0]
        data = await asyncio.to_thread(attached, self._host.home, file, limit=50_000_000)
        if file.media_type in ("image/jpeg", "image/png") and len(data) < 10_000_000:
            try:
                return await self._bot.send_photo(chat, data, filename=file.name, **place)
            except BadRequest:
                # No picture to Telegram, or of a shape it shows none of: refused, so it may go as a file.
                pass
        return await self._bot.send_document(chat, data, filename=file.name, **place)

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        if not receipt.ids:
            raise PermanentError("there is no message to edit")
        chat, _ = self._place(message)
        markup = await self._keyboard(message.buttons)
        text = _said_in(chat, message.text)
        try:
            await self._guarded(
                lambda: self._bot.edit_message_text(
                    to_html(text) if message.format == "markdown" else text,
                    chat_id=chat,
                    message_id=int(receipt.ids[-1]),
                    parse_mode=ParseMode.HTML if message.format == "markdown" else None,
                    link_preview_options=LinkPreviewOptions(is_disabled=True),
                    reply_markup=markup,
                )
            )
        except PermanentError as error:
            if "not modified" not in error.message:
                raise
        return receipt

    async def _keyboard(self, buttons: tuple[Button, ...]) -> InlineKeyboardMarkup | None:
        if not buttons:
            return None
        rows = [
            [
                InlineKeyboardButton(button.label, url=button.url)
                if button.url
                else InlineKeyboardButton(button.label, callback_data=await self._short(button.value))
            ]
            for button in buttons
        ]
        return InlineKeyboardMarkup(rows)

    async def _short(self, value: str) -> str:
        """A value too long for a button is noted, and goes by its hash."""
        if len(value.encode()) <= _CALLBACK_BYTES and not value.startswith("#"):
            return value
        short = "#" + hashlib.sha256(value.encode()).hexdigest()[:40]
        await self._host.note(f"button:{short}", value)
        return short

    async def listen(self, accept: Accept, /) -> None:
        self._me = await self._guarded(self._bot.get_me)
        if self._settings.webhook_url:
            await self._listen_webhook(accept)
        else:
            await self._guarded(lambda: self._bot.delete_webhook(drop_pending_updates=False))
            await self._poll(accept)

    async def _poll(self, accept: Accept) -> None:
        offset: int | None = None
        while True:

            def ask(offset: int | None = offset) -> Awaitable[Any]:
                # Unparsed: the library would refuse a whole batch for one update it does not understand, for ever.
                asked = {"timeout": _POLL_SECONDS, "allowed_updates": json.dumps(list(WANTED))}
                query = urlencode(asked if offset is None else {**asked, "offset": offset})
                return self._polling.post(
                    f"{self._bot.base_url}/getUpdates?{query}", read_timeout=_POLL_SECONDS + 15
                )

            try:
                updates = await self._guarded(ask)
            except AmbiguousSend as error:
                # Reading again is harmless: what was not confirmed comes again.
                raise TemporaryError(str(error)) from error
            if not isinstance(updates, list):
                raise TemporaryError("Telegram's updates are no list")
            asked_from = offset
            for raw in cast("list[Any]", updates):
                await self._take(raw, accept)
                # Asking with a higher offset confirms; only what the house has stored may be confirmed.
                offset = _after(raw, offset)
            if updates and offset == asked_from:
                # They cannot be confirmed, so they would come again at once: the next try waits a while.
                raise TemporaryError("Telegram's updates have no numbers")

    async def _listen_webhook(self, accept: Accept) -> None:
        async def receive(update: Any) -> None:
            await self._take(update, accept)

        async with serve(self._settings.webhook_listen, self._secret, receive) as served:
            await self._guarded(
                lambda: self._bot.set_webhook(
                    self._settings.webhook_url, secret_token=self._secret, allowed_updates=list(WANTED)
                )
            )
            await served()

    async def _take(self, raw: Any, accept: Accept) -> None:
        assert self._me is not None, "listening begins with get_me"
        try:
            update = Update.de_json(raw, self._bot)
            inbound = inbound_of(update, channel=self.name, bot=self._me)
        except Exception as error:  # noqa: BLE001 - an update of a newer Bot API, or of none; the others still count
            fields = sorted(cast("dict[str, Any]", raw)) if isinstance(raw, dict) else []
            _log.warning("update not understood", extra={"facts": {"error": str(error), "fields": fields}})
            return
        if inbound is None:
            return
        if inbound.action.startswith("#"):
            action = await self._host.recall(f"button:{inbound.action}")
            inbound = msgspec.structs.replace(inbound, action=action or "")
        if update.message is not None:
            inbound = await self._with_file(inbound, update.message)
        await accept(inbound)
        if update.callback_query is not None:
            await self._answer(update.callback_query.id)

    async def _answer(self, query_id: str) -> None:
        """Stop the button's spinner; that it comes too late harms nobody."""
        try:
            await self._guarded(lambda: self._bot.answer_callback_query(query_id))
        except (PermanentError, TemporaryError, AmbiguousSend):
            return

    async def _with_file(self, inbound: Inbound, message: Message) -> Inbound:
        """The inbound with the file that came along, fetched only for those who may speak."""
        found = attachment_of(message)
        if found is None or not await self._may_bring_files(inbound):
            return inbound
        file_id, name, media_type = found
        try:
            path = await self._fetch(
                file_id, f"{message.message_id}-{_last_bytes(_UNSAFE.sub('_', Path(name).name), 200)}"
            )
        except (PermanentError, TemporaryError, AmbiguousSend) as error:
            note = f"{inbound.text}\n[the file {name} could not be fetched: {error}]".strip()
            return msgspec.structs.replace(inbound, text=note)
        media_type = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        file = Attachment(name, path=str(path.relative_to(self._host.home)), media_type=media_type)
        return msgspec.structs.replace(inbound, attachments=(file,), text=inbound.text or f"[{name}]")

    async def _may_bring_files(self, inbound: Inbound) -> bool:
        listed = int(inbound.sender) in {int(entry) for entry in self._settings.allow}
        return listed or (not inbound.group and await self._host.knows(inbound.sender))

    async def _fetch(self, file_id: str, name: str) -> Path:
        remote = await self._guarded(lambda: self._bot.get_file(file_id))
        if (remote.file_size or 0) > _LARGEST_FILE:
            raise PermanentError("it is over the 20 MB a bot may fetch")
        data = await self._guarded(remote.download_as_bytearray)
        path = self._host.folder / name

        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(data)

        await asyncio.to_thread(write)
        return path

    async def _guarded(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call; its failures sorted into not done, never will be, nobody knows."""
        try:
            return await call()
        except ChatMigrated as error:
            raise PermanentError(
                f"the group has become {error.new_chat_id}", hint=f"use telegram:{error.new_chat_id}"
            ) from None
        except TelegramError as error:
            self._sort(error)
        except TawnyError:
            raise
        except Exception as error:  # noqa: BLE001 - the library reads the answer, and believes whatever it is
            raise AmbiguousSend(f"the answer is not Telegram's: {type(error).__name__}") from None

    def _sort(self, error: TelegramError) -> NoReturn:
        text = str(error).replace(self._token, "…")
        if isinstance(error, RetryAfter):
            seconds = _seconds(error)
            raise TemporaryError(f"Telegram asks to wait {seconds:.0f} s", retry_after=seconds) from None
        if isinstance(error, InvalidToken):
            raise ChannelDown("Telegram refuses the token", hint="ask @BotFather for a new one") from None
        if isinstance(error, Conflict):
            raise TemporaryError("another program reads this bot's updates", hint="stop it") from None
        if isinstance(error, Forbidden):
            raise PermanentError(f"Telegram: {text}") from None
        if isinstance(error, BadRequest):
            raise (_CannotParse if "parse entities" in text else PermanentError)(
                f"Telegram: {text}"
            ) from None
        cause = error.__cause__
        if isinstance(cause, _NOT_SENT):
            raise TemporaryError(f"Telegram cannot be reached: {text}") from None
        is_answer = isinstance(error, NetworkError) and not isinstance(cause, httpx.HTTPError)
        if is_answer and not any(word in text for word in ("Bad Gateway", "Gateway Time", "502", "504")):
            raise TemporaryError(f"Telegram: {text}") from None
        raise AmbiguousSend(f"Telegram gave no answer: {text}") from None

    async def close(self) -> None:
        for request in self._bot._request:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - shutdown() logs in first
            await request.shutdown()
        await self._polling.shutdown()


def _after(raw: Any, offset: int | None) -> int | None:
    """The offset that confirms an update; as it was where that has no number."""
    number: Any = cast("dict[str, Any]", raw).get("update_id") if isinstance(raw, dict) else None
    return number + 1 if isinstance(number, int) and not isinstance(number, bool) else offset


def _last_bytes(text: str, count: int) -> str:
    """The end of a text, of at most so many bytes: of a file's name its ending counts."""
    return text.encode()[-count:].decode(errors="ignore")


def _seconds(error: RetryAfter) -> float:
    """The wait asked for; the library is between two types for it and warns on every reading."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wait = error.retry_after
    return float(wait) if isinstance(wait, int) else wait.total_seconds()


class _CannotParse(PermanentError):
    """Telegram did not understand our formatting; nothing was sent."""
