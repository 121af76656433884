"""A machine of somebody's own, with nothing on it but Tawny's commands."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import servers


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.05)


class Machine:
    """Where `home` is the person's home directory."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TAWNY", "XDG"))
        } | {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    async def run(self, script: str, *, typed: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            "bash", "-euc", script, env=self.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(100):
            out, err = await process.communicate(typed.encode())
        assert process.returncode == 0, f"{script}\n{out.decode()}\n{err.decode()}"
        return out.decode()

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The gateway, ready; whoever kills it before the end has killed it."""
        gateway = await asyncio.create_subprocess_exec(
            "bash", "-euc", f"exec tawny gateway run --port {servers.free_port()}",
            env=self.environment, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert gateway.stdout is not None
            async with asyncio.timeout(100):
                while not (await gateway.stdout.readline()).startswith(b"ready "):
                    assert gateway.returncode is None
            yield gateway
        finally:
            try:
                if gateway.returncode is None:
                    gateway.send_signal(signal.SIGTERM)
                async with asyncio.timeout(60):
                    await gateway.wait()
            finally:
                await servers.reap(gateway)
