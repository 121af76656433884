"""Sets our figures beside what was asked and beside the peers': bench/results/README.md out of bench/results/*.json.

    python bench/report.py [--save]

Nothing is measured here. The peers' figures are those of bench/peers.json, each of the peer's own best way of doing it.
"""

import argparse
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


@dataclass(frozen=True)
class Row:
    """A figure: where it stands in the results, what was asked of it, and the peers' figure of the same thing."""

    label: str
    unit: str
    where: tuple[str, ...]
    most: float | None = None
    least: float | None = None
    peer: str = ""

    @property
    def ours(self) -> float:
        """The measured figure."""
        value: Any = document(self.where[0])
        for key in self.where[1:]:
            value = value[int(key)] if isinstance(value, list) else value[key]
        return float(value)

    @property
    def is_met(self) -> bool:
        """Whether what was asked is met; so where nothing was."""
        return (self.most is None or self.ours < self.most) and (
            self.least is None or self.ours >= self.least
        )

    @property
    def asked(self) -> str:
        """The bar, in words."""
        if self.most is not None:
            return f"under {number(self.most)} {self.unit}"
        return f"at least {number(self.least)} {self.unit}" if self.least is not None else ""

    @property
    def theirs(self) -> list[float | None]:
        """The peers' figures, in their order."""
        return PEERS["figures"][self.peer]

    @property
    def ratio(self) -> float | None:
        """How many times better we are than the best of the peers; `None` where there is nothing to divide."""
        known = [value for value in self.theirs if value is not None]
        if self.least is not None:
            return self.ours / max(known)
        return min(known) / self.ours if self.ours else None


PEERS: dict[str, Any] = json.loads((FOLDER / "peers.json").read_text(encoding="utf-8"))

IDLE, RESTART, LISTS = (
    ("scale", part) for part in ("idle", "restart with 10,000 queued and 50 running", "many finished rows")
)
COMMANDS, OVER_HTTP, OVER_EIGHT, OVER_MANY = (
    ("scale", part)
    for part in (
        "command line, seconds",
        "over HTTP",
        "over HTTP, 8 connections",
        "over HTTP, 32 connections",
    )
)
BURST = ("scale", "cancel under a burst of 10,000")
POSTGRES = "PostgreSQL fsync=on"
STORED = "processor time in a minute, 10,000 automations"

