"""The gateway as one part of the house: its keyring, its feed, its application, and the time it serves."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache

import msgspec
from starlette.routing import Route
from starlette.types import ASGIApp

from tawny.agent.inbox import Inbox
from tawny.agent.live import Delta, Live
from tawny.clock import Clock
from tawny.config import Config, Home
from tawny.engine.kinds import Kind
from tawny.gateway import openapi, routes, server, settings
from tawny.gateway.application import application
from tawny.gateway.artifacts import ArtifactEndpoint
from tawny.gateway.audit import ExportEndpoint
from tawny.gateway.auth import Keyring
from tawny.gateway.completions import CompletionEndpoint
from tawny.gateway.devices import ClaimEndpoint
from tawny.gateway.feed import Feed
from tawny.gateway.guard import Hosts
from tawny.gateway.hooks import HookEndpoint
from tawny.gateway.mcp.endpoint import McpEndpoint
from tawny.gateway.panel import Panel
from tawny.gateway.pushes import Pusher
from tawny.gateway.signin import SignInEndpoint, SignOutEndpoint
from tawny.gateway.site import Site
from tawny.gateway.socket import SocketEndpoint
from tawny.gateway.stats import MetricsEndpoint
from tawny.gateway.stream import StreamEndpoint
from tawny.ledger.database import Ledger
from tawny.ledger.outages import enduring
from tawny.ledger.submission import Limits


class Gateway:
    """Built once by the composition root. `run` follows the ledger; `serving` opens the door."""

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        ledger: Ledger,
        clock: Clock,
        kinds: Mapping[str, Kind],
        limits: Limits,
        feed: Feed,
        apply: Callable[[Config], None] = lambda _: None,
        abilities: Callable[[str], list[str]] = lambda _: [],
        inbox: Inbox | None = None,
        live: Live | None = None,
    ) -> None:
        self.site = Site(
            home=home,
            config=config,
            ledger=ledger,
            clock=clock,
            kinds=kinds,
            keyring=Keyring(ledger, clock, token_file=home.token_file),
            limits=limits,
            feed=feed,
            apply=self._applying(apply),
            abilities=abilities,
            inbox=inbox,
            live=live,
            started_at=clock.now(),
        )
        self._port = config.gateway.port
        self._hosts = Hosts(
            host=config.gateway.host, port=lambda: self._port, allowed=config.gateway.allowed_hosts
        )
        self._pusher = Pusher(ledger, clock, feed, network=config.network, keyring=self.site.keyring)
        self.site.push_rules = self._pusher.rules
        self.site.describe = cache(lambda: openapi.describe(routes.OPERATIONS))
        self.panel = panel = Panel()
        site = self.site
        endpoints: dict[str, ASGIApp] = {
            "stream": StreamEndpoint(site),
            "signin": SignInEndpoint(site),
            "signout": SignOutEndpoint(site),
            "artifacts.get": ArtifactEndpoint(site),
            "audit.export": ExportEndpoint(site),
            "metrics": MetricsEndpoint(site),
            "completions": CompletionEndpoint(site),
            "hooks.receive": HookEndpoint(site),
            "pairing.claim": ClaimEndpoint(site),
        }
        self.mcp = McpEndpoint(site, routes.METHODS)
        self.app = application(
            site,
            routes.OPERATIONS,
            endpoints=endpoints,
            extra=[
                Route("/mcp", self.mcp),
                *(Route(path, panel, methods=["GET"]) for path in panel.files),
            ],
            sockets=SocketEndpoint(site, routes.METHODS),
            hosts=self._hosts,
            open_paths=panel.files,
        )

    async def load(self) -> None:
        """Read who may come in, and where the log ends."""
        await self.site.keyring.load()
        await self.site.feed.load()

    async def run(self) -> None:
        """Follow the log, the grants and what is being said, until cancelled."""
        silence = self.site.live.listen(self._whisper) if self.site.live is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                parts = {
                    "feed": self.site.feed.run,
                    "keyring": self.site.keyring.run,
                    "config": self._follow_config,
                    "push": self._pusher.run,
                }
                for name, run in parts.items():
                    group.create_task(enduring(run, name=f"gateway-{name}"), name=f"gateway-{name}")
        finally:
            if silence is not None:
                silence()

    async def _follow_config(self) -> None:
        bell = self.site.ledger.bell.subscribe("config")
        while True:
            await bell.wait()
            bell.clear()
            await settings.reload(self.site)

    def _applying(self, apply: Callable[[Config], None]) -> Callable[[Config], None]:
        def whole(config: Config) -> None:
            self._hosts.allow(config.gateway.allowed_hosts)
            limits = msgspec.structs.replace(self.site.limits, max_queued=config.limits.max_queued_per_owner)
            self.site.limits = limits
            apply(config)

        return whole

    def _whisper(self, delta: Delta) -> None:
        self.site.feed.whisper("message.delta", delta.document(), session=delta.session)

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncGenerator[str]:
        """Answer on the socket; yields `http://HOST:PORT`."""
        host, self._port = listener.getsockname()[:2]
        self.site.address = f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"
        async with server.serving(self.app, listener):
            self.site.ready = True
            try:
                yield self.site.address
            finally:
                self.site.ready = False
                self.site.feed.stop()
