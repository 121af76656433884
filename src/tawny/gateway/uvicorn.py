"""The parts of uvicorn we use, without its command line.

Its package imports that, and click with it, though nothing here needs either: a tenth of the time until the gateway
is ready. An empty module stands in for it while the package is loaded, and is taken away again.
"""

import sys
from types import ModuleType


def _without_command_line() -> None:
    name = "uvicorn.main"
    if name in sys.modules:
        return
    stand_in = ModuleType(name)
    stand_in.__dict__.update(Server=None, main=None, run=None)
    sys.modules[name] = stand_in
    try:
        import uvicorn.config  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport]
    finally:
        del sys.modules[name]


_without_command_line()

from httptools import HttpParserUpgrade, HttpRequestParser  # noqa: E402
from uvicorn.config import Config  # noqa: E402
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: E402
from uvicorn.server import Server, ServerState  # noqa: E402

# Whoever imports the package after us finds its server where it always is.
sys.modules["uvicorn"].__dict__["Server"] = Server

__all__ = [
    "Config",
    "HttpParserUpgrade",
    "HttpRequestParser",
    "HttpToolsProtocol",
    "ServerState",
]
