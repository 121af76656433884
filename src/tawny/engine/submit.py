"""Work as people and programs hand it in: a document, checked once, becomes a submission."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from tawny.clock import Instant, parse_duration, parse_time
from tawny.domain import holes
from tawny.domain.retry import check as check_retry
from tawny.domain.tasks import (
    After,
    Budget,
    Delivery,
    Effect,
    Notify,
    Origin,
    Priority,
    Retry,
    Runtime,
    Submission,
)
from tawny.domain.windows import parse_window
from tawny.engine.kinds import Kinds
from tawny.errors import InvalidInput, Refused

Text = Annotated[str, msgspec.Meta(max_length=500)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class AfterDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    task: str
    on: str = "success"


class DeliveryDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    channels: tuple[str, ...] = ()
    priority: str = "normal"
    at_least_once: bool = False
    failures_to: tuple[str, ...] = ()
    partial: bool = True


class TaskRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/tasks`. Durations are `90s`, times ISO 8601 or a duration from now."""

    kind: Key
    params: dict[str, Any] = {}
    title: Text = ""
    priority: Priority = Priority.NORMAL
    timeout: str | float | None = None
    notify: Notify | None = None
    retry: Retry | None = None
    delivery: DeliveryDocument | None = None
    session: str | None = None
    owner: Key = "owner"
    after: tuple[AfterDocument | str, ...] = ()
    dedupe_key: Key | None = None
    merge_key: Key | None = None
    merge_window: str | float | None = None
    not_before: str | float | None = None
    window: str | None = None
    deadline: str | float | None = None
    budget: Budget | None = None
    effect: Effect | None = None
    runtime: Runtime = Runtime.CLI
    lane: str | None = None


def parse_request(
    body: Mapping[str, Any], *, kinds: Kinds, now: Instant, zone: str = "UTC", origin: Origin | None = None
) -> Submission:
    """A checked submission from a request's body.

    Raises:
        InvalidInput: names the field and the mend.
    """
    try:
        request = msgspec.convert(body, TaskRequest)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"task: {error}", hint="see 'tawny tasks kinds' and docs/reference/http.md"
        ) from error
    params = check_params(request.kind, request.params, kinds)
    kind = kinds[request.kind]
    if request.window is not None:
        parse_window(request.window, zone)
    return Submission(
        kind=request.kind,
        params=request.params,
        title=request.title or (kind.title(params) if kind.title is not None else request.kind),
        runtime=request.runtime,
        priority=request.priority,
        timeout=_duration("timeout", request.timeout),
        notify=request.notify,
        retry=_retry(request.retry),
        delivery=None
        if request.delivery is None
        else Delivery(
            **{name: getattr(request.delivery, name) for name in DeliveryDocument.__struct_fields__}
        ),
        session=request.session,
        owner=request.owner,
        lane=request.lane,
        after=tuple(_after(entry) for entry in request.after),
        dedupe_key=request.dedupe_key,
        merge_key=request.merge_key,
        merge_window=_duration("merge_window", request.merge_window) or 0,
        not_before=_time("not_before", request.not_before, now),
        window=request.window,
        deadline=_time("deadline", request.deadline, now),
        budget=request.budget,
        effect=request.effect,
        origin=origin or Origin(),
    )


def check_params(kind: str, params: Mapping[str, Any], kinds: Kinds) -> msgspec.Struct:
    """The parameters as the kind's own struct.

    Raises:
        InvalidInput: there is no such kind, or a parameter is wrong.
    """
    if kind not in kinds:
        raise InvalidInput(f"kind: there is no kind {kind!r}", hint=f"one of {', '.join(sorted(kinds))}")
    try:
        checked = msgspec.convert(params, kinds[kind].params)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"params of {kind}: {error}", hint=f"'tawny tasks kinds {kind}' shows their schema"
        ) from error
    _check_content(kind, params, kinds)
    return checked


def _check_content(kind: str, params: Mapping[str, Any], kinds: Kinds) -> None:
    if (check := kinds[kind].check) is not None:
        try:
            check(params)
        except InvalidInput as error:
            raise InvalidInput(f"params of {kind}: {error.message}", hint=error.hint) from error


def check_order(kind: str, params: Mapping[str, Any], kinds: Kinds) -> None:
    """Check parameters that stand in a document for later: what is still to be filled in is not looked at.

    Raises:
        InvalidInput: there is no such kind, or a parameter is wrong, or would be refused at every run.
    """
    if kind not in kinds or not holes.has_holes(params):
        check_params(kind, params, kinds)
    else:
        _check_content(kind, params, kinds)
    refuse_hopeless(kind, params, kinds)


def refuse_hopeless(kind: str, params: Mapping[str, Any], kinds: Kinds) -> None:
    """Refuse now what every run would refuse.

    Raises:
        InvalidInput: names the parameter and the mend.
    """
    if (refuse := kinds[kind].refuse) is not None:
        try:
            refuse(params)
        except Refused as error:
            raise InvalidInput(f"params of {kind}: {error.message}", hint=error.hint) from error


def _duration(field: str, value: str | float | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise InvalidInput(f"{field}: {error}") from error


def _time(field: str, value: str | float | None, now: Instant) -> Instant | None:
    if value is None:
        return None
    try:
        return parse_time(value, now=now)
    except ValueError as error:
        raise InvalidInput(f"{field}: {error}") from error


def _retry(retry: Retry | None) -> Retry | None:
    if retry is not None:
        check_retry(retry)
    return retry


def _after(entry: AfterDocument | str) -> After:
    after = After(entry) if isinstance(entry, str) else After(entry.task, entry.on)
    if after.on not in ("success", "failure", "any"):
        raise InvalidInput(f"after: {after.on!r} is no outcome", hint="one of success, failure, any")
    return after
