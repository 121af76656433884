"""What turns need of the configuration."""

import msgspec

from tawny.clock import SECOND, parse_duration
from tawny.config import Background, Config, owner_zone
from tawny.domain.sessions import DROPS, MODES, SCOPES, Queueing
from tawny.errors import ConfigError


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
    """The settings of turns and sessions.

    Raises:
        ConfigError: a word or a time that is none.
    """
    chat = config.chat
    for name, value, known in (
        ("scope", chat.scope, SCOPES),
        ("queue", chat.queue, MODES),
        ("drop", chat.drop, DROPS),
    ):
        if value not in known:
            raise ConfigError(f"[chat] {name} = {value!r} is none", hint=f"one of {', '.join(known)}")
    return TurnSettings(
        zone=owner_zone(config),
        yield_after=_seconds("yield", chat.yield_after),
        progress_every=_seconds("progress", chat.progress),
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
            debounce=int(_seconds("debounce", chat.debounce) * SECOND),
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


def _seconds(name: str, value: str) -> float:
    try:
        return parse_duration(value) / SECOND
    except ValueError as error:
        raise ConfigError(f"[chat] {name}: {error}", hint='write it like "10s"') from error
