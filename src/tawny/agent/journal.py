"""Makes a turn durable: each model call of the library becomes a journaled step of our engine.

The library offers its public durability interface for this. Tool calls are journaled by the door they all pass
(`tools/call.py`), since only there it is known what running one again would mean; so the library is told to leave
them alone.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    CallableOperationBackend,
    DurabilityEngineSpec,
    DurableOperationBackend,
    DurableOperationId,
    JournalOperationNamer,
    ModelRequestId,
    RoleBasedOperationConfig,
    conversation_id_from_run_id,
)


class Journaling(Protocol):
    """The turn at hand, as the journal sees it."""

    run_id: str

    async def model_call(self, body: Callable[[], Awaitable[object]]) -> object:
        """Run a model call once, whatever happens to the process."""
        ...


current: ContextVar[Journaling | None] = ContextVar("tawny_turn", default=None)


class _Backend(CallableOperationBackend[None]):
    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: None,
    ) -> object:
        del name, cache_key, config
        turn = current.get()
        if turn is None or not isinstance(operation_id, ModelRequestId):
            return await body()
        return await turn.model_call(body)


@dataclass(init=False, kw_only=True)
class Journal(BaseDurabilityCapability[Any]):
    """The capability that every agent of ours has."""

    engine_spec = DurabilityEngineSpec(
        engine_name="Tawny",
        durable_unit_noun="step",
        durable_container_noun="task",
        codec=JSON_CODEC,
        wrapped_toolset_kinds=frozenset(),
        toolset_lifecycles={"function": "enter-always"},
        journal_discovery=False,
    )

    def __init__(self, *, event_stream_handler: EventStreamHandler[Any]) -> None:
        super().__init__(event_stream_handler=event_stream_handler)

    @property
    def in_durable_context(self) -> bool:
        return current.get() is not None

    def get_default_run_id(self) -> str | None:
        turn = current.get()
        return None if turn is None else turn.run_id

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        del run_id
        return None

    def get_durable_operation_backend(self) -> DurableOperationBackend[None]:
        return _Backend(
            namer=JournalOperationNamer("tawny"),
            config=RoleBasedOperationConfig(model=None, event=None, capability=None, tool=None),
        )
