"""Which accounts at model providers rest, kept over restarts."""

from tawny.domain.cooldown import Rest
from tawny.ledger.database import Tx


def load(tx: Tx) -> dict[str, Rest]:
    """All accounts with failures behind them, by account."""
    rows = tx.all("SELECT account, reason, strikes, until, updated_at FROM model_rests")
    return {
        row["account"]: Rest(
            account=row["account"],
            reason=row["reason"],
            strikes=row["strikes"],
            until=row["until"],
            updated_at=row["updated_at"],
        )
        for row in rows
    }


def save(tx: Tx, rest: Rest) -> None:
    tx.execute(
        "INSERT INTO model_rests (account, reason, strikes, until, updated_at)"
        " VALUES (:account, :reason, :strikes, :until, :updated_at)"
        " ON CONFLICT (account) DO UPDATE SET reason = :reason, strikes = :strikes, until = :until,"
        " updated_at = :updated_at",
        account=rest.account,
        reason=rest.reason,
        strikes=rest.strikes,
        until=rest.until,
        updated_at=rest.updated_at,
    )


def clear(tx: Tx, account: str) -> None:
    tx.execute("DELETE FROM model_rests WHERE account = :account", account=account)
