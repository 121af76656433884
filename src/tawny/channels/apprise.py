"""Apprise: more than a hundred other services, outbound only, each by its Apprise URL.

The library answers yes or no. What a no means only the logs tell, its own and that of the HTTP library below: so these
are listened to. What was refused, or never got through, certainly did not arrive; anything else leaves a doubt.
"""

import asyncio
import functools
import importlib
import json
import logging
import re
from contextvars import ContextVar
from typing import Any

from tawny.api import (
    AmbiguousSend,
    Channel,
    ChannelDown,
    ChannelHost,
    ChannelSettings,
    ConfigError,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TemporaryError,
    channel,
)

_ANSWERED = re.compile(r'HTTP/[\d.]+" (\d{3})\b')
_NOT_THROUGH = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Failed to establish a new connection"
)
_KINDS = {"low": "info", "normal": "info", "high": "warning", "critical": "failure"}


_SAID: ContextVar[list[logging.LogRecord] | None] = ContextVar("said", default=None)
"""What has been logged of the send that goes on; it goes along into the threads of the library's own."""


class _Ear(logging.Filter):
    """Hears what is logged of a send; below a warning nobody else does, as secrets are in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = _SAID.get()
        if said is None:
            return record.levelno >= logging.WARNING
        said.append(record)
        return False


@functools.cache
def _listen_in() -> None:
    ear = _Ear()
    for name in ("apprise", "urllib3.connectionpool"):
        log = logging.getLogger(name)
        log.addFilter(ear)
        log.setLevel(logging.DEBUG)


_CALL = re.compile(
    r"(?<!\w)@(?=\S)|@(?=(?:everyone|here|channel|all|room)\b)|!(?=[^\s|]+\s*(?:[|>]|&gt;))|<(?=users/)",
    re.IGNORECASE,
)
"""Where a call begins in the words of Discord, Slack, Mattermost, Matrix, Zulip, Google Chat and their like."""


class AppriseChannel(OneWay):
    """Some services at once. One that has a message does not get it again while another is tried again."""

    kind = "apprise"
    home_address = ""
    can_edit = False
    has_buttons = False
    idempotent = False

    def __init__(self, name: str, host: ChannelHost, urls: tuple[str, ...]) -> None:
        """`urls` are Apprise URLs, secrets filled in."""
        apprise = importlib.import_module("apprise")
        _listen_in()
        self.name = name
        self._host = host
        self._services: list[Any] = []
        for number, url in enumerate(urls, start=1):
            service = apprise.Apprise()
            if not service.add(url):
                raise ConfigError(
                    f"channel {name!r}: url number {number} is none Apprise knows", hint="see its list"
                )
            self._services.append(service)
        limits = [server.body_maxlen for service in self._services for server in service]
        self.text_limit = max(100, min(limits, default=4000))

    async def send(self, message: Outgoing, /) -> Receipt:
        noted = f"reached:{message.key}"
        reached: set[int] = set(json.loads(await self._host.recall(noted) or "[]"))
        failures: list[Exception] = []
        for number, service in enumerate(self._services):
            if number not in reached:
                failure = await asyncio.to_thread(self._notify, service, message, number)
                if failure is None:
                    reached.add(number)
                else:
                    failures.append(failure)
        if not failures:
            return Receipt(ids=(message.key,))
        for kind in (AmbiguousSend, TemporaryError, PermanentError):
            for failure in failures:
                if isinstance(failure, kind):
                    if kind is TemporaryError and reached:
                        # Noted before it is tried again, so that it is so after a crash too.
                        await self._host.note(noted, json.dumps(sorted(reached)))
                    raise failure
        raise failures[0]

    def _notify(self, service: Any, message: Outgoing, number: int) -> Exception | None:
        """Bring it to one service; what went wrong, if anything."""
        said: list[logging.LogRecord] = []
        # In a thread's own context, which ends with the call.
        _SAID.set(said)
        arrived = service.notify(
            body=_calling_nobody(message.text),
            title=_calling_nobody(message.title),
            notify_type=_KINDS.get(message.severity, "info"),
            body_format="markdown" if message.format == "markdown" else "text",
        )
        if arrived:
            return None
        place = f"service {number + 1} ({next(iter(service)).service_name})"
        return _failure(place, said, alone=len(self._services) == 1)


def _calling_nobody(text: str) -> str:
    """The text as it is seen, with a joiner of no width where a service would call people: words are no calls.

    Apprise makes calls of what reads like one (`@everyone`, `<!channel>`, `<@U1>`), and some services do by themselves.
    """
    return _CALL.sub("\\g<0>\u2060", text)


def _failure(place: str, said: list[logging.LogRecord], *, alone: bool) -> Exception:
    """The error behind a no. Of what was logged only numbers are told on: the rest may hold secrets."""
    texts = [record.getMessage() for record in said]
    answers = [int(found) for text in texts for found in _ANSWERED.findall(text)]
    broken = [text for text in texts if text.startswith("Socket Exception")]
    if broken and not answers and all(_NOT_THROUGH.search(text) for text in broken):
        return TemporaryError(f"{place} cannot be reached")
    if broken or not answers or min(answers) < 400:
        # One of several requests may have done it.
        return AmbiguousSend(f"{place} may have got it or not; Apprise does not say")
    status = max(answers)
    answered = f"{place} answered {status}"
    if status == 401 and alone:
        return ChannelDown(answered, hint="check what is secret in the channel's urls")
    if status in (408, 425, 429, 503):
        return TemporaryError(answered)
    return PermanentError(answered) if status < 500 else AmbiguousSend(answered)


class AppriseSettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.apprise]]`. Each of `urls` is an Apprise URL, or a reference to one (`env:NAME`)."""

    urls: tuple[str, ...]


@channel("apprise", settings=AppriseSettings, description="100 more services, outbound.", extra="apprise")
def apprise(settings: Any, host: ChannelHost) -> Channel:
    urls = tuple(
        host.secret(url) if url.startswith(("env:", "file:", "keyring:")) else url for url in settings.urls
    )
    return AppriseChannel(settings.name, host, urls)


CHANNELS = {"apprise": apprise}
