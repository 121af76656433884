"""`[budgets]` of the configuration: how much each scope may use, with a default for every measure."""

from typing import Annotated

import msgspec

Bound = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
_HOUR = 3600.0


class BudgetScope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Upper bounds of one scope; 0 is unbounded. `cost` in US dollars, `seconds` at work (waiting is free)."""

    tokens: Bound = 0
    cost: Amount = 0
    model_calls: Bound = 0
    tool_calls: Bound = 0
    seconds: Amount = 0


class TurnBudget(BudgetScope, frozen=True, forbid_unknown_fields=True):
    """A turn, in all."""

    tokens: Bound = 2_000_000
    cost: Amount = 10
    model_calls: Bound = 50
    tool_calls: Bound = 100
    seconds: Amount = 6 * _HOUR


class TaskBudget(BudgetScope, frozen=True, forbid_unknown_fields=True):
    """A task, in all."""

    tokens: Bound = 2_000_000
    cost: Amount = 10
    model_calls: Bound = 400
    tool_calls: Bound = 800
    seconds: Amount = 24 * _HOUR


class AutomationBudget(BudgetScope, frozen=True, forbid_unknown_fields=True):
    """An automation, in a day."""

    tokens: Bound = 5_000_000
    cost: Amount = 10
    model_calls: Bound = 10_000
    tool_calls: Bound = 20_000
    seconds: Amount = 24 * _HOUR


class SessionBudget(BudgetScope, frozen=True, forbid_unknown_fields=True):
    """A conversation, in a day."""

    tokens: Bound = 15_000_000
    cost: Amount = 20
    model_calls: Bound = 20_000
    tool_calls: Bound = 40_000
    seconds: Amount = 48 * _HOUR


class OwnerBudget(BudgetScope, frozen=True, forbid_unknown_fields=True):
    """Whatever is done for one owner, in a month."""

    tokens: Bound = 300_000_000
    cost: Amount = 300
    model_calls: Bound = 1_000_000
    tool_calls: Bound = 2_000_000
    seconds: Amount = 3000 * _HOUR


class DayBudget(BudgetScope, frozen=True, forbid_unknown_fields=True):
    """Whatever is done for one owner, in a day."""

    tokens: Bound = 20_000_000
    cost: Amount = 25
    model_calls: Bound = 50_000
    tool_calls: Bound = 100_000
    seconds: Amount = 200 * _HOUR


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be used: by a turn and a task in all, an automation and a session in a day, an owner in a month and day.

    A turn that has made its calls is ended; whatever else is used up waits, and goes on when it is raised, or by
    itself when its day or month is over. A bound that is not named keeps its default.
    """

    turn: TurnBudget = TurnBudget()
    task: TaskBudget = TaskBudget()
    automation: AutomationBudget = AutomationBudget()
    session: SessionBudget = SessionBudget()
    owner: OwnerBudget = OwnerBudget()
    day: DayBudget = DayBudget()
