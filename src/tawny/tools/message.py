"""The tool `send_message`: something to say to somebody, through a channel."""

from collections.abc import Callable
from typing import Annotated

import msgspec

from tawny.domain.addresses import Address, parse_address
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import Effect, Json
from tawny.errors import InvalidInput
from tawny.ledger import outbox
from tawny.ledger.database import Ledger, Tx
from tawny.tools.once import once
from tawny.tools.registry import CHANGE, REACH_OUT, Operation, Tool, ToolContext


class SendMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`channel` is a channel's name or kind; `to` its own address for somebody, empty for the owner."""

    channel: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
    to: Annotated[str, msgspec.Meta(max_length=500)] = ""


def message_tool(ledger: Ledger, channels: Callable[[], list[str]]) -> Tool:
    """The tool; `channels` lists what is configured, to name in a mistake."""

    async def run(scope: ToolContext, params: SendMessage) -> Json:
        target = _address(params)
        known = channels()
        if target.channel not in (*known, "inbox", "default", "webhook", "file"):
            raise InvalidInput(
                f"there is no channel {target.channel!r}", hint=f"there are: {', '.join(known) or 'inbox'}"
            )

        def send(tx: Tx) -> Json:
            delivery_id = outbox.put(
                tx,
                task_id=scope.run.task.task_id,
                transition=f"message:{scope.call_id}",
                target=str(target),
                message=Outgoing(key="", text=params.text),
            )
            return {"delivery_id": delivery_id, "status": "on its way", "to": str(target)}

        return await once(ledger, scope, send)

    return Tool(
        name="send_message",
        description="Send a message through a channel (telegram, email, …); without `to` it goes to the owner.",
        params=SendMessage,
        rows=("message.self", "message.send"),
        operation=_operation,
        run=run,
        effect=Effect.AT_MOST_ONCE,
    )


def _address(params: SendMessage) -> Address:
    try:
        address = parse_address(params.channel)
    except ValueError as error:
        raise InvalidInput(f"channel: {error}") from error
    return msgspec.structs.replace(address, to=params.to) if params.to else address


def _operation(params: SendMessage) -> Operation:
    to_owner = not params.to and ":" not in params.channel
    return Operation(
        name="message.self" if to_owner else "message.send",
        operation="send",
        level=CHANGE if to_owner else REACH_OUT,
        recipients=(params.to or params.channel,) if not to_owner else (),
        text=(params.text,),
        channel=params.channel.partition(":")[0],
    )
