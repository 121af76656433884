"""The log of one task: bounded to its newest lines."""

from tawny.clock import Instant
from tawny.ledger.database import Tx


def append(tx: Tx, task_id: str, lines: list[tuple[Instant, str, str]], *, keep: int) -> None:
    """Append (time, level, message) lines and drop what is older than the newest `keep`."""
    last = tx.value("SELECT MAX(n) AS n FROM task_logs WHERE task_id = :task_id", task_id=task_id) or 0
    tx.execute_many(
        "INSERT INTO task_logs (task_id, n, time, level, message) VALUES (:task_id, :n, :time, :level, :message)",
        [
            {"task_id": task_id, "n": last + n, "time": time, "level": level, "message": message[:4000]}
            for n, (time, level, message) in enumerate(lines, start=1)
        ],
    )
    if last + len(lines) > keep:
        tx.execute(
            "DELETE FROM task_logs WHERE task_id = :task_id AND n <= :n",
            task_id=task_id,
            n=last + len(lines) - keep,
        )
