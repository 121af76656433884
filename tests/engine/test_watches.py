"""Continuous watches over simulated weeks: one alert, no noise, and a failing probe is told."""

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from tests.engine import recorded_prices
from tests.engine.test_scheduler import REMIND, House, alerts

from tawny.clock import DAY, iso
from tawny.config import Config, Home, Limits, Network, Source, Sources
from tawny.domain import watching
from tawny.domain.automations import Watch
from tawny.domain.expressions import EvaluationError
from tawny.domain.heartbeat import CONDITION
from tawny.ledger import inbox, outbox, tasks
from tawny.testing import FakeClock, ScriptedModel


class Shop:
    """A local server whose pages tests set."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.kind = "application/json"
        self.asked = 0
        self.etag = ""
        self.unchanged = 0
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.asked += 1
                if shop.etag and self.headers.get("If-None-Match") == shop.etag:
                    shop.unchanged += 1
                    self.send_response(304)
                    self.end_headers()
                    return
                self.send_response(shop.status)
                if shop.etag:
                    self.send_header("ETag", shop.etag)
                self.send_header("Content-Type", shop.kind)
                self.send_header("Content-Length", str(len(shop.body)))
                self.end_headers()
                self.wfile.write(shop.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def show(self, value: Any) -> None:
        self.body = json.dumps(value).encode()

    def page(self, html: str) -> None:
        self.kind, self.body = "text/html; charset=utf-8", html.encode()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture
async def house(home: Home, shop: Shop) -> Any:
    config = Config(
        limits=Limits(concurrency=8, max_running_per_owner=8),
        network=Network(allow_private=(f"127.0.0.1:{shop.server.server_port}",)),
    )
    async with House(home, FakeClock("2026-03-01T08:00:00+08:00"), config) as house:
        yield house


async def made(house: House) -> list[Any]:
    page = await house.app.ledger.read(lambda tx: tasks.page(tx, limit=100))
    return list(reversed(page.items))


def flight(url: str) -> dict[str, Any]:
    text = (
        "Price: ¥{{ price }} (Original ¥{{ first }})\nFlight: {{ departure }}, direct\nAirline: {{ airline }}"
    )
    return {
        "name": "Flight Price Drop Alert",
        "type": "continuous",
        "watch": {
            "probe": {"type": "http", "url": url, "jsonpath": "$.offers[0]"},
            "every": "6h",
            "condition": "price < 2000",
            "clear": "price > 2100",
        },
        "action": {
            "type": "remind",
            "parameters": {
                "text": text,
                "buttons": [
                    {"label": "Book Now", "url": "{{ link }}"},
                    {"label": "View Details", "url": "{{ link }}"},
                    {"label": "Ignore", "value": "ignore"},
                ],
            },
        },
        "delivery": {"channels": ["telegram", "email"], "priority": "high"},
    }


async def test_the_flight_of_the_seed_alerts_once_with_its_three_buttons(house: House, shop: Shop) -> None:
    def offer(price: float) -> None:
        link = "https://example.org/book/NH962"
        shop.show(
            {"offers": [{"price": price, "airline": "ANA", "departure": "April 15, 09:00", "link": link}]}
        )

    offer(2800)
    automation = await house.add(flight(shop.url))
    prices = [2750, 2790, 2760, *([2600, 2450, 2300] * 10), 2150, 1980, 1960, 2050, 1990, 2040]
    fired_at = ""
    for price in prices:
        offer(price)
        await house.pass_time("6h")
        if price == 1980:
            fired_at = iso(house.clock.now())
    assert shop.asked == len(prices) + 1
    (task,) = await made(house)
    assert iso(task.created_at) == fired_at
    assert task.result["text"].startswith("Price: ¥1980 (Original ¥2800)\nFlight: April 15, 09:00, direct")
    lines = await house.app.ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
    assert {line.target for line in lines} >= {"email", "telegram"}
    assert [button.label for button in lines[0].message.buttons] == ["Book Now", "View Details", "Ignore"]
    assert lines[0].message.buttons[0].url == "https://example.org/book/NH962"
    assert [o.status for o in await house.slots(automation)] == ["ran"]


async def test_unchanged_looks_write_no_noise(house: House, shop: Shop) -> None:
    shop.show({"offers": [{"price": 2800}]})
    await house.add(flight(shop.url))
    await house.pass_time("12h")
    size = await house.app.ledger.read(_rows)
    await house.pass_time("8d")
    assert shop.asked > 30
    assert await house.app.ledger.read(_rows) == size


def _rows(tx: Any) -> dict[str, int]:
    tables = ("tasks", "events", "audit", "occurrences", "outbox", "steps", "inbox")
    return {table: tx.value(f"SELECT COUNT(*) AS n FROM {table}") for table in tables}


async def test_a_probe_that_fails_three_times_is_told_once_and_a_recovery_forgets_it(
    house: House, shop: Shop
) -> None:
    shop.show({"offers": [{"price": 2800}]})
    automation = await house.add(flight(shop.url))
    shop.status = 503
    await house.pass_time("12h")
    assert await alerts(house) == []
    await house.pass_time("5d")
    told = await own_alerts(house)
    assert {line.target for line in told} == {"telegram", "email"}
    assert all("3 times in a row" in line.message.text and "503" in line.message.text for line in told)
    assert len(told) == 2
    shop.status = 200
    await house.pass_time("6h")
    assert watching.failures((await house.get(automation)).state) == 0
    shop.status = 503
    await house.pass_time("2d")
    assert len(await own_alerts(house)) == 4


async def own_alerts(house: House) -> list[outbox.Line]:
    """Without the copies that went to the inbox because no channel is there."""
    return [line for line in await alerts(house) if line.fallback_of is None]


async def test_a_watch_begins_with_a_look_and_keeps_its_state_over_a_restart(
    house: House, shop: Shop
) -> None:
    shop.show(100)
    document = watch(shop, "change_percent < -5")
    automation = await house.add(document)
    assert (await house.get(automation)).state["value"] == 100
    await house.stop()
    shop.show(90)
    await house.clock.advance("2h")
    await house.start()
    await house.settled()
    (task,) = await made(house)
    assert task.params["text"] == "90 after 100"


def watch(shop: Shop, condition: str, *, every: str = "1h", **more: Any) -> dict[str, Any]:
    return {
        "name": "It",
        "watch": {"probe": {"type": "http", "url": shop.url}, "every": every, "condition": condition, **more},
        "action": {"type": "remind", "parameters": {"text": "{{ value }} after {{ previous }}"}},
    }


MOVED = "change_percent >= 5 or change_percent <= -5"


async def test_a_stock_every_hour_with_moves_and_levels(house: House, shop: Shop) -> None:
    """Google in October 2004, seven looks a day: those that see what the last one saw say nothing."""
    first, *closes = recorded_prices.GOOG.values()
    shop.show(first)
    move = await house.add({**watch(shop, MOVED, rearm="always"), "name": "Move"})
    profit = await house.add({**watch(shop, "price >= 170"), "name": "Take profit"})
    stop = await house.add({**watch(shop, "price <= 142", clear="price > 145"), "name": "Stop loss"})
    looked = shop.asked
    for price in closes:
        shop.show(price)
        await house.pass_time("7h")
    assert shop.asked == looked + 3 * 7 * len(closes)
    told = ("140.49", "149.38", "172.43", "187.4")
    assert [o.reason for o in await house.slots(move)] == [f"{MOVED} ({price})" for price in told]
    assert [o.reason for o in await house.slots(profit)] == ["price >= 170 (172.43)"]
    assert [o.reason for o in await house.slots(stop)] == ["price <= 142 (142.0)", "price <= 142 (140.49)"]


async def test_a_coin_every_quarter_of_an_hour_with_moves_and_levels(house: House, shop: Shop) -> None:
    """XRP on 16 November 2021: a fall of five per cent within a quarter of an hour, and a slow way up again."""
    first, *prices = recorded_prices.XRP.values()
    shop.show(first)
    since = "baseline_percent > 5 or baseline_percent < -5"
    documents = {
        "Move": (MOVED, {"rearm": "always"}),
        "Since the last word": (since, {"rearm": "always"}),
        "Take profit": ("price >= 1.13", {}),
        "Stop loss": ("price < 1.05", {"clear": "price > 1.08"}),
    }
    added = {
        name: await house.add({**watch(shop, condition, every="15m", **more), "name": name})
        for name, (condition, more) in documents.items()
    }
    for price in prices:
        shop.show(price)
        await house.pass_time("15m")
    told = {name: [o.reason for o in await house.slots(automation)] for name, automation in added.items()}
    assert told == {
        "Move": [f"{MOVED} (1.0439)"],
        "Since the last word": [f"{since} (1.0439)", f"{since} (1.0961)"],
        "Take profit": ["price >= 1.13 (1.13)"],
        "Stop loss": ["price < 1.05 (1.0439)"],
    }


async def test_once_fires_once_and_is_completed(house: House, shop: Shop) -> None:
    shop.show(1)
    automation = await house.add(watch(shop, "value > 5", rearm="once"))
    shop.show(9)
    await house.pass_time("5h")
    assert len(await made(house)) == 1
    assert (await house.get(automation)).status == "completed"


async def test_a_condition_that_fails_alerts_once_and_stops_nothing_else(house: House, shop: Shop) -> None:
    shop.show("a text")
    await house.add(watch(shop, "value > 5"))
    fine = await house.add({**watch(shop, 'value == "a text"'), "name": "Fine"})
    await house.pass_time("6h")
    assert len([line for line in await alerts(house) if line.status != "suppressed"]) == 1
    assert len(await house.slots(fine)) == 1


PAGE = """<html><head><script type="application/ld+json">
{"@type": "Product", "offers": {"@type": "Offer", "price": "1,299.00", "availability": "InStock"}}</script></head>
<body><span class="price" data-cents="129900">EUR 1.299,00</span><p id="x">left: 3 pieces</p></body></html>"""


@pytest.mark.parametrize(
    ("pick", "value"),
    [
        ({"css": ".price", "price": True}, 1299),
        ({"css": ".price", "attribute": "data-cents"}, "129900"),
        ({"xpath": "//p[@id='x']"}, "left: 3 pieces"),
        ({"xpath": "//p/text()", "regex": r"left: (\d+)"}, "3"),
        ({"ldjson": "price", "price": True}, 1299),
        ({"ldjson": "availability"}, "InStock"),
        ({"price": True}, 1299),
    ],
)
async def test_values_are_picked_out_of_pages(
    house: House, shop: Shop, pick: dict[str, Any], value: Any
) -> None:
    shop.page(PAGE)
    document = watch(shop, "changed")
    document["watch"]["probe"] |= pick
    automation = await house.add(document)
    assert (await house.get(automation)).state["value"] == value


async def test_a_page_without_the_value_is_a_failing_probe(house: House, shop: Shop) -> None:
    shop.page("<p>rebuilt</p>")
    document = watch(shop, "changed")
    document["watch"]["probe"]["css"] = ".price"
    automation = await house.add(document)
    assert "nothing is found there by css '.price'" in str((await house.get(automation)).state["error"])


async def test_any_kind_of_task_can_be_the_probe_and_no_listing_shows_it(house: House) -> None:
    probe = {"type": "remind", "parameters": {"text": "7"}}
    document = {
        "name": "It",
        "watch": {"probe": probe, "every": "1h", "condition": "value == 7"},
        "action": {"type": "remind", "parameters": {"text": "seven"}},
    }
    await house.add(document)
    await house.pass_time("3h")
    assert [task.params["text"] for task in await made(house)] == ["seven"]


async def test_a_file_is_watched_by_its_content(house: House) -> None:
    document = {
        "name": "It",
        "watch": {"probe": {"type": "file", "path": "list.txt"}, "every": "1h", "condition": "changed"},
        "action": {"type": "remind", "parameters": {"text": "{{ text }}"}},
    }
    file = house.app.home.workspace / "list.txt"
    file.write_text("one")
    await house.add(document)
    await house.pass_time("2h")
    file.write_text("two")
    await house.pass_time("2h")
    assert [task.params["text"] for task in await made(house)] == ["two"]


def heartbeat(**policy: Any) -> dict[str, Any]:
    return {
        "name": "Heartbeat",
        "watch": {"probe": {"type": "heartbeat"}, "every": "30m", "condition": CONDITION, "rearm": "always"},
        "action": {"type": "remind", "parameters": {"text": "Look at: {{ text }}"}},
        "policy": policy,
    }


async def test_an_idle_week_of_heartbeats_starts_nothing(house: House) -> None:
    (house.app.home.workspace / "HEARTBEAT.md").write_text("# Heartbeat\n\n<!-- nothing -->\n- [x] done\n")
    await house.add(heartbeat())
    await house.pass_time("7d")
    assert await made(house) == []


async def test_a_heartbeat_sees_a_new_line_a_due_one_and_a_system_event_once_each(house: House) -> None:
    file = house.app.home.workspace / "HEARTBEAT.md"
    file.write_text("- 2026-03-03 call mum\n")
    await house.add(heartbeat())
    await house.pass_time("1d")
    assert await made(house) == []
    await house.pass_time("1d")
    assert [task.params["text"] for task in await made(house)] == ["Look at: - 2026-03-03 call mum"]
    await house.app.ledger.write(lambda tx: inbox.accept(tx, "system", "1", {"text": "the backup is done"}))
    await house.pass_time("1s")
    assert "the backup is done" in (await made(house))[-1].params["text"]
    await house.pass_time("2d")
    assert len(await made(house)) == 2


async def test_system_events_within_a_moment_wake_the_heartbeat_once(house: House) -> None:
    await house.add(heartbeat())
    await house.pass_time("1h")
    for n in range(3):
        await house.app.ledger.write(
            lambda tx, n=n: inbox.accept(tx, "system", f"e{n}", {"text": f"event {n}"})
        )
        await house.pass_time("50ms")
    await house.pass_time("1s")
    (task,) = await made(house)
    assert all(f"event {n}" in task.params["text"] for n in range(3))


async def test_the_same_words_within_a_day_are_one_heartbeat(house: House) -> None:
    await house.add(heartbeat())
    for n in range(4):
        await house.app.ledger.write(
            lambda tx, n=n: inbox.accept(tx, "system", f"e{n}", {"text": "the disk is full"})
        )
        await house.pass_time("10h")
    # at 0 h and, a day having passed since, at 30 h
    assert len(await made(house)) == 2


async def report(house: House, number: int) -> None:
    """Something the house itself has to say."""
    await house.app.ledger.write(
        lambda tx: inbox.accept(tx, "system", f"e{number}", {"text": f"event {number}"})
    )


async def test_a_system_event_is_told_to_one_run_and_to_no_other(house: House) -> None:
    file = house.app.home.workspace / "HEARTBEAT.md"
    await house.add(heartbeat())
    for number in range(3):
        await report(house, number)
        await house.pass_time("1h")
    for line in ("- water the plants", "- feed the cat"):
        file.write_text(line)
        await house.pass_time("1h")
    assert [task.params["text"].removeprefix("Look at: ") for task in await made(house)] == [
        "event 0", "event 1", "event 2", "- water the plants", "- feed the cat",
    ]  # fmt: skip
    # nor does one that is forgotten make a difference
    house.clock.pass_to(house.clock.now() + 31 * DAY)
    await house.settled()
    await report(house, 3)
    await house.pass_time("1h")
    assert (await made(house))[-1].params["text"] == "Look at: - feed the cat\nevent 3"


async def test_a_system_event_whose_run_was_skipped_is_told_to_the_next(house: House) -> None:
    action = {
        "type": "simulate",
        "title": "{{ text }}",
        "parameters": {"steps": 1, "step_seconds": 5400},
    }
    await house.add({**heartbeat(timeout="1d"), "action": action})
    await report(house, 0)
    await house.pass_time("40m")
    await report(house, 1)
    await house.pass_time("2h")
    assert [task.title for task in await made(house)] == ["event 0"]
    await report(house, 2)
    await house.pass_time("1m")
    (_, second) = await made(house)
    assert [f"event {number}" in second.title for number in range(3)] == [False, True, True]


@pytest.mark.parametrize(("text", "asked"), [("- call mum\n", 1), ("# Heartbeat\n\n- [x] done\n", 0)])
async def test_an_idle_week_asks_a_model_once_for_what_is_open(
    home: Home, clock: FakeClock, text: str, asked: int
) -> None:
    model = ScriptedModel(["I have called her."])
    async with House(home, clock, model=model) as house:
        (house.app.home.workspace / "HEARTBEAT.md").write_text(text)
        action = {"type": "agent_turn", "parameters": {"message": "Look at: {{ text }}"}}
        await house.add({**heartbeat(), "action": action})
        async with asyncio.timeout(60):
            # the libraries of a model take their time to load: none passes meanwhile
            while [task.status for task in await made(house)] != ["succeeded"] * asked:
                await asyncio.sleep(0.01)
        await house.pass_time("7d")
        assert len(model.asked) == asked
        assert "call mum" in str(model.asked) or not asked


DAY_PLAN = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//t//t//EN
BEGIN:VEVENT
UID:1
DTSTAMP:20260301T000000Z
DTSTART:20260302T090000Z
DTEND:20260302T100000Z
SUMMARY:Product weekly
END:VEVENT
END:VCALENDAR
"""
NEWS = """<rss version="2.0"><channel><title>News</title>
<item><title>Rain</title><link>https://example.org/rain</link><guid>1</guid></item></channel></rss>"""


