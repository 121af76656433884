"""The show: four scenes on a real gateway, a kill in the middle, and the proof at the end."""

import contextlib
import json
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from tawny.cli.demo.gateway import GatewayProcess
from tawny.cli.demo.home import BAD_CLIPS, CLIPS, prepare
from tawny.cli.demo.outside import Outside, outside
from tawny.clock import stopwatch
from tawny.config import load
from tawny.errors import TawnyError

ENDED = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost"})
_LOOK = 0.15
_PATIENCE = 45.0
_KILL_AT = 9
_EVERY = timedelta(hours=6)
_BELOW = 2000


@dataclass
class Show:
    """`once` ends by itself; else the gateway stays until Ctrl-C. `port` 0 takes a free one."""

    once: bool = False
    port: int = 0
    keep: bool = False
    as_json: bool = False
    checks: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.console = Console(quiet=self.as_json)
        self._brief = ""
        self._looks = 0

    def run(self) -> int:
        """0 when every scene ran and every check held."""
        since = stopwatch()
        root = Path(tempfile.mkdtemp(prefix="tawny-demo-"))
        port = self.port or _free_port()
        try:
            with outside() as world:
                home = prepare(root / "home", port=port, outside=world.url)
                if load(home).sandbox.parsers == "unconfined":
                    self.console.print(
                        "[dim]No sandbox here ('tawny doctor' says why), and all that is read is the demo's own:"
                        " its parsers run without.[/dim]"
                    )
                gateway = GatewayProcess(home, port)
                try:
                    self._play(gateway, world)
                    self._summary(gateway, world, since())
                    if not self.once and not self.as_json:
                        self._stay(gateway)
                finally:
                    gateway.close()
        except TawnyError as error:
            self.checks.append((error.message, False))
            self.console.print(f"[red]The demo stopped: {error.message}[/red]")
        except KeyboardInterrupt:
            self.console.print("\nStopped.")
        finally:
            if self.keep:
                self.console.print(f"The home is kept: {root / 'home'}")
            else:
                shutil.rmtree(root, ignore_errors=True)
        held = bool(self.checks) and all(ok for _, ok in self.checks)
        if self.as_json:
            checks = [{"check": words, "held": ok} for words, ok in self.checks]
            print(json.dumps({"ok": held, "checks": checks, **self.figures}, ensure_ascii=False))
        return 0 if held else 1

    # --- the scenes

    def _play(self, gateway: GatewayProcess, world: Outside) -> None:
        took = gateway.start()
        self.figures["ready_seconds"] = round(took, 3)
        self.console.print(f"[bold]Tawny[/bold] is ready after {took:.2f} s. Watch it live:")
        self.console.print(f"{gateway.panel}\n", soft_wrap=True)
        self._morning(gateway)
        report = self._background(gateway)
        self._watch(gateway, world)
        self._overnight(gateway, world)
        self._digest(gateway, report)

    def _morning(self, gateway: GatewayProcess) -> None:
        self._scene(1, "The morning brief", "an automation at 8 on weekdays; run once now")
        automation = gateway.post("/v1/automations", _MORNING)
        self._brief = str(automation["id"])
        self.console.print(f"[dim]Automation {automation['id']}, next run {automation.get('next_run')}[/dim]")
        started = gateway.post(f"/v1/automations/{automation['id']}/run", {})
        task = self._follow(gateway, _task_id(started))
        self._log(gateway, task)
        self.console.print(
            Panel(Markdown(_text(task)), title="delivered to inbox and phone", border_style="green")
        )
        said = _text(task)
        good = all(
            words in said for words in ("Product weekly meeting", "16:30 Team 1:1", "CEO Zhang", "umbrella")
        )
        self._check("The brief has the meetings, what is due, the mail that matters and the weather", good)
        self._check("The newsletter is not in it", "70 %" not in said)

    def _background(self, gateway: GatewayProcess) -> str:
        self._scene(2, "A long document, read in the background", "50 pages; the next scenes go on meanwhile")
        task = gateway.post(
            "/v1/tasks",
            {
                "kind": "digest_document",
                "params": {"path": "q2-report.md", "origin": "From: the project manager"},
                "delivery": {"channels": ["inbox", "phone"]},
                "notify": "done_only",
            },
        )
        self.console.print(f"[dim]Handed in as {task['task_id']}[/dim]\n")
        return str(task["task_id"])

    def _watch(self, gateway: GatewayProcess, world: Outside) -> None:
        self._scene(
            3, "A price watch", "Beijing to Tokyo below 2,000, looked at every 6 hours, the clock sped up"
        )
        gateway.post(f"/v1/automations/{self._brief}/pause", {})  # the days that fly by want no briefs
        automation = gateway.post("/v1/automations", _flight(world.url))
        since = _time(automation["created_at"])
        with self._bar("Looking at the fare", total=None) as (progress, bar):
            found = self._until(lambda: self._looked(gateway, automation["id"], world, progress, bar))
        gateway.post(f"/v1/automations/{self._brief}/resume", {})
        alerts = [task for task in self._runs(gateway, automation["id"]) if task["status"] == "succeeded"]
        passed = _time(alerts[0]["created_at"]) - since if alerts else timedelta()
        self.figures.update(looks=world.looks, watched_hours=round(passed / timedelta(hours=1), 1))
        self.console.print(
            f"[dim]{world.looks} looks in {passed / timedelta(hours=1):.0f} hours, {len(alerts)} alert[/dim]"
        )
        if alerts:
            self.console.print(
                Panel(Markdown(_text(alerts[0])), title="delivered to inbox and phone", border_style="green")
            )
        self._check("The price watch told once, when the fare was below 2,000", found and len(alerts) == 1)
        self._check(
            "It looked every six hours and no more often", abs(passed / _EVERY - (world.looks - 1)) < 0.1
        )

    def _looked(
        self, gateway: GatewayProcess, automation: str, world: Outside, progress: Progress, bar: TaskID
    ) -> bool:
        """Once the last look is done, on to the next; whether there was an alert."""
        looks, fare = world.looks, world.fare
        runs = self._runs(gateway, automation)
        # What a look at a low fare leads to may not be there yet; the clock stands still until it is.
        if not runs and looks > self._looks and fare is not None and fare >= _BELOW:
            self._looks = looks
            gateway.forward("6h")
        progress.update(bar, description=f"Looking at the fare: look {looks}")
        return any(task["status"] in ENDED for task in runs)

    def _runs(self, gateway: GatewayProcess, automation: str) -> list[dict[str, Any]]:
        runs = gateway.get(f"/v1/automations/{automation}/runs")["items"]
        return [gateway.get(f"/v1/tasks/{run['task_id']}") for run in runs if run.get("task_id")]

    def _overnight(self, gateway: GatewayProcess, world: Outside) -> None:
        self._scene(4, "An overnight batch, with a crash in the middle", f"subtitles for {CLIPS} videos")
        task = gateway.post("/v1/tasks", _batch(world.url))
        task_id = str(task["task_id"])
        with self._bar("Subtitles", total=CLIPS) as (progress, bar):
            self._until(lambda: self._show(gateway, task_id, progress, bar) >= _KILL_AT)
            before = len(world.work_done())
            pid = gateway.pid
            gateway.kill()
            progress.console.print(
                f"[red bold]kill -9 {pid}[/red bold]: the gateway is gone, {before} videos done"
            )
            took = gateway.start()
            self.figures["restart_seconds"] = round(took, 3)
            progress.console.print(
                f"[green]restarted in {took:.2f} s[/green] as {gateway.pid}; the batch goes on"
            )
            self._until(lambda: self._show(gateway, task_id, progress, bar) < 0)
        task = gateway.get(f"/v1/tasks/{task_id}")
        self.console.print(Panel(_text(task), title="Batch report", border_style="green"))
        done = world.work_done()
        result: dict[str, Any] = task.get("result") or {}
        good = CLIPS - len(BAD_CLIPS)
        self.figures.update(killed_after=before, resent=world.resent, attempts=task["attempt"])
        self._check(
            f"The batch finished in its attempt {task['attempt']}, after the crash", task["attempt"] > 1
        )
        self._check(
            f"{good} videos done, {len(BAD_CLIPS)} failed for a stated reason",
            result.get("succeeded") == good,
        )
        self._check("Nothing was lost: every good video was handed over", len(set(done)) == good)
        self._check("Nothing was done twice: each had its effect once", len(done) == len(set(done)))

    def _digest(self, gateway: GatewayProcess, task_id: str) -> None:
        task = self._follow(gateway, task_id)
        self.console.print(
            Panel(Markdown(_text(task)), title="Scene 2: the report, read meanwhile", border_style="green")
        )
        said = _text(task)
        self._check(
            "The report's deadline and risk were found", "July 15" in said and "budget overrun" in said
        )

    # --- showing

    def _scene(self, number: int, title: str, about: str) -> None:
        self.console.rule(f"[bold]{number}. {title}[/bold]", align="left")
        self.console.print(f"[dim]{about}[/dim]")

    @contextlib.contextmanager
    def _bar(self, words: str, *, total: float | None):
        columns = [TextColumn("{task.description}"), BarColumn()]
        if total is not None:
            columns.append(TextColumn("{task.percentage:>3.0f} %"))
        with Progress(*columns, console=self.console, transient=False) as progress:
            yield progress, progress.add_task(words, total=total)

    def _follow(self, gateway: GatewayProcess, task_id: str) -> dict[str, Any]:
        """Show a bar until the task has ended; the task."""
        with self._bar("Starting", total=100) as (progress, bar):
            self._until(lambda: self._show(gateway, task_id, progress, bar) < 0)
        return gateway.get(f"/v1/tasks/{task_id}")

    def _show(self, gateway: GatewayProcess, task_id: str, progress: Progress, bar: TaskID) -> float:
        """Bring the bar up to date; how far the task is, -1 once it has ended."""
        task = gateway.get(f"/v1/tasks/{task_id}")
        told = task["progress"]
        if told.get("total"):
            progress.update(bar, completed=told["current"], total=told["total"])
        progress.update(bar, description=(told.get("message") or task["title"])[:50])
        return -1 if task["status"] in ENDED else float(told.get("current") or 0)

    def _until(self, is_so: Callable[[], bool]) -> bool:
        """Look again and again until it is so; `False` when patience ends."""
        since = stopwatch()
        pause = Event()
        while since() < _PATIENCE:
            if is_so():
                return True
            pause.wait(_LOOK)
        return False

    def _log(self, gateway: GatewayProcess, task: dict[str, Any]) -> None:
        for line in gateway.get(f"/v1/tasks/{task['task_id']}/logs")["items"]:
            self.console.print(f"[dim]{line['time'][11:19]} - {line['message']}[/dim]")

    def _check(self, words: str, held: bool) -> None:  # noqa: FBT001
        self.checks.append((words, held))

    def _summary(self, gateway: GatewayProcess, world: Outside, seconds: float) -> None:
        self._until(lambda: not self._owed(gateway))
        self.console.rule("[bold]What ran, and what was delivered where[/bold]", align="left")
        table = Table(box=None, pad_edge=False)
        for column in ("Task", "Status", "Attempts", "Delivered to", "Delivery"):
            table.add_column(column)
        for task in reversed(gateway.get("/v1/tasks", limit=20)["items"]):
            names = ", ".join(_target(target) for target in task["delivery"]["targets"])
            table.add_row(
                task["title"][:44], task["status"], str(task["attempt"]), names, task["delivery"]["status"]
            )
        self.console.print(table)
        self.console.print(f"[dim]The phone got {len(world.messages)} messages.[/dim]\n")
        self._check(
            "The phone got the brief, the fare alert, the digest and the batch report",
            len(world.messages) == 4,
        )
        for words, held in self.checks:
            self.console.print(f"{'[green]✓[/green]' if held else '[red]✗[/red]'} {words}")
        self.figures["seconds"] = round(seconds, 1)
        self.console.print(f"[dim]{seconds:.0f} s[/dim]")

    def _owed(self, gateway: GatewayProcess) -> bool:
        tasks = gateway.get("/v1/tasks", limit=20)["items"]
        return any(task["delivery"]["status"] in ("pending", "sending") for task in tasks)

    def _stay(self, gateway: GatewayProcess) -> None:
        self.console.print("\nThe panel stays open, Ctrl-C ends it:")
        self.console.print(gateway.panel, soft_wrap=True)
        with contextlib.suppress(KeyboardInterrupt):
            Event().wait()


