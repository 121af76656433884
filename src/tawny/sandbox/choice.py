"""Which sandbox this machine has."""

import sys
from collections.abc import Callable, Mapping

from tawny.errors import ConfigError
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.container import Container
from tawny.sandbox.order import Sandbox
from tawny.sandbox.seatbelt import Seatbelt


def open_sandbox(backend: str = "auto", *, image: str = "", platform: str = sys.platform) -> Sandbox:
    """The sandbox of that name, or the platform's own. There is none that means no sandbox.

    Raises:
        ConfigError: no sandbox has that name.
    """
    makers: Mapping[str, Callable[[], Sandbox]] = {
        "bubblewrap": Bubblewrap,
        "seatbelt": Seatbelt,
        "container": lambda: Container(image=image),
    }
    name = backend
    if name == "auto":
        name = "seatbelt" if platform == "darwin" else "bubblewrap"
    if name not in makers:
        raise ConfigError(f"[sandbox] backend: {backend!r} is none", hint=f"one of auto, {', '.join(makers)}")
    return makers[name]()
