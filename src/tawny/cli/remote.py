"""The gateway that runs on this home, as the command line sees it: found by its note, spoken to over HTTP."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

from tawny.clock import SystemClock
from tawny.config import Home
from tawny.errors import PermanentError, TemporaryError
from tawny.ids import new_id

_TIMEOUT = 10.0
_HOLD = 75.0
"""Seconds for an answer; the gateway holds for sixty at most."""


class Remote:
    """A running gateway. Its note `run/gateway.json` holds `pid`, `host` and `port`."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.host = host
        self.port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def request(
        self, method: str, path: str, body: Any = None, *, timeout: float = _TIMEOUT
    ) -> tuple[int, Any]:
        """One request; status and decoded body.

        Raises:
            TemporaryError: it does not answer.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            raw = response.read()
            return response.status, json.loads(raw) if raw else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TemporaryError(
                f"the gateway at {self.host}:{self.port} does not answer: {error}"
            ) from error
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = _TIMEOUT) -> dict[str, Any]:
        """One request; its answer.

        Raises:
            TemporaryError: it does not answer, or answers with an error; in its own words.
        """
        status, answer = self.request(method, path, body, timeout=timeout)
        if status >= 400:
            problem: dict[str, Any] = answer.get("error") or {} if answer else {}
            message = problem.get("message", f"the gateway answered {status}")
            raise TemporaryError(str(message), hint=str(problem.get("hint", "")))
        return answer or {}

    def say(self, session: str, text: str, *, wait: bool = False) -> dict[str, Any]:
        """Say something in a conversation; what came of it, with `wait` the answer.

        Raises:
            TemporaryError: it does not answer, or refuses.
        """
        body = {"text": text, "wait": wait, "event_id": message_id()}
        path = f"/v1/sessions/{quote(session, safe='')}/messages"
        return self.ask("POST", path, body, timeout=_HOLD if wait else _TIMEOUT)

    def stream(
        self, after: int | None, *, task_id: str | None = None, opened: Callable[[], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The events after a sequence number, or from now on, until the caller stops or the gateway goes."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=None)
        query = {name: value for name, value in (("after", after), ("task", task_id)) if value is not None}
        try:
            connection.request("GET", f"/v1/stream?{urlencode(query)}", None, self._headers)
            response = connection.getresponse()
            if response.status != 200:
                raise PermanentError(f"the gateway answered {response.status} to the stream")
            if opened is not None:
                opened()
            for raw in response:
                if raw.startswith(b"data:"):
                    document = json.loads(raw[5:])
                    if isinstance(document, dict) and "seq" in document:
                        yield document
        except (OSError, http.client.HTTPException) as error:
            raise TemporaryError(f"the gateway at {self.host}:{self.port} has gone: {error}") from error
        finally:
            connection.close()


def message_id() -> str:
    """An id for something that is said here: however often it arrives, it counts once."""
    return new_id("say", SystemClock().now())


def find(home: Home) -> Remote | None:
    """The gateway that runs on this home, `None` where none does."""
    try:
        note = json.loads((home.run / "gateway.json").read_text(encoding="utf-8"))
        token = home.token_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    remote = Remote(note["host"], note["port"], token)
    try:
        status, _ = remote.request("GET", "/healthz", timeout=2)
    except TemporaryError:
        return None
    return remote if status == 200 else None


def wake(home: Home, topics: set[str]) -> None:
    """Ring the gateway's bell, where one runs; where none does, the rows speak at its start."""
    remote = find(home)
    if remote is not None:
        remote.request("POST", "/v1/wake", {"topics": sorted(topics)})
