"""The OpenAI-compatible door: `/v1/chat/completions` and `/v1/models`, so that any client of theirs can talk to us.

The last user message is what is said; `user` names the session and what was said before lives there, so earlier
messages of the request count only where no session is named.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.agent.live import Delta
from tawny.domain.tasks import TERMINAL
from tawny.errors import InvalidInput
from tawny.gateway.endpoint import answer, client_address, header, json_body, principal_of
from tawny.gateway.errors import HttpError
from tawny.gateway.operation import Call, Nothing, Operation, check_key, checked
from tawny.gateway.principal import READ, WRITE
from tawny.gateway.sessions import HOLD, speak
from tawny.gateway.site import Site
from tawny.ids import new_id
from tawny.ledger import tasks
from tawny.ledger.idempotency import body_hash, find, remember

_encode = msgspec.json.Encoder().encode
_DATA = b"data: %s\n\n"
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
MODEL = "tawny"


class ChatMessage(msgspec.Struct, frozen=True):
    """One message; `content` is a text, or parts of which the texts count."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Completion(msgspec.Struct, frozen=True):
    """A request as OpenAI's clients send it; fields not named here change nothing, and the answer lists them.

    Those from `n` on are here to be refused where they ask for an answer of another form, which a client would miss.
    """

    messages: list[ChatMessage]
    model: str = MODEL
    user: str | None = None
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    n: int | None = None
    response_format: dict[str, Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    function_call: str | dict[str, Any] | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None


_HEEDED = frozenset(Completion.__struct_fields__)


class Choice(msgspec.Struct):
    index: int
    message: dict[str, Any]
    finish_reason: str


class Completed(msgspec.Struct):
    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: dict[str, Any]


class ModelCard(msgspec.Struct):
    id: str
    object: str
    created: int
    owned_by: str


class ModelList(msgspec.Struct):
    object: str
    data: list[ModelCard]


def _card(site: Site, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": site.started_at // 1_000_000, "owned_by": "tawny"}


async def models(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    return {"object": "list", "data": [_card(call.site, MODEL)]}


async def model(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    if call.id != MODEL:
        raise HttpError(404, "model_not_found", f"there is no model {call.id!r}", hint=f"say {MODEL!r}")
    return _card(call.site, MODEL)


async def _elsewhere(_: Call[Any, Any]) -> None:
    raise AssertionError("completions are served by their own endpoint")


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request on its way."""

    call: Call[Nothing, Nothing]
    session: str
    text: str
    reply: "_Reply"
    wish: Completion


class CompletionEndpoint:
    """Answers whole, or piece by piece."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await json_body(scope, receive)
        wish: Completion = checked(raw, Completion, what="body")
        _refuse_other_forms(wish)
        call: Call[Nothing, Nothing] = Call(
            site=self._site,
            principal=principal_of(scope),
            path={},
            query=Nothing(),
            body=Nothing(),
            key=header(scope, b"idempotency-key"),
            address=client_address(scope),
        )
        check_key(call.key)
        now = self._site.clock.now()
        own = _of_key(call.key) if call.key else new_id("api", now)
        reply = _Reply(new_id("chatcmpl", now), wish.model, now // 1_000_000, ignored=_ignored(raw))
        turn = _Turn(call, wish.user or own, _said(wish), reply, wish)
        if wish.stream:
            await self._stream(turn, receive, send)
        else:
            await answer(send, 200, await self._whole(turn, raw))

    async def _whole(self, turn: _Turn, raw: Any) -> dict[str, Any]:
        """The whole answer; under an Idempotency-Key the one given before."""
        key, scope = turn.call.key, f"{turn.call.principal.credential_id} completions"
        if key is None:
            return await self._spoken(turn)
        hashed = body_hash(raw)
        async with self._site.doing(f"{scope} {key}"):
            known = await self._site.ledger.read(lambda tx: find(tx, scope, key, hashed))
            if known is not None:
                return known.document
            document = await self._spoken(turn)
            if document["tawny"]["status"] in TERMINAL:
                await self._site.ledger.write(
                    lambda tx: remember(tx, scope, key, hashed, status=200, document=document)
                )
            return document

    async def _spoken(self, turn: _Turn) -> dict[str, Any]:
        said = await speak(turn.call, turn.session, turn.text, wait=True)
        return turn.reply.whole(said, await self._usage(said["run_id"]))

    async def _stream(self, turn: _Turn, receive: Receive, send: Send) -> None:
        """Send what is being said as it is said; the end is told even where nothing could be streamed."""
        pieces: asyncio.Queue[Delta | None] = asyncio.Queue()
        silence = None
        if self._site.live is not None:
            silence = self._site.live.listen(pieces.put_nowait)
        try:
            started = await speak(turn.call, turn.session, turn.text, wait=False)
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _chunk(send, turn.reply.first())
            sent, final = "", started
            if started["run_id"] is not None:
                sent, final = await self._pieces(turn, started["run_id"], pieces, receive, send)
            if missing := _missing(sent, final["text"]):
                await _chunk(send, turn.reply.chunk({"content": missing}))
            await _chunk(send, turn.reply.chunk({}, finish="stop"))
            if (turn.wish.stream_options or {}).get("include_usage"):
                await _chunk(send, turn.reply.usage(await self._usage(started["run_id"])))
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        finally:
            if silence is not None:
                silence()

    async def _pieces(
        self, turn: _Turn, run_id: str, pieces: "asyncio.Queue[Delta | None]", receive: Receive, send: Send
    ) -> tuple[str, dict[str, Any]]:
        """What was streamed of the answer, and the answer."""
        sent = held = ""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_gone(receive, pieces))
            ending = group.create_task(self._end(run_id, turn.session, pieces))
            while (delta := await pieces.get()) is not None:
                if delta.run_id == run_id and delta.kind == "text":
                    # The whole answer ends without the spaces a model may stream last: they wait for what follows them.
                    text = held + delta.text
                    fresh = text.rstrip()
                    held = text[len(fresh) :]
                    if fresh:
                        sent += fresh
                        await _chunk(send, turn.reply.chunk({"content": fresh}))
            if watching.done():
                ending.cancel()  # nobody listens any more; the turn goes on by itself
            watching.cancel()
        return sent, {"text": sent} if ending.cancelled() else ending.result()

    async def _end(self, run_id: str, session: str, pieces: "asyncio.Queue[Delta | None]") -> dict[str, Any]:
        assert self._site.inbox is not None
        try:
            return msgspec.to_builtins(await self._site.inbox.answer(run_id, session, wait=HOLD))
        finally:
            pieces.put_nowait(None)

    async def _usage(self, run_id: str | None) -> dict[str, int]:
        used = (0, 0)
        if run_id is not None:
            task = await self._site.ledger.read(lambda tx: tasks.get(tx, run_id))
            used = (task.usage.input_tokens, task.usage.output_tokens)
        return {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}


def _missing(sent: str, whole: str) -> str:
    """What of the answer was not streamed; something else that came instead goes into a paragraph of its own."""
    if not whole or sent.endswith(whole):
        return ""
    if whole.startswith(sent):
        return whole[len(sent) :]
    return "\n\n" + whole


class _Reply:
    """The shapes of one answer."""

    def __init__(self, id: str, model: str, created: int, *, ignored: list[str]) -> None:
        self._head: dict[str, Any] = {"id": id, "created": created, "model": model}
        self._ignored = {"ignored": ignored} if ignored else {}

    def whole(self, said: dict[str, Any], usage: dict[str, int]) -> dict[str, Any]:
        message = {"role": "assistant", "content": said["text"], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        facts = {"run_id": said["run_id"], "session": said["session"], "status": said["status"]}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage,
            "tawny": {**facts, **self._ignored},
        }

    def first(self) -> bytes:
        """The first chunk, which also says what of the request was not heeded."""
        more = {"tawny": self._ignored} if self._ignored else {}
        return self.chunk({"role": "assistant", "content": ""}, more=more)

    def chunk(
        self, delta: dict[str, Any], *, finish: str | None = None, more: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        whole = {**self._head, "object": "chat.completion.chunk", "choices": [choice], **(more or {})}
        return _encode(whole)

    def usage(self, usage: dict[str, int]) -> bytes:
        return _encode({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage})


def _refuse_other_forms(wish: Completion) -> None:
    """An answer here is one answer in words.

    Raises:
        InvalidInput: names the field that asks for another form, and what to do.
    """
    if wish.n is not None and wish.n != 1:
        raise InvalidInput(f"n: {wish.n} answers are asked for, and there is one", hint="leave n out")
    form = (wish.response_format or {}).get("type", "text")
    if form != "text":
        raise InvalidInput(
            f"response_format: {form!r} is not given, only words",
            hint="leave it out, or ask for JSON in words",
        )
    for name in ("tool_choice", "function_call"):
        choice = getattr(wish, name)
        if choice not in (None, "auto", "none"):
            raise InvalidInput(
                f"{name}: the tools a request brings along are not called; ours run here",
                hint="leave it out or say 'auto'; a tool of your own is added as an MCP server",
            )
    if wish.logprobs:
        raise InvalidInput("logprobs: there are none", hint="leave it out")
    if others := [one for one in wish.modalities or () if one != "text"]:
        raise InvalidInput(f"modalities: {', '.join(others)} is not given, only text", hint="leave it out")


def _ignored(raw: Any) -> list[str]:
    """The fields of a request that change nothing."""
    return [name for name, value in raw.items() if value is not None and name not in _HEEDED]


def _of_key(key: str) -> str:
    """A session for a request without one that may be sent again."""
    return f"api:{hashlib.sha256(key.encode()).hexdigest()[:26]}"


def _said(wish: Completion) -> str:
    """What is said: the last user message, with what came before it where no session holds that."""
    if not wish.messages:
        raise InvalidInput("messages: at least one is expected")
    if wish.messages[-1].role not in ("user", "tool"):
        raise InvalidInput("messages: the last one must be the user's")
    last = _text(wish.messages[-1])
    if not last.strip():
        raise InvalidInput("messages: the last one holds no text", hint="images and files are not taken here")
    if left := _other_parts(wish.messages[-1]):
        last += f"\n\n[came along, and cannot be seen here: {', '.join(left)}]"
    before = [entry for entry in wish.messages[:-1] if _text(entry).strip()]
    if wish.user or not before:
        return last
    lines = "\n\n".join(f"{entry.role}: {_text(entry)}" for entry in before)
    return f"[said before]\n{lines}\n[end]\n\n{last}"


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(
        str(part.get("text", "")) for part in message.content or [] if part.get("type") == "text"
    )


def _other_parts(message: ChatMessage) -> list[str]:
    """The kinds of parts that are no text: images, audio, files. The assistant is told that it does not see them."""
    parts = message.content if isinstance(message.content, list) else []
    return [str(part.get("type", "?"))[:40] for part in parts if part.get("type") != "text"]


async def _chunk(send: Send, document: bytes) -> None:
    await send({"type": "http.response.body", "body": _DATA % document, "more_body": True})


async def _gone(receive: Receive, pieces: "asyncio.Queue[Delta | None]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pieces.put_nowait(None)


OPERATIONS = (
    Operation(
        name="completions",
        method="POST",
        path="/v1/chat/completions",
        scope=WRITE,
        summary="OpenAI's chat completions, streaming too; `user` names the session",
        body=Completion,
        streams=True,
        answer=Completed,
        errors=(429,),
        act=_elsewhere,
    ),
    Operation(
        name="models.list",
        method="GET",
        path="/v1/models",
        scope=READ,
        summary="What may stand as `model`",
        answer=ModelList,
        act=models,
    ),
    Operation(
        name="models.get",
        method="GET",
        path="/v1/models/{id}",
        scope=READ,
        summary="One model",
        answer=ModelCard,
        errors=(404,),
        act=model,
    ),
)
