"""The only module a plugin or script may import."""

from tawny.clock import Clock, Instant
from tawny.delivery.channel import Accept, AmbiguousSend, Channel
from tawny.domain.approvals import Answer, Question
from tawny.domain.messages import Attachment, Button, Inbound, Outgoing, Receipt
from tawny.domain.schedule import next_runs
from tawny.domain.tasks import Delivery, Effect, Json, Origin, Priority, Status, Submission, Task, Usage
from tawny.engine.kinds import Context, Kind, Result
from tawny.errors import (
    ConfigError,
    InvalidInput,
    NotFound,
    PermanentError,
    Refused,
    TawnyError,
    TemporaryError,
)
from tawny.tools.registry import Operation, Tool, ToolContext

__all__ = [
    "Accept",
    "AmbiguousSend",
    "Answer",
    "Attachment",
    "Button",
    "Channel",
    "Clock",
    "ConfigError",
    "Context",
    "Delivery",
    "Effect",
    "Inbound",
    "Instant",
    "InvalidInput",
    "Json",
    "Kind",
    "NotFound",
    "Operation",
    "Origin",
    "Outgoing",
    "PermanentError",
    "Priority",
    "Question",
    "Receipt",
    "Refused",
    "Result",
    "Status",
    "Submission",
    "Task",
    "TawnyError",
    "TemporaryError",
    "Tool",
    "ToolContext",
    "Usage",
    "next_runs",
]
