"""What an update of the Bot API means to the assistant, if anything."""

from typing import Any

from telegram import Chat, Message, MessageEntity, Update, User

from tawny.api import SECOND, Inbound
from tawny.channels.telegram.wordless import described

WANTED = (Update.MESSAGE, Update.CALLBACK_QUERY)
"""The types of update asked for. Edited messages are not taken as new orders, and channel posts have no sender."""

_GROUPS = (Chat.GROUP, Chat.SUPERGROUP)


def inbound_of(update: Update, *, channel: str, bot: User) -> Inbound | None:
    """The message or tap in an update; `None` for every other type.

    The sender is who really sent it: of an anonymous admin or a channel that is the chat's own id.
    """
    event_id = f"{bot.id}:{update.update_id}"
    if update.callback_query is not None:
        return _tap(update, channel, event_id)
    message = update.message
    if message is None or message.from_user is None:
        return None
    sender = message.sender_chat.id if message.sender_chat is not None else message.from_user.id
    if message.from_user.is_bot and message.sender_chat is None:
        return None
    text = message.text or message.caption or described(message)
    if not text and attachment_of(message) is None:
        return None
    group = message.chat.type in _GROUPS
    return Inbound(
        channel=channel,
        event_id=event_id,
        sender=str(sender),
        sender_name=message.from_user.full_name,
        text=_without_mention(text, bot),
        conversation=str(message.chat.id),
        thread=str(message.message_thread_id)
        if message.is_topic_message and message.message_thread_id
        else "",
        group=group,
        mentioned=not group or _is_meant(message, bot),
        reply_to=str(message.reply_to_message.message_id) if message.reply_to_message is not None else "",
        time=int(message.date.timestamp()) * SECOND,
    )


def _tap(update: Update, channel: str, event_id: str) -> Inbound | None:
    query = update.callback_query
    if query is None or query.message is None or not query.data:
        return None
    message = query.message
    thread = message.message_thread_id if isinstance(message, Message) and message.is_topic_message else None
    return Inbound(
        channel=channel,
        event_id=event_id,
        sender=str(query.from_user.id),
        sender_name=query.from_user.full_name,
        conversation=str(message.chat.id),
        thread=str(thread) if thread else "",
        group=message.chat.type in _GROUPS,
        action=query.data,
        reply_to=str(message.message_id),
        time=int(message.date.timestamp()) * SECOND,
    )


def attachment_of(message: Message) -> tuple[str, str, str] | None:
    """The file that came along as (file id, name, media type)."""
    if message.photo:
        return message.photo[-1].file_id, f"photo-{message.message_id}.jpg", "image/jpeg"
    candidates: list[tuple[Any, str, str]] = [
        (message.document, f"file-{message.message_id}", "application/octet-stream"),
        (message.voice, f"voice-{message.message_id}.ogg", "audio/ogg"),
        (message.audio, f"audio-{message.message_id}", "audio/mpeg"),
        (message.video, f"video-{message.message_id}.mp4", "video/mp4"),
        (message.video_note, f"video-{message.message_id}.mp4", "video/mp4"),
        (message.live_photo, f"photo-{message.message_id}.mp4", "video/mp4"),
        (message.animation, f"animation-{message.message_id}.mp4", "video/mp4"),
    ]
    for file, name, media_type in candidates:
        if file is not None:
            given = getattr(file, "file_name", None) or name
            return file.file_id, given, getattr(file, "mime_type", None) or media_type
    return None


def _is_meant(message: Message, bot: User) -> bool:
    """Whether a group message speaks to the bot: an exact mention, or a reply to something it said."""
    reply = message.reply_to_message
    if reply is not None and reply.from_user is not None and reply.from_user.id == bot.id:
        return True
    entities = {**message.parse_entities(), **message.parse_caption_entities()} if _has_text(message) else {}
    handle = f"@{bot.username}".casefold()
    for entity, text in entities.items():
        if entity.type == MessageEntity.TEXT_MENTION and entity.user is not None and entity.user.id == bot.id:
            return True
        if entity.type == MessageEntity.MENTION and text.casefold() == handle:
            return True
        if entity.type == MessageEntity.BOT_COMMAND and text.casefold().endswith(handle):
            return True
    return False


def _has_text(message: Message) -> bool:
    return bool(message.text or message.caption)


def _without_mention(text: str, bot: User) -> str:
    handle = f"@{bot.username}"
    return text.removeprefix(handle).strip() if text.casefold().startswith(handle.casefold()) else text
