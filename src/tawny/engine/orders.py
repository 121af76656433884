"""Bringing the automations in line with the standing orders in a folder. One transaction."""

from pathlib import Path
from typing import Any

from tawny.domain import orders
from tawny.engine import automations as commands
from tawny.engine.kinds import Kinds
from tawny.ledger import automations
from tawny.ledger.database import Tx

_GONE = "its standing order is gone"


def sync(tx: Tx, folder: Path, *, kinds: Kinds | None, timezone: str) -> list[tuple[str, str]]:
    """Add, update and disable; what was done to which automation. A wrong file changes nothing at all.

    Raises:
        InvalidInput: names the file, the line and how to mend it.
    """

    def check(document: dict[str, Any]) -> Any:
        return commands.check(document, kinds=kinds, now=tx.now, timezone=timezone)

    documents = [
        document
        for path in sorted(folder.glob("*.yaml"))
        for document in orders.compile(
            path.read_text(encoding="utf-8"), stem=path.stem, file=path.name, check=check
        )
    ]
    done: list[tuple[str, str]] = []
    for document in documents:
        one, new = commands.import_(tx, document, kinds=kinds, timezone=timezone)
        if one.status == "disabled" and one.reason == _GONE:
            commands.resume(tx, one.automation_id)
        done.append(("added" if new else "kept", one.automation_id))
    wanted = {str(document["id"]) for document in documents}
    cursor: str | None = None
    while True:
        page = automations.page(tx, limit=100, cursor=cursor)
        for one in page.items:
            ours = one.automation_id.startswith(orders.PREFIX) and one.spec.policy.scope is not None
            if ours and one.automation_id not in wanted and one.status != "disabled":
                commands.stop(tx, one.automation_id, "disabled", reason=_GONE)
                done.append(("disabled", one.automation_id))
        cursor = page.next_cursor
        if cursor is None:
            return done
