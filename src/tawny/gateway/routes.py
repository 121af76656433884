"""Every operation of the gateway, in one list: what HTTP, WebSocket, MCP, `openapi.json` and the docs are made of."""

from tawny.gateway import (
    approvals,
    artifacts,
    audit,
    automations,
    channels,
    completions,
    devices,
    eventsin,
    health,
    hooks,
    knowledge,
    openapi,
    phrases,
    pushes,
    seen,
    sessions,
    settings,
    signin,
    stats,
    status,
    stream,
    tasks,
    wake,
)
from tawny.gateway.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *health.OPERATIONS,
    signin.SIGNIN,
    signin.SIGNOUT,
    stream.OPERATION,
    wake.OPERATION,
    *tasks.OPERATIONS,
    artifacts.OPERATION,
    *approvals.OPERATIONS,
    *automations.OPERATIONS,
    phrases.OPERATION,
    *sessions.OPERATIONS,
    *completions.OPERATIONS,
    *eventsin.OPERATIONS,
    hooks.OPERATION,
    *audit.OPERATIONS,
    *stats.OPERATIONS,
    *channels.OPERATIONS,
    *devices.OPERATIONS,
    *settings.OPERATIONS,
    *pushes.OPERATIONS,
    *seen.OPERATIONS,
    *knowledge.OPERATIONS,
    status.OPERATION,
    openapi.OPERATION,
)

ONLY_HTTP = frozenset(
    {
        "artifacts.get",
        "audit.export",
        "completions",
        "healthz",
        "hooks.receive",
        "metrics",
        "pairing.claim",
        "signin",
        "signout",
        "stream",
    }
)
"""Operations that are no methods of the WebSocket: they answer with something else than a document."""

METHODS = {entry.name: entry for entry in OPERATIONS if entry.name not in ONLY_HTTP}
