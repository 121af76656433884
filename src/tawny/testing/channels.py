"""A channel in memory, for tests of what stands above channels."""

import asyncio
from collections import deque

from tawny.delivery.channel import Accept, AmbiguousSend
from tawny.domain.messages import Inbound, Outgoing, Receipt


class MemoryChannel:
    """Keeps what is sent in `sent` and takes in what is `push`ed; the next sends can be made to fail.

    `knows` makes it able to tell, after an ambiguous send, whether a message arrived.
    """

    def __init__(
        self,
        name: str = "memory-test",
        *,
        kind: str = "test",
        text_limit: int = 4000,
        can_edit: bool = True,
        has_buttons: bool = True,
        idempotent: bool = False,
        knows: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.home_address = ""
        self.files_apart = False
        self.text_limit = text_limit
        self.can_edit = can_edit
        self.has_buttons = has_buttons
        self.idempotent = idempotent
        self.knows = knows
        self.sent: list[Outgoing] = []
        self.edits: list[tuple[Receipt, Outgoing]] = []
        self.attempts = 0
        self.closed = False
        self._failures: deque[BaseException] = deque()
        self._inbound: asyncio.Queue[Inbound] = asyncio.Queue()
        self._gate = asyncio.Event()
        self._gate.set()

    def fail_next(self, *errors: BaseException) -> None:
        """The next sends raise these, in order. An AmbiguousSend with `partial` has arrived all the same."""
        self._failures.extend(errors)

    def hold(self) -> None:
        """Sends hang until `release`."""
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    @property
    def texts(self) -> list[str]:
        """What has arrived, in order."""
        return [message.text for message in self.sent]

    async def send(self, message: Outgoing, /) -> Receipt:
        self.attempts += 1
        await self._gate.wait()
        if self._failures:
            error = self._failures.popleft()
            if isinstance(error, AmbiguousSend) and error.partial:
                self._arrive(message)
            raise error
        return self._arrive(message)

    def _arrive(self, message: Outgoing) -> Receipt:
        if self.idempotent:
            for index, earlier in enumerate(self.sent, start=1):
                if earlier.key == message.key:
                    return Receipt(ids=(str(index),))
        self.sent.append(message)
        return Receipt(ids=(str(len(self.sent)),))

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        self.edits.append((receipt, message))
        return receipt

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        if not self.knows:
            raise AmbiguousSend("this channel cannot tell")
        for index, earlier in enumerate(self.sent, start=1):
            if earlier.key == message.key:
                return Receipt(ids=(str(index),))
        return None

    async def push(self, inbound: Inbound) -> None:
        """Somebody says something."""
        await self._inbound.put(inbound)

    async def listen(self, accept: Accept, /) -> None:
        while True:
            await accept(await self._inbound.get())

    async def close(self) -> None:
        self.closed = True
