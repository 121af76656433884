"""Figures for people (`/v1/stats`) and for Prometheus (`/metrics`)."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.clock import DAY, MINUTE, Instant, parse_duration, stopwatch
from tawny.errors import InvalidInput
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.gateway.site import Site
from tawny.ledger import statistics
from tawny.ledger.database import Tx
from tawny.ledger.stats import Ended, endings_since

if TYPE_CHECKING:
    from prometheus_client import Histogram

_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_LATE = MINUTE
"""How much later than its own time an ending may be seen: machines that share a ledger write beside each other."""


class Spread(msgspec.Struct):
    """Seconds."""

    p50: float | None
    p95: float | None


class Group(msgspec.Struct):
    count: int
    success_rate: float | None
    cost: float
    p50: float | None


class Stats(msgspec.Struct):
    window_seconds: int
    counts: dict[str, int]
    success_rate: float | None
    queue_wait: Spread
    run_time: Spread
    cost: float
    tokens: dict[str, int]
    series: list[dict[str, Any]]
    by_kind: list[Group]
    by_automation: list[Group]


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far back: `24h`, `7d`, `30d`; a year at most."""

    window: Annotated[str, msgspec.Meta(max_length=20)] = "24h"


def stats(tx: Tx, call: Call[Window, Nothing]) -> dict[str, Any]:
    try:
        window = parse_duration(call.query.window)
    except ValueError as error:
        raise InvalidInput(f"window: {error}") from None
    if not 0 < window <= 366 * DAY:
        raise InvalidInput("window: between a moment and 366d is expected")
    return statistics.summary(tx, window=window)


async def _elsewhere(_: Call[Any, Any]) -> None:
    raise AssertionError("the metrics are served by their own endpoint")


class MetricsEndpoint:
    """The gauges, counters and histograms in Prometheus' text form."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._scraping = asyncio.Lock()
        self._since = site.started_at
        self._seen: dict[str, Instant] = {}
        self._times: tuple[Histogram, Histogram] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        waited = stopwatch()
        await asyncio.sleep(0)
        lag = waited()
        async with self._scraping:
            found = await self._site.ledger.read(statistics.gauges)
            ended = await self._ended()
            body = await asyncio.to_thread(self._text, found, lag, ended)
        headers = [
            (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _ended(self) -> list[Ended]:
        """The tasks that have ended since the last scrape, here or on another machine of the same ledger."""
        since = max(self._since - _LATE, self._site.started_at)
        rows = await self._site.ledger.read(lambda tx: endings_since(tx, since))
        fresh = [row for row in rows if row.task_id not in self._seen]
        self._since = max([self._since, *(row.ended_at for row in fresh)])
        late = self._since - _LATE
        known = {**self._seen, **{row.task_id: row.ended_at for row in fresh}}
        self._seen = {task_id: ended_at for task_id, ended_at in known.items() if ended_at >= late}
        return fresh

    def _text(self, found: dict[str, dict[str, int]], lag: float, ended: list[Ended]) -> bytes:
        import prometheus_client as prometheus  # noqa: PLC0415 - only who scrapes pays for it
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        site = self._site

        class Collector:
            def collect(self) -> Iterator[Any]:
                for table in ("tasks", "outbox", "approvals", "automations"):
                    family = GaugeMetricFamily(f"tawny_{table}", f"{table} by status", labels=["status"])
                    for status, count in found[table].items():
                        family.add_metric([status], count)
                    yield family
                for name, count in found["counters"].items():
                    yield CounterMetricFamily(f"tawny_{name}_rows", f"{name} rows ever written", value=count)
                yield CounterMetricFamily(
                    "tawny_commits", "commits since the start", value=site.ledger.commits
                )
                yield GaugeMetricFamily("tawny_devices", "devices that listen now", value=site.feed.devices)
                yield GaugeMetricFamily("tawny_loop_lag_seconds", "how late the loop was just now", value=lag)
                up = (site.clock.now() - site.started_at) / 1_000_000
                yield GaugeMetricFamily("tawny_uptime_seconds", "since the start", value=up)

        registry = prometheus.CollectorRegistry()
        registry.register(Collector())
        if self._times is None:
            self._times = (
                prometheus.Histogram(
                    "tawny_task_run_seconds",
                    "how long tasks ran that have ended since the start",
                    ["kind"],
                    registry=None,
                    buckets=_BUCKETS,
                ),
                prometheus.Histogram(
                    "tawny_task_wait_seconds",
                    "how long they had waited for a place",
                    ["kind"],
                    registry=None,
                    buckets=_BUCKETS,
                ),
            )
        for times in self._times:
            registry.register(times)
        ran, waited = self._times
        for task in ended:
            if task.waited is not None:
                ran.labels(task.kind).observe(task.ran)
                waited.labels(task.kind).observe(task.waited)
        prometheus.ProcessCollector(registry=registry)
        return prometheus.generate_latest(registry)


OPERATIONS = (
    Operation(
        name="stats",
        method="GET",
        path="/v1/stats",
        scope=READ,
        summary="Figures about the work of a span of time",
        query=Window,
        answer=Stats,
        read=stats,
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        scope=READ,
        summary="Gauges, counters and histograms in Prometheus' text form",
        media=("text/plain",),
        act=_elsewhere,
    ),
)
