"""A model that says what the test tells it to, and remembers what it was asked."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec


class Say(msgspec.Struct, frozen=True):
    """Answer with `text`, in as many deltas as there are `chunks`."""

    text: str
    chunks: int = 1


class Use(msgspec.Struct, frozen=True):
    """Call a tool. Several in one reply go out together."""

    tool: str
    arguments: dict[str, Any] = {}
    call_id: str = ""


Reply = str | Say | Use | Sequence[Use] | Exception | Callable[[list[Any]], Any]


class ScriptedModel:
    """Gives its replies one after the other; `asked` holds the messages of each request.

    A reply is a text, `Use(tool, arguments)`, a list of `Use`, an exception to raise, or a function from the
    messages to one of these. Once the script has ended, it answers "(the script has ended)".
    """

    def __init__(self, replies: Sequence[Reply] = ()) -> None:
        self.replies = list(replies)
        self.asked: list[list[Any]] = []

    def then(self, *replies: Reply) -> "ScriptedModel":
        """Add replies to the end of the script."""
        self.replies.extend(replies)
        return self

    def model(self) -> Any:
        """The library's model that speaks this script."""
        from pydantic_ai.models.function import FunctionModel  # noqa: PLC0415 - heavy

        return FunctionModel(stream_function=self._stream, model_name="scripted")

    def build(self, spec: Any, key: str) -> Any:
        """Stands in for `tawny.models.providers.build`: every spec is served by this script."""
        from tawny.models.providers import Built  # noqa: PLC0415 - heavy

        del spec, key
        return Built(self.model())

    async def _stream(self, messages: list[Any], info: Any) -> AsyncIterator[Any]:
        from pydantic_ai.models.function import DeltaToolCall  # noqa: PLC0415 - heavy

        del info
        self.asked.append(list(messages))
        reply: Any = self.replies.pop(0) if self.replies else "(the script has ended)"
        if callable(reply):
            reply = reply(messages)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = Say(reply)
        if isinstance(reply, Say):
            size = max(1, -(-len(reply.text) // reply.chunks))
            for start in range(0, max(1, len(reply.text)), size):
                yield reply.text[start : start + size]
            return
        uses: list[Use] = [reply] if isinstance(reply, Use) else list(reply)
        for index, use in enumerate(uses):
            call_id = use.call_id or f"call_{len(self.asked)}_{index}"
            yield {index: DeltaToolCall(use.tool, json.dumps(use.arguments), tool_call_id=call_id)}
