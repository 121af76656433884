"""The only module a plugin or script may import."""

import pluggy

from tawny.client import AsyncClient, Client
from tawny.clock import SECOND, Clock, Instant, from_datetime, iso, stopwatch, to_datetime
from tawny.delivery.attachments import attached
from tawny.delivery.channel import (
    Accept,
    AmbiguousSend,
    Channel,
    ChannelDown,
    ChannelHost,
    ChannelKind,
    ChannelSettings,
    ChatSettings,
    OneWay,
    channel,
)
from tawny.delivery.opening import numeric_ids
from tawny.delivery.wire import failure, json_object, request, text_at, wait_asked
from tawny.domain import brief, correspondence, digest
from tawny.domain.approvals import Answer, Question
from tawny.domain.calendar import CalendarEvent, day_span
from tawny.domain.chunks import chunk, units
from tawny.domain.contacts import Contact
from tawny.domain.feeds import FeedEntry
from tawny.domain.mail import Mail
from tawny.domain.messages import Attachment, Button, Inbound, Outgoing, Receipt
from tawny.domain.schedule import next_runs
from tawny.domain.tasks import Delivery, Effect, Json, Origin, Priority, Status, Submission, Task, Usage
from tawny.domain.todos import Todo, due_by
from tawny.domain.weather import Weather
from tawny.engine.kinds import Ask, Context, Kind, Result, action
from tawny.engine.parts import file_of
from tawny.errors import (
    ConfigError,
    Conflict,
    InvalidInput,
    NotFound,
    PermanentError,
    Refused,
    TawnyError,
    TemporaryError,
    first_of,
)
from tawny.paths import Root
from tawny.sources.place import (
    FeedQuery,
    MailQuery,
    NewEvent,
    NewMail,
    NewTodo,
    Reading,
    SourceKind,
    Uncertain,
    source,
)
from tawny.sources.search import Found, SearchKind, SearchSite, search_provider
from tawny.sources.shelf import Shelf
from tawny.tools.registry import Operation, Tool, ToolContext, tool

hookimpl = pluggy.HookimplMarker("tawny")
"""Marks a plugin's answer to one of the hooks in `tawny.plugins.Hooks`."""

__all__ = [
    "SECOND",
    "Accept",
    "AmbiguousSend",
    "Answer",
    "Ask",
    "AsyncClient",
    "Attachment",
    "Button",
    "CalendarEvent",
    "Channel",
    "ChannelDown",
    "ChannelHost",
    "ChannelKind",
    "ChannelSettings",
    "ChatSettings",
    "Client",
    "Clock",
    "ConfigError",
    "Conflict",
    "Contact",
    "Context",
    "Delivery",
    "Effect",
    "FeedEntry",
    "FeedQuery",
    "Found",
    "Inbound",
    "Instant",
    "InvalidInput",
    "Json",
    "Kind",
    "Mail",
    "MailQuery",
    "NewEvent",
    "NewMail",
    "NewTodo",
    "NotFound",
    "OneWay",
    "Operation",
    "Origin",
    "Outgoing",
    "PermanentError",
    "Priority",
    "Question",
    "Reading",
    "Receipt",
    "Refused",
    "Result",
    "Root",
    "SearchKind",
    "SearchSite",
    "Shelf",
    "SourceKind",
    "Status",
    "Submission",
    "Task",
    "TawnyError",
    "TemporaryError",
    "Todo",
    "Tool",
    "ToolContext",
    "Uncertain",
    "Usage",
    "Weather",
    "action",
    "attached",
    "brief",
    "channel",
    "chunk",
    "correspondence",
    "day_span",
    "digest",
    "due_by",
    "failure",
    "file_of",
    "first_of",
    "from_datetime",
    "hookimpl",
    "iso",
    "json_object",
    "next_runs",
    "numeric_ids",
    "request",
    "search_provider",
    "source",
    "stopwatch",
    "text_at",
    "to_datetime",
    "tool",
    "units",
    "wait_asked",
]
