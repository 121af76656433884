"""A worker that is broken on purpose: a check that does not find what is wrong with it proves nothing.

`driver.py HOME forgetful` runs `simulate` without a journal; `driver.py HOME blind` never sees that another is gone.
`driver.py HOME maker` is as it should be, and has one more kind: `make` makes a file of `size` MiB.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from tawny import config
from tawny.app import open_app
from tawny.config import Home
from tawny.engine import procrastinate
from tawny.engine.kinds import Context, Kind, Result
from tawny.engine.members import Member
from tawny.runners.simulate import Simulate
from tawny.sandbox.wayout import WayOut


class Make(msgspec.Struct):
    size: int


async def _make(ctx: Context, params: Make) -> Result:
    await ctx.artifact("made.bin", b"x" * params.size * 1024 * 1024)
    return "made"


MAKE = Kind(name="make", params=Make, run=_make, description="")


async def main(root: str, fault: str) -> None:
    home = Home(Path(root))
    settings = config.load(home)
    post = WayOut(settings.network).post

    async def forgetful(ctx: Context, params: Simulate) -> Result:
        for number in range(1, params.steps + 1):
            await asyncio.sleep(params.step_seconds)
            assert params.effect_url is not None
            await post(
                params.effect_url,
                {"task_id": ctx.task.task_id, "step": number},
                f"{ctx.task.task_id}:{number}",
            )
        return "done"

    kinds: dict[str, Kind] = {}
    if fault == "forgetful":
        kinds["simulate"] = Kind(name="simulate", params=Simulate, run=forgetful, description="")
    if fault == "blind":
        procrastinate.STALL = 1e6
    if fault == "maker":
        kinds["make"] = MAKE
    async with open_app(home, settings, kinds=kinds, member=Member(leads=False)):
        sys.stdout.write("ready worker\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
