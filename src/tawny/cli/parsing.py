"""Whether what strangers wrote can be parsed in the sandbox here: tried out, not guessed."""

import asyncio

from tawny.config import Config, Home
from tawny.errors import TawnyError

GIVE_UP = 'or, if all that is read here is your own, set [sandbox] parsers = "unconfined"'


def trial(home: Home, config: Config) -> TawnyError | None:
    """Have a line of text parsed; what is in the way, if anything."""
    try:
        asyncio.run(_parse(home, config))
    except TawnyError as error:
        return error
    return None


async def _parse(home: Home, config: Config) -> None:
    from tawny.app import open_shelf  # noqa: PLC0415 - all of the house; only doctor and demo try it out

    shelf = open_shelf(home, config)
    try:
        await shelf.page_text("a trial", "<p>a trial</p>")
    finally:
        await shelf.close()
