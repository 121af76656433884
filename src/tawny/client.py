"""The HTTP surface from Python, blocking (`Client`) and not (`AsyncClient`); documents are the contract's."""

import asyncio
import importlib
import json
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tawny.config import find_home
from tawny.errors import Conflict, InvalidInput, NotFound, PermanentError, Refused, TemporaryError

if TYPE_CHECKING:
    import httpx

Document = dict[str, Any]
_ENDED = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost"})
_BY_STATUS = {400: InvalidInput, 403: Refused, 404: NotFound, 409: Conflict, 422: InvalidInput}


class _Calls:
    """What each method asks for; the two clients differ in how they ask."""

    def __init__(
        self, url: str = "", *, token: str = "", home: str | None = None, timeout: float = 70.0
    ) -> None:
        """Without `url` and `token` both come from the running gateway of `home` (default: the usual one)."""
        found = find_home(home)
        if not url:
            try:
                where = json.loads((found.run / "gateway.json").read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise TemporaryError(
                    f"no gateway runs on {found.root}",
                    hint="start it with 'tawny gateway run', or give its url",
                ) from error
            url = f"http://{where['host']}:{where['port']}"
        self.url = url.rstrip("/")
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "timeout": timeout,
            "trust_env": False,
            "headers": {"authorization": f"Bearer {token or _token(found.token_file)}"},
        }


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidInput(f"there is no token in {file}", hint="give token=…") from error


def _answer(response: "httpx.Response") -> Document:
    if response.is_success:
        return response.json() if response.content else {}
    try:
        said: Document = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = {"message": f"the gateway answered {response.status_code}"}
    kind = _BY_STATUS.get(response.status_code, TemporaryError if said.get("retryable") else PermanentError)
    raise kind(str(said.get("message")), hint=str(said.get("hint") or ""), code=said.get("code"))


class _Following:
    """Where one who follows the stream stands, and how patient it is.

    A gateway that was there and has gone is asked again once a second, for half a minute.
    """

    def __init__(self, url: str, after: int, filters: Mapping[str, Any]) -> None:
        self._url = url
        self._after = after
        self._filters = filters
        self._left = 0
        self.is_behind = False
        """The gateway went on without us, as we read too slowly, and still has what it left out: ask again."""

    @property
    def query(self) -> dict[str, Any]:
        return {"after": self._after, **self._filters}

    def opened(self, response: "httpx.Response") -> None:
        """It answers; raises what it says where that is a refusal."""
        if not response.is_success:
            _answer(response)
        self._left = 30
        self.is_behind = False

    def heard(self, line: str) -> Document | None:
        """The event that a line of the stream brings, if it brings one."""
        if not line.startswith("data:"):
            return None
        event: Document = json.loads(line[5:])
        if event["type"] == "system.snapshot" and event["data"].get("reason") == "slow":
            self._after = event["data"]["after"]
            self.is_behind = True
            return None
        self._after = event["seq"] or self._after
        return event

    def lost(self, error: Exception) -> float:
        """Seconds to wait before it is asked again.

        Raises:
            TemporaryError: it was asked often enough.
        """
        if not self._left:
            raise TemporaryError(f"{self._url} does not answer: {error}") from error
        self._left -= 1
        return 1


def _may_be_over(event: Document) -> bool:
    """An end, or a leap over what may have been one."""
    return event["type"].removeprefix("task.") in _ENDED or event["type"] == "system.snapshot"


def _sent(idempotency_key: str) -> dict[str, str]:
    return {"idempotency-key": idempotency_key} if idempotency_key else {}