@pytest.mark.parametrize(
    ("probe", "value"),
    [
        ({"type": "feed", "name": "news"}, "https://example.org/rain"),
        ({"type": "calendar", "name": "work", "within": "3h"}, 1),
        ({"type": "calendar", "name": "work", "within": "30m"}, 0),
        ({"type": "agent_turn", "parameters": {"message": "how many are left?"}}, 7),
    ],
)
async def test_feeds_calendars_and_what_a_model_says_are_watched(
    home: Home, clock: FakeClock, shop: Shop, probe: dict[str, Any], value: Any
) -> None:
    shop.kind, shop.body = "application/rss+xml", NEWS.encode()
    (home.root / "work.ics").write_text(DAY_PLAN.replace("\n", "\r\n"))
    config = Config(
        network=Network(allow_private=(f"127.0.0.1:{shop.server.server_port}",)),
        sources=Sources(
            feed=(Source(name="news", url=shop.url),),
            calendar=(Source(name="work", url=f"file://{home.root}/work.ics"),),
        ),
    )
    async with House(home, clock, config, model=ScriptedModel(["7"])) as house:
        watch = {"probe": probe, "every": "1h", "condition": "changed"}
        automation = await house.add({"name": "It", "watch": watch, "action": REMIND})
        assert (await house.get(automation)).state["value"] == value


