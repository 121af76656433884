"""Which events an automation means, before its filter is asked: the fields of `on` that name a place or a sender."""

import fnmatch
from collections.abc import Mapping
from typing import Any

from tawny.domain.automations import On


def selects(on: On, data: Mapping[str, Any]) -> bool:
    """Whether the event's data comes from where `on` says."""
    wanted = {
        "hook": on.name if on.source == "webhook" else "",
        "account": on.account,
        "url": on.url,
        "automation": on.automation,
    }
    if any(value and data.get(name) != value for name, value in wanted.items()):
        return False
    if on.source == "email" and (data.get("mailbox", "INBOX") != on.mailbox or not _sent_by(on, data)):
        return False
    if on.status and data.get("status") not in on.status:
        return False
    if on.argv and list(on.argv) != list(data.get("argv", ())):
        return False
    if on.source == "mqtt" and not topic_fits(on.topic, str(data.get("topic", ""))):
        return False
    return on.source != "file" or _in_folder(on, data)


def _in_folder(on: On, data: Mapping[str, Any]) -> bool:
    if data.get("watched") != on.path:
        return False
    return not on.pattern or fnmatch.fnmatch(str(data.get("name", "")), on.pattern)


def _sent_by(on: On, data: Mapping[str, Any]) -> bool:
    """Senders are compared with the address alone: a display name may say anything."""
    if not on.senders:
        return True
    address = str(data.get("sender", "")).lower()
    return any(address == wanted.lower() or _of_domain(address, wanted) for wanted in on.senders)


def _of_domain(address: str, wanted: str) -> bool:
    return wanted.startswith("@") and address.endswith(wanted.lower())


def topic_fits(pattern: str, topic: str) -> bool:
    """Whether an MQTT topic fits a filter with `+` and `#`."""
    parts, given = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and parts[0] in ("+", "#"):
        return False
    for number, part in enumerate(parts):
        if part == "#":
            return True
        if number >= len(given) or part not in ("+", given[number]):
            return False
    return len(parts) == len(given)
