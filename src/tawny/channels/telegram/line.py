"""The way to the Bot API: what the library would take for an answer, or lose of one, is looked at first."""

import json
from typing import Any, cast

from telegram.error import RetryAfter
from telegram.request import HTTPXRequest

_LONGEST = 3600
_USUAL = 5
_TOO_MANY = 429


class Line(HTTPXRequest):
    """Passes on the wait that a limit asks for, whatever else is wrong with that answer."""

    async def do_request(self, *args: Any, **named: Any) -> tuple[int, bytes]:
        code, payload = await super().do_request(*args, **named)
        if code == _TOO_MANY:
            raise RetryAfter(wait_asked(payload))
        return code, payload


def wait_asked(payload: bytes) -> int:
    """The seconds in the answer to a call too many; a few where it has none, an hour is the most that is believed."""
    try:
        asked: Any = json.loads(payload)
        seconds = int(cast("dict[str, Any]", asked)["parameters"]["retry_after"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return _USUAL
    return min(max(seconds, 0), _LONGEST)