def _task(kind: str, params: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Document:
    return {"kind": kind, "params": dict(params or {}), **fields}


class Client(_Calls):
    """Asks and waits. Errors are the house's own: `NotFound`, `Conflict`, `TemporaryError` and so on."""

    _http: "httpx.Client"

    def __enter__(self) -> Self:
        self._http = importlib.import_module("httpx").Client(**self._options)
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Document:
        """Any operation; `more` is what httpx takes (`params`, `headers`).

        Raises:
            TawnyError: what the gateway answered, or `TemporaryError` where it did not.
        """
        try:
            return _answer(self._http.request(method, path, json=body, **more))
        except importlib.import_module("httpx").TransportError as error:
            raise TemporaryError(f"{self.url} does not answer: {error}") from error

    def run(
        self, kind: str, params: Mapping[str, Any] | None = None, *, idempotency_key: str = "", **fields: Any
    ) -> Document:
        """Hand in a task (`title`, `priority`, `delivery` … as fields); its document."""
        return self.request("POST", "/v1/tasks", _task(kind, params, fields), headers=_sent(idempotency_key))

    def task(self, task_id: str) -> Document:
        return self.request("GET", f"/v1/tasks/{task_id}")

    def tasks(self, **filters: Any) -> list[Document]:
        return self.request("GET", "/v1/tasks", params=filters)["items"]

    def steer(self, task_id: str, command: str) -> Document:
        """`cancel`, `pause`, `resume` or `retry`."""
        return self.request("POST", f"/v1/tasks/{task_id}/{command}")

    def wait(self, task_id: str) -> Document:
        """The ended task; follows the stream instead of asking again and again."""
        after = int(self.request("GET", "/v1/status")["seq"])
        task = self.task(task_id)
        if task["status"] not in _ENDED:
            for event in self.events(after=after, task=task_id):
                if _may_be_over(event) and (task := self.task(task_id))["status"] in _ENDED:
                    break
        return task

    def events(self, *, after: int = 0, **filters: Any) -> Generator[Document]:
        """Events from `after` on, for ever, over a restart of the gateway too; break off when you have seen enough.

        Raises:
            TemporaryError: it has gone and does not come back.
        """
        following = _Following(self.url, after, filters)
        while True:
            try:
                with self._http.stream("GET", "/v1/stream", params=following.query, timeout=None) as response:
                    if not response.is_success:
                        response.read()
                    following.opened(response)
                    for line in response.iter_lines():
                        if (event := following.heard(line)) is not None:
                            yield event
                        if following.is_behind:
                            break
                    else:
                        raise ConnectionError("it closed the stream")
            except (ConnectionError, importlib.import_module("httpx").TransportError) as error:
                threading.Event().wait(following.lost(error))

    def say(self, text: str, *, session: str = "main", wait: bool = True) -> Document:
        """A message for the assistant; with `wait` the reply."""
        return self.request("POST", f"/v1/sessions/{session}/messages", {"text": text, "wait": wait})

    def add_automation(self, document: Mapping[str, Any]) -> Document:
        return self.request("POST", "/v1/automations", document)

    def approvals(self, **filters: Any) -> list[Document]:
        return self.request("GET", "/v1/approvals", params=filters)["items"]

    def answer(self, approval_id: str, answer: str, **fields: Any) -> Document:
        """`approve` or `deny`; `note`, `always`, `arguments` as fields."""
        return self.request("POST", f"/v1/approvals/{approval_id}/{answer}", fields)


class AsyncClient(_Calls):
    """The same without blocking."""

    _http: "httpx.AsyncClient"

    async def __aenter__(self) -> Self:
        self._http = importlib.import_module("httpx").AsyncClient(**self._options)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any
    ) -> Document:
        """Any operation; `more` is what httpx takes (`params`, `headers`).

        Raises:
            TawnyError: what the gateway answered, or `TemporaryError` where it did not.
        """
        try:
            return _answer(await self._http.request(method, path, json=body, **more))
        except importlib.import_module("httpx").TransportError as error:
            raise TemporaryError(f"{self.url} does not answer: {error}") from error

    async def run(
        self, kind: str, params: Mapping[str, Any] | None = None, *, idempotency_key: str = "", **fields: Any
    ) -> Document:
        """Hand in a task (`title`, `priority`, `delivery` … as fields); its document."""
        return await self.request(
            "POST", "/v1/tasks", _task(kind, params, fields), headers=_sent(idempotency_key)
        )

    async def task(self, task_id: str) -> Document:
        return await self.request("GET", f"/v1/tasks/{task_id}")

    async def tasks(self, **filters: Any) -> list[Document]:
        return (await self.request("GET", "/v1/tasks", params=filters))["items"]

    async def steer(self, task_id: str, command: str) -> Document:
        """`cancel`, `pause`, `resume` or `retry`."""
        return await self.request("POST", f"/v1/tasks/{task_id}/{command}")

    async def wait(self, task_id: str) -> Document:
        """The ended task; follows the stream instead of asking again and again."""
        after = int((await self.request("GET", "/v1/status"))["seq"])
        task = await self.task(task_id)
        if task["status"] not in _ENDED:
            async for event in self.events(after=after, task=task_id):
                if _may_be_over(event) and (task := await self.task(task_id))["status"] in _ENDED:
                    break
        return task

    async def events(self, *, after: int = 0, **filters: Any) -> AsyncGenerator[Document]:
        """Events from `after` on, for ever, over a restart of the gateway too; break off when you have seen enough.

        Raises:
            TemporaryError: it has gone and does not come back.
        """
        following = _Following(self.url, after, filters)
        while True:
            try:
                async with self._http.stream(
                    "GET", "/v1/stream", params=following.query, timeout=None
                ) as response:
                    if not response.is_success:
                        await response.aread()
                    following.opened(response)
                    async for line in response.aiter_lines():
                        if (event := following.heard(line)) is not None:
                            yield event
                        if following.is_behind:
                            break
                    else:
                        raise ConnectionError("it closed the stream")
            except (ConnectionError, importlib.import_module("httpx").TransportError) as error:
                await asyncio.sleep(following.lost(error))

    async def say(self, text: str, *, session: str = "main", wait: bool = True) -> Document:
        """A message for the assistant; with `wait` the reply."""
        return await self.request("POST", f"/v1/sessions/{session}/messages", {"text": text, "wait": wait})

    async def add_automation(self, document: Mapping[str, Any]) -> Document:
        return await self.request("POST", "/v1/automations", document)

    async def approvals(self, **filters: Any) -> list[Document]:
        return (await self.request("GET", "/v1/approvals", params=filters))["items"]

    async def answer(self, approval_id: str, answer: str, **fields: Any) -> Document:
        """`approve` or `deny`; `note`, `always`, `arguments` as fields."""
        return await self.request("POST", f"/v1/approvals/{approval_id}/{answer}", fields)