async def test_a_heartbeat_sleeps_at_night_and_sees_it_in_the_morning(house: House) -> None:
    await house.add(heartbeat(active_hours={"start": "08:00", "end": "22:00", "timezone": "Asia/Shanghai"}))
    await house.pass_time("15h")
    (house.app.home.workspace / "HEARTBEAT.md").write_text("- water the plants\n")
    await house.pass_time("8h")
    assert await made(house) == []
    await house.pass_time("2h")
    assert len(await made(house)) == 1


# --- the rule alone


def rule(condition: str, **more: Any) -> Watch:
    return Watch(probe={"type": "x"}, every="1h", condition=condition, **more)


def play(watch: Watch, values: list[Any]) -> list[Any]:
    state: dict[str, Any] = {}
    fired = []
    for value in values:
        step = watching.step(watch, state, value)
        state = step.state
        if step.fires:
            fired.append(value)
    return fired


def test_an_edge_fires_again_only_after_it_was_clear() -> None:
    assert play(rule("value > 10"), [1, 11, 12, 9, 13]) == [11, 13]
    assert play(rule("value > 10", clear="value < 5"), [1, 11, 9, 13, 4, 14]) == [11, 14]
    assert play(rule("value > 10", rearm="always"), [1, 11, 12]) == [11, 12]
    assert play(rule("value > 10", confirm=3), [11, 12, 1, 11, 12, 13, 14]) == [13]


def test_the_first_look_has_nothing_to_compare_with() -> None:
    assert play(rule("change_percent > 1"), [100, 102]) == [102]
    assert play(rule("change_percent > 1"), [0, 5]) == []
    assert play(rule("changed"), ["a", "a", "b"]) == ["b"]


def test_values_that_do_not_go_with_the_condition_are_an_error() -> None:
    with pytest.raises(EvaluationError):
        watching.step(rule("value > 10"), {}, "text")
