"""What turns need of the configuration."""

import msgspec

from tawny.clock import SECOND, parse_duration
from tawny.config import Background, Config, owner_zone
from tawny.domain.sessions import Queueing


class TurnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`yield_after` and `progress_every` in seconds."""

    zone: str = "UTC"
    yield_after: float = 10.0
    progress_every: float = 60.0
    context_tokens: int = 64_000
    turn_model_calls: int = 50
    turn_tool_calls: int = 100
    background_rules: tuple[str, ...] = ()
    max_steps: int = 20
    max_bytes: int = 1_000_000
    scope: str = "main"
    links: dict[str, tuple[str, ...]] = {}
    queueing: Queueing = Queueing()


def turn_settings(config: Config) -> TurnSettings:
    """The settings of turns and sessions."""
    chat = config.chat
    return TurnSettings(
        zone=owner_zone(config),
        yield_after=parse_duration(chat.yield_after) / SECOND,
        progress_every=parse_duration(chat.progress) / SECOND,
        context_tokens=chat.context_tokens,
        turn_model_calls=config.budgets.turn.model_calls or 1_000_000,
        turn_tool_calls=config.budgets.turn.tool_calls or 1_000_000,
        background_rules=background_rules(config.background),
        max_steps=config.background.max_steps,
        max_bytes=config.background.max_bytes,
        scope=chat.scope,
        links=chat.links,
        queueing=Queueing(
            mode=chat.queue,
            debounce=parse_duration(chat.debounce),
            cap=chat.cap,
            drop=chat.drop,
        ),
    )


def background_rules(background: Background) -> tuple[str, ...]:
    """What the model is told of `[background]`."""
    return (
        *background.rules,
        f"work of more than {background.max_steps} tool calls, as far as you can tell beforehand",
        f"files of more than {megabytes(background.max_bytes)}",
    )


def megabytes(size: int) -> str:
    """Such as `1 MB` or `0.3 MB`."""
    return f"{size / 1_000_000:.2g} MB" if size < 10_000_000 else f"{size / 1_000_000:.0f} MB"