_MORNING: dict[str, Any] = {
    "name": "Morning brief",
    "type": "scheduled",
    "schedule": {"type": "cron", "expression": "0 8 * * 1-5"},
    "action": {"type": "generate_daily_brief", "parameters": {"format": "markdown"}},
    "delivery": {"channels": ["inbox", "phone"]},
    "policy": {"notify": "done_only"},
}


def _flight(url: str) -> dict[str, Any]:
    return {
        "name": "Flight to Tokyo",
        "type": "continuous",
        "watch": {
            "probe": {"type": "http", "url": f"{url}/fares"},
            "every": "6h",
            "condition": f"price < {_BELOW}",
            "rearm": "edge",
        },
        "action": {"type": "remind", "parameters": {"text": _ALERT}},
        "delivery": {"channels": ["inbox", "phone"]},
        "policy": {"notify": "done_only"},
    }


_ALERT = """\
**Flight price drop alert** ✈️

Low fare found for your watched route, {{ route }}.

- Price: ¥{{ price }} (¥{{ first }} when the watch began)
- Flight: {{ date }}, {{ departure }}, {{ airline }}"""


def _batch(url: str) -> dict[str, Any]:
    return {
        "kind": "batch",
        "title": "Video subtitle generation",
        "params": {
            "items": [f"clips/video-{n:02d}.json" for n in range(1, CLIPS + 1)],
            "action": {
                "kind": "make_subtitles",
                "params": {"file": "{item}", "seconds": 0.4, "effect_url": f"{url}/effects"},
            },
            "concurrency": 2,
        },
        "delivery": {"channels": ["inbox", "phone"]},
        "notify": "done_only",
    }


def _task_id(answer: dict[str, Any]) -> str:
    task: dict[str, Any] = answer.get("task") or answer
    return str(task["task_id"])


def _text(task: dict[str, Any]) -> str:
    result: dict[str, Any] = task.get("result") or {}
    error: dict[str, Any] = task.get("error") or {}
    return str(result.get("text") or error.get("message") or "")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _target(target: str | dict[str, str]) -> str:
    return target if isinstance(target, str) else target["target"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