ROWS = [
    Row("start → ready", "s", (*IDLE, "ready_s"), most=0.7, peer="ready_s"),
    Row("start → first reply", "s", ("agent", "first_reply_s"), most=1.5, peer="first_reply_s"),
    Row("idle memory", "MB", (*IDLE, "rss_mb"), most=80, peer="idle_mb"),
    Row("idle processor time in a minute", "s", (*IDLE, "cpu_s_per_minute"), most=0.1, peer="idle_cpu_s"),
    Row("memory after 300 messages", "MB", ("agent", "rss_mb_after"), most=140, peer="mb_after_300_messages"),
    Row("`tawny version`", "s", (*COMMANDS, "version"), most=0.1, peer="version_s"),
    Row("`tawny status`", "s", (*COMMANDS, "status"), peer="status_s"),
    Row("`tawny tasks list`", "s", (*COMMANDS, "tasks list"), most=0.2, peer="tasks_list_s"),
    Row("message → reply, 100 turns, p50", "ms", ("agent", "p50_ms"), most=15, peer="message_p50_ms"),
    Row("message → reply, 100 turns, p95", "ms", ("agent", "p95_ms"), most=40, peer="message_p95_ms"),
    Row(
        "20 sessions at once",
        "messages/s",
        ("agent", "messages_per_s_20_sessions"),
        least=100,
        peer="messages_per_s",
    ),
    Row(
        "lateness of one-shots, p95",
        "ms",
        ("automations", "one_shot_lateness", "p95_ms"),
        most=50,
        peer="one_shot_p95_ms",
    ),
    Row(
        "earliest of one-shots after its time",
        "ms",
        ("automations", "one_shot_lateness", "least_ms"),
        least=0,
    ),
    Row(
        "agent turns due at once",
        "started/s",
        ("automations", "due_at_once", "a_second"),
        least=100,
        peer="turns_due_at_once_per_s",
    ),
    Row(
        "adding an automation at 10,000 stored",
        "ms",
        ("automations", "add", "0", "p50_ms"),
        most=2,
        peer="add_at_10000_ms",
    ),
    Row("adding an automation at 100,000 stored", "ms", ("automations", "add", "1", "p50_ms"), most=2),
    Row(STORED, "s", ("automations", "idle", "cpu_seconds_a_minute"), most=0.1),
    Row(
        "365 simulated days, 50 automations: rows kept, last month for third",
        "times",
        ("automations", "year", "growth", "most_rows_ratio"),
        most=1.1,
    ),
    Row(
        "365 simulated days, 50 automations: memory, last month over third",
        "MB",
        ("automations", "year", "growth", "rss_mb"),
        most=10,
    ),
    Row("365 simulated days, 50 automations: missed", "slots", ("automations", "year", "missed"), most=1),
    Row("365 simulated days, 50 automations: doubled", "slots", ("automations", "year", "doubled"), most=1),
    Row("no-op tasks, SQLite with FULL", "tasks/s", ("engine", "no-op", "tasks_per_second"), least=2000),
    Row("tasks of one step", "tasks/s", ("engine", "one step each", "tasks_per_second"), least=500),
    Row("enqueue → start, p50", "ms", ("engine", "latency", "enqueue_to_start_p50_ms"), most=3),
    Row("POST → 202, durable, p99", "ms", (*OVER_HTTP, "post_p99_ms"), most=10),
    Row("tasks over 32 HTTP connections", "tasks/s", (*OVER_MANY, "done_per_second"), least=500),
    Row("tasks over eight HTTP connections", "tasks/s", (*OVER_EIGHT, "done_per_second"), least=500),
    Row("tasks over one HTTP connection", "tasks/s", (*OVER_HTTP, "done_per_second"), least=500),
    Row("10,000 queued and 50 running, killed: ready", "s", (*RESTART, "ready_s"), most=1),
    Row("… the first step after that", "s", (*RESTART, "first_step_after_s"), most=2),
    Row("cancel under a burst of 10,000, p99", "ms", (*BURST, "cancel_p99_ms"), most=500),
    Row("a million finished: newest 50", "ms", (*LISTS, "newest_50_ms"), most=20),
    Row("a million finished: list of the queued", "ms", (*LISTS, "queued_list_ms"), most=20),
    Row("a million finished: claim", "ms", (*LISTS, "claim_3_ms"), most=20),
    *(
        Row(f"{label}, PostgreSQL", unit, (file, POSTGRES, *parts), most=most, least=least)
        for label, unit, file, parts, most, least in (
            ("enqueue → start, p50", "ms", "engine", ("latency", "enqueue_to_start_p50_ms"), 3, None),
            *(
                (label, "tasks/s", "scale", (part, "done_per_second"), None, 500)
                for label, part in (
                    ("tasks over 32 HTTP connections", OVER_MANY[1]),
                    ("tasks over eight HTTP connections", OVER_EIGHT[1]),
                )
            ),
            ("killed with 10,000 queued: ready", "s", "scale", (RESTART[1], "ready_s"), 1, None),
            ("… the first step after that", "s", "scale", (RESTART[1], "first_step_after_s"), 2, None),
            ("cancel under a burst of 10,000, p99", "ms", "scale", (BURST[1], "cancel_p99_ms"), 500, None),
            ("a million finished: newest 50", "ms", "scale", (LISTS[1], "newest_50_ms"), 20, None),
            ("a million finished: list of the queued", "ms", "scale", (LISTS[1], "queued_list_ms"), 20, None),
            ("a million finished: claim", "ms", "scale", (LISTS[1], "claim_3_ms"), 20, None),
        )
    ),
    Row("a command in the sandbox, added", "ms", ("sandbox", "added_p50"), most=60),
    Row("commit → send, p50", "ms", ("delivery", "commit_to_send", "p50_ms"), most=10),
    Row("1,000 deliveries in order", "s", ("delivery", "throughput", "seconds"), most=10),
    Row(
        "words on Telegram → their session, p50",
        "ms",
        ("delivery", "inbound_to_session_telegram", "p50_ms"),
        most=20,
    ),
    Row(
        "words on Slack → their session, p50",
        "ms",
        ("delivery", "inbound_to_session_slack", "p50_ms"),
        most=20,
    ),
    Row(
        "words on Discord → their session, p50",
        "ms",
        ("delivery", "inbound_to_session_discord", "p50_ms"),
        most=20,
    ),
    Row(
        "mail told of by Dovecot → its session, p50",
        "ms",
        ("delivery", "inbound_to_session_email", "after_the_server_told_p50_ms"),
        most=20,
    ),
    Row("a call over WebSocket, p50", "ms", ("gateway", "WebSocket tasks.get, ms", "p50"), most=3),
    Row(
        "event → 200 devices at 500/s, p95",
        "ms",
        ("gateway", "event → 200 devices at 500/s, ms", "p95"),
        most=100,
    ),
    Row(
        "loop lag beside tools that burn, p99", "ms", ("gateway", "loop lag beside them, ms", "p99"), most=50
    ),
    Row("panel with 5,000 tasks: first paint", "ms", ("panel", "first_paint_ms"), most=1000),
]


@cache
def document(name: str) -> Any:
    """A committed result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def report() -> str:
    """The page."""
    beside = [
        [
            row.label,
            row.unit,
            number(row.ours),
            *map(number, row.theirs),
            f"{number(row.ratio)} ×" if row.ratio else "",
        ]
        for row in ROWS
        if row.peer
    ]
    asked = [
        [row.label, row.asked, f"{number(row.ours)} {row.unit}", "" if row.is_met else "**not met**"]
        for row in ROWS
        if row.asked
    ]
    notes = (RESULTS / "notes.md").read_text(encoding="utf-8").strip()
    return "\n\n".join(
        [
            "# Figures",
            "Made by `make bench` out of the results beside this page; each says when and where it was taken.\n"
            "Ratios say more than the numbers: a shared machine of two cores is slow and uneven.",
            "## Beside the peers",
            f"The peers were measured on {PEERS['measured']}: {PEERS['machine']}.\n"
            "The last column says how many times better we are than the best of them.",
            table(["figure", "unit", "Tawny", *PEERS["peers"], "to the best"], beside),
            "## Beside what was asked",
            table(["figure", "asked", "measured", ""], asked),
            notes,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="write bench/results/README.md")
    args = parser.parse_args()
    page = report()
    print(page)
    if args.save:
        (RESULTS / "README.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
