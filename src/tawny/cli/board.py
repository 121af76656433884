"""The live board of the terminal: bars for what runs, lines for the rest."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tawny.cli.output import local_time
from tawny.domain.tasks import Task
from tawny.ledger import tasks
from tawny.ledger.database import Tx

_COLOURS = {
    "running": "cyan",
    "queued": "white",
    "waiting": "yellow",
    "paused": "yellow",
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "bright_black",
    "lost": "red",
}


def board(tx: Tx, lookup: str | None, *, limit: int = 20) -> tuple[RenderableType, bool]:
    """The board, or one task with its log's tail; and whether there is nothing left to watch."""
    if lookup is not None:
        task = tasks.find(tx, lookup)
        tail = [Text(f"  {entry['message']}", style="dim") for entry in tasks.logs(tx, task.task_id, limit=8)]
        return Group(_table([task]), *tail), task.status.is_terminal
    shown = tasks.page(tx, limit=limit).items
    return (_table(shown) if shown else Text("No tasks yet.")), False


def _table(shown: list[Task]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("Task", "Status", "Progress", "", "Ends"):
        table.add_column(column)
    for task in shown:
        progress = task.progress
        bar: RenderableType = ""
        if progress.total:
            bar = ProgressBar(total=progress.total, completed=progress.current, width=30)
        table.add_row(
            task.title[:50],
            Text(task.status, style=_COLOURS[task.status]),
            bar,
            f"{progress.percentage}%" if progress.percentage is not None else (progress.message or "")[:40],
            local_time(task.estimated_completion)[11:],
        )
    return table
