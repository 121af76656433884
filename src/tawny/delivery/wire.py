"""One HTTP request of a channel, its failures sorted into: not sent, never will be, nobody knows."""

import importlib
import math
from typing import TYPE_CHECKING, Any, cast

from tawny.delivery.channel import AmbiguousSend, ChannelDown
from tawny.errors import PermanentError, TawnyError, TemporaryError

if TYPE_CHECKING:
    import httpx

_DOUBTFUL = frozenset({502, 504})
"""A proxy gave up waiting: what stands behind it may have done the work."""
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")


async def request(
    client: "httpx.AsyncClient",
    method: str,
    url: str,
    *,
    secret_in_url: str = "",
    asks_back: bool = False,
    **content: Any,
) -> "httpx.Response":
    """Make a request that must not be repeated blindly, and return the answer if it is a success.

    `content` is what httpx takes (`json`, `data`, `files`, `content`, `headers`, `params`). `secret_in_url` is kept
    out of every error. `asks_back`: the channel can look whether it was done, so that a 500 is a doubt too.

    Raises:
        TemporaryError: it was certainly not done (no connection, 429 with the wait asked for, 500, 503).
        AmbiguousSend: the connection broke or timed out after the request had gone out, or a proxy answered 502, 504.
        ChannelDown: 401, the credentials are not valid.
        PermanentError: any other refusal; the message holds the first of the answer's text.
    """
    httpx = importlib.import_module("httpx")
    place = httpx.URL(url).host

    def plain(error: object) -> str:
        text = str(error) or type(error).__name__
        return text.replace(secret_in_url, "…") if secret_in_url else text

    try:
        response = await client.request(method, url, **content)
    except TawnyError:
        raise
    except httpx.TransportError as error:
        if type(error).__name__ in _NOT_SENT:
            raise TemporaryError(f"{place} cannot be reached: {plain(error)}") from None
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise PermanentError(f"{place}: {plain(error)}") from None
        raise AmbiguousSend(f"{place} gave no answer: {plain(error)}") from None
    except (httpx.InvalidURL, httpx.CookieConflict) as error:
        raise PermanentError(plain(error)) from None
    if response.is_success:
        return response
    said = f"{place} answered {response.status_code}: {plain(response.text[:200])}"
    if asks_back and response.status_code == 500:
        raise AmbiguousSend(said)
    raise failure(response.status_code, said, retry_after=wait_asked(response.headers.get("retry-after")))


def json_object(response: "httpx.Response") -> dict[str, Any]:
    """The answer as a JSON object.

    Raises:
        AmbiguousSend: it is none: somebody else answered, or the server is not well; what it did nobody knows.
    """
    try:
        answer: Any = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise AmbiguousSend(f"{response.url.host} answered with what is no answer of such a server")
    return cast("dict[str, Any]", answer)


def text_at(answer: Any, *path: str) -> str:
    """The text at a path of an answer, such as the id of what was made.

    Raises:
        AmbiguousSend: there is none.
    """
    for name in path:
        answer = cast("dict[str, Any]", answer).get(name) if isinstance(answer, dict) else None
    if isinstance(answer, str) and answer:
        return answer
    raise AmbiguousSend(f"the server's answer has no {'.'.join(path)}")


def failure(status: int, message: str, *, retry_after: float | None = None) -> Exception:
    """The error an HTTP status stands for."""
    if status == 429:
        return TemporaryError(message, retry_after=5.0 if retry_after is None else retry_after)
    if status in _DOUBTFUL:
        return AmbiguousSend(message)
    if status >= 500 or status in (408, 425):
        return TemporaryError(message, retry_after=retry_after)
    if status == 401:
        return ChannelDown(message, hint="check the credentials")
    return PermanentError(message)


def wait_asked(header: str | None) -> float | None:
    """Seconds of a Retry-After header; a date or nonsense counts as a minute, an hour is the most that is believed."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        return 60.0
    return 60.0 if math.isnan(seconds) else min(max(seconds, 0.0), 3600.0)
