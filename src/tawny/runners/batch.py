"""The kind `batch`: one action for each of many items, only the unfinished done again, and a report."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from tawny.clock import SECOND
from tawny.domain.holes import has_holes
from tawny.domain.retry import check as check_retry
from tawny.domain.tasks import Json, Origin, Retry
from tawny.domain.templates import check, fill, has_placeholders
from tawny.engine.kinds import Context, Kind, Kinds, Result
from tawny.engine.mapping import as_result
from tawny.engine.submit import check_params
from tawny.errors import InvalidInput
from tawny.ledger.items import Item

_NAMES = frozenset({"item", "n"})
_SHOWN = 20
_NOT_FOR_ITEMS = {"batch", "flow"}


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind and its parameters, in which `{item}` stands for the item and `{item.key}` for a part of it."""

    kind: str
    params: dict[str, Json] = {}


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`max_failures` is a count, or a share such as `10%`; without it every item is tried."""

    items: list[Json]
    action: Action
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    max_failures: int | str | None = None
    retry: Retry = Retry(max=2)


class _Named(msgspec.Struct, frozen=True):
    """The keys by which people know a thing."""

    name: Json = None
    title: Json = None
    path: Json = None
    file: Json = None
    id: Json = None


def batch(kinds: Kinds) -> Kind:
    """The kind; `kinds` are the actions there are, looked up when it runs."""

    async def run(ctx: Context, params: Batch) -> Result:
        _check_action(params.action, kinds)
        kind = kinds[params.action.kind]

        async def submitted() -> Json:
            return msgspec.to_builtins(ctx.task.origin)

        # What every item does was settled when the batch was handed in: it answers for that origin and its own reads.
        origin = msgspec.convert(await ctx.step("origin", submitted), Origin)

        async def work(context: Context, item: Json) -> Json:
            filled: dict[str, Any] = fill(params.action.params, {"item": item}, names=_NAMES)
            context.task = msgspec.structs.replace(ctx.task, kind=kind.name, params=filled, origin=origin)
            return as_result(await kind.run(context, check_params(kind.name, filled, kinds)))

        started = ctx.task.started_at or ctx.clock.now()
        counts = await ctx.map(
            "items",
            params.items,
            work,
            concurrency=params.concurrency,
            max_failures=_bound(params.max_failures, len(params.items)),
            retry=params.retry,
        )
        return await _report(ctx, counts, taken=(ctx.clock.now() - started) / SECOND)

    def check_order(given: Mapping[str, Json]) -> None:
        if has_holes(given):
            return  # What it is shows once it is filled in; every run checks it.
        params = msgspec.convert(given, Batch)
        _check_action(params.action, kinds)
        _bound(params.max_failures, len(params.items))
        check_retry(params.retry)

    return Kind(
        name="batch",
        params=Batch,
        run=run,
        description="One action for each of many items; ends with a report of what succeeded and what failed, and why.",
        title=lambda params: f"{params.action.kind} for {len(params.items)} items",
        timeout=None,
        check=check_order,
    )


def _check_action(action: Action, kinds: Kinds) -> None:
    fitting = sorted(set(kinds) - _NOT_FOR_ITEMS)
    if action.kind not in fitting:
        raise InvalidInput(
            f"action: there is no kind {action.kind!r} for items", hint=f"one of {', '.join(fitting)}"
        )
    check(action.params, _NAMES)
    if not has_placeholders(action.params):
        check_params(action.kind, action.params, kinds)


def _bound(wanted: int | str | None, total: int) -> int | None:
    if wanted is None or isinstance(wanted, int):
        return wanted
    try:
        return int(float(wanted.removesuffix("%")) * total / 100)
    except ValueError as error:
        raise InvalidInput(
            f"max_failures: {wanted!r} is no share", hint="write a count, or a share such as 10%"
        ) from error


async def _report(ctx: Context, counts: dict[str, int], *, taken: float) -> Result:
    failures = await ctx.items("items", status="failed", limit=500)
    rate = 100 * counts["succeeded"] / counts["total"] if counts["total"] else 100.0
    lines = [
        f"Task: {ctx.task.title} ({counts['total']} items)",
        f"Time taken: {_span(taken)}",
        f"Success rate: {rate:.3g}% ({counts['succeeded']} successful, {counts['failed']} failed)",
    ]
    if failures:
        lines += [
            "",
            "Failed:",
            *(f"• {_name(entry)}: {entry.error['message']}" for entry in failures[:_SHOWN]),
        ]
        if len(failures) > _SHOWN:
            lines.append(f"• and {counts['failed'] - _SHOWN} more, in report.json")
    report = {**counts, "seconds": round(taken, 3), "failures": [entry.document() for entry in failures]}
    await ctx.artifact("report.json", msgspec.json.encode(report), media_type="application/json")
    return {"text": "\n".join(lines), **report}


def _name(entry: Item) -> str:
    try:
        named = msgspec.convert(entry.item, _Named)
    except msgspec.ValidationError:
        return str(entry.item)[:120]
    return str(named.name or named.title or named.path or named.file or named.id or entry.item)[:120]


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} seconds"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours {minutes % 60} minutes"
