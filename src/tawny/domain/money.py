"""An amount of money: what `$100` means in a rule."""

from dataclasses import dataclass

SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}


@dataclass(frozen=True, slots=True)
class Money:
    """`amount` of `currency` (ISO 4217; `None` where nobody said which)."""

    amount: float
    currency: str | None = None

    def same_currency(self, other: "Money") -> bool:
        """Whether the two may be compared; an unnamed currency goes with any."""
        return self.currency is None or other.currency is None or self.currency == other.currency

    def __str__(self) -> str:
        sign = next((sign for sign, currency in SIGNS.items() if currency == self.currency), "")
        number = f"{self.amount:,.2f}".removesuffix(".00")
        return f"{sign}{number}" if sign else f"{number} {self.currency or ''}".strip()
