"""The kind `http`: one request within the network list; other than GET and HEAD it carries a key against repeats."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from tawny.domain.network import parse_url
from tawny.domain.retry import seconds_asked
from tawny.domain.tasks import Effect, Json
from tawny.engine.kinds import Context, Kind, Result
from tawny.engine.parts import file_of
from tawny.errors import InvalidInput, PermanentError, TemporaryError

if TYPE_CHECKING:
    from tawny.sandbox.egress import Egress

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SAFE = ("GET", "HEAD", "OPTIONS")
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN = 256 * 1024


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`body` is a text, or anything else that is sent as JSON."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
    method: str = "GET"
    headers: dict[str, str] = {}
    body: Json = None


def http(egress: "Callable[[], Egress]") -> Kind:
    """The kind, with its way out, which is opened only when there is something to fetch."""

    async def run(ctx: Context, params: Params) -> Result:
        return await _run(ctx, params, egress())

    return Kind(
        name="http",
        params=Params,
        run=run,
        description="Makes one HTTP request within the network list.",
        title=lambda params: f"{params.method.upper()} {params.url[:80]}",
        effect=Effect.IDEMPOTENT,
    )


async def _run(ctx: Context, params: Params, egress: "Egress") -> Result:
    method = params.method.upper()
    if method not in _METHODS:
        raise InvalidInput(f"method: {params.method!r} is none", hint=f"one of {', '.join(_METHODS)}")
    where = parse_url(params.url).authority
    key = "request"
    headers = {name.lower(): value for name, value in params.headers.items()}
    if method not in _SAFE:
        headers.setdefault("idempotency-key", ctx.idempotency_key(key))
    body = None
    if isinstance(params.body, str):
        body = params.body.encode()
    elif params.body is not None:
        body = msgspec.json.encode(params.body)
        headers.setdefault("content-type", "application/json")

    async def request() -> Json:
        got = await egress.fetch(method, params.url, headers=headers, body=body)
        if got.status in _AGAIN:
            asked = seconds_asked(got.headers.get("retry-after"))
            busy = TemporaryError(f"{where} answered {got.status}", retry_after=asked)
            busy.own_words = True
            raise busy
        if len(got.body) > _SHOWN:
            await ctx.artifact(file_of(ctx, "body"), got.body, media_type=got.headers.get("content-type", ""))
        text = got.text[:_SHOWN]
        result: dict[str, Json] = {
            "text": text,
            "status": got.status,
            "headers": got.headers,
            "body": text,
            "url": got.url,
        }
        if got.status >= 400:
            # The step has failed, not only the task: a person's retry asks again instead of reading the record.
            problem = PermanentError(f"{where} answered {got.status}: {text[:200]}")
            problem.result = result
            raise problem
        return result

    effect = Effect.PURE if method in _SAFE else Effect.IDEMPOTENT
    given = {"method": method, "url": params.url, "body": params.body}
    return await ctx.step(key, request, input=given, effect=effect, name=f"{method} {where}")
