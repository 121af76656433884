"""The rest of the world, on loopback: feed, weather, fares, a phone that gets messages, a place that counts effects."""

import contextlib
import json
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from tawny.cli.demo.home import DATA, dated
from tawny.clock import SystemClock, to_datetime
from tawny.config import Config, owner_zone


class Outside:
    """What was asked of it, and what it was told."""

    def __init__(self) -> None:
        self.url = ""
        self.looks = 0
        self.fare: int | None = None
        """The fare that was shown last."""
        self.effects: dict[str, str] = {}
        """Idempotency key → what was done; a second request with the same key does nothing."""
        self.resent = 0
        self.messages: list[dict[str, Any]] = []
        self._seen: set[str] = set()
        self._lock = Lock()
        self._fares: dict[str, Any] = json.loads((DATA / "fares.json").read_text(encoding="utf-8"))

    def get(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """What is served at a path; `None` where there is nothing."""
        if path == "/feed.xml":
            now = to_datetime(SystemClock().now(), ZoneInfo(owner_zone(Config())))
            return dated((DATA / "feed.xml").read_text(encoding="utf-8"), now).encode()
        if path == "/v1/forecast":
            return json.dumps({"daily": _RAIN | {"time": query.get("start_date", [""])}}).encode()
        if path == "/fares":
            with self._lock:
                prices: list[int] = self._fares["prices"]
                price = self.fare = prices[min(self.looks, len(prices) - 1)]
                self.looks += 1
            return json.dumps({**self._fares, "price": price, "prices": None}).encode()
        return None

    def post(self, path: str, key: str, body: bytes) -> bool:
        """Take what is handed in, each key once; `False` where nothing takes it."""
        try:
            said: dict[str, Any] = json.loads(body)
        except ValueError:
            said = {}
        with self._lock:
            if path == "/effects":
                if key in self.effects:
                    self.resent += 1
                else:
                    self.effects[key] = str(said.get("file", ""))
                return True
            if path == "/phone":
                if key not in self._seen:
                    self._seen.add(key)
                    self.messages.append(said)
                return True
        return False

    def work_done(self) -> list[str]:
        """The files whose effect was had, once for each time."""
        with self._lock:
            return list(self.effects.values())


_RAIN = {
    "weather_code": [61],
    "temperature_2m_max": [9.4],
    "temperature_2m_min": [3.1],
    "precipitation_probability_max": [80],
    "precipitation_sum": [2.4],
    "wind_speed_10m_max": [18.0],
}


@contextlib.contextmanager
def outside() -> Generator[Outside]:
    """Serve on a free port of this machine until the block ends."""
    world = Outside()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = world.get(parts.path, parse_qs(parts.query))
            self._answer(404 if body is None else 200, body or b"not here")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            key = (
                self.headers.get("idempotency-key")
                or self.headers.get("webhook-id")
                or body.decode("utf-8", "replace")
            )
            self._answer(200 if world.post(self.path, key, body) else 404, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the terminal belongs to the show."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    world.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
