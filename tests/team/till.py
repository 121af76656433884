"""A plugin with one kind of task that must not happen twice, installed beside the house for its processes to find."""

from pathlib import Path

import msgspec

from tawny.api import hookimpl
from tawny.domain.tasks import Effect
from tawny.engine.kinds import Context, Kind, Result

NAME = "till"


class Pay(msgspec.Struct, frozen=True):
    """Pays by a line in `book`, and does not return before there is a file `book`.go."""

    book: str


async def _run(ctx: Context, params: Pay) -> Result:
    async def pay() -> str:
        book = Path(params.book)
        with book.open("a") as file:  # noqa: ASYNC230 - a line; nothing else runs here
            file.write(f"paid {ctx.task.attempt}\n")
        while not book.with_suffix(".go").exists():
            await ctx.clock.sleep_until(ctx.clock.now() + 20_000)
        return "receipt"

    return str(await ctx.step("pay", pay, effect=Effect.AT_MOST_ONCE))


class Tick(msgspec.Struct, frozen=True):
    """Notes that item `n` was done, by a line in `book`."""

    book: str
    n: int


async def _tick(ctx: Context, params: Tick) -> Result:
    def note() -> None:
        with Path(params.book).open("a") as file:
            file.write(f"{params.n}\n")

    async def step() -> None:
        note()

    await ctx.step("tick", step, effect=Effect.IDEMPOTENT)
    return {"text": str(params.n)}


TICK = Kind(name="tick", params=Tick, run=_tick, description="Notes an item.")
PAY = Kind(name="pay", params=Pay, run=_run, description="Pays once.")


@hookimpl
def tawny_kinds() -> list[Kind]:
    return [PAY, TICK]


def install(folder: Path) -> Path:
    """Make the plugin known to whoever has `folder` on its path."""
    facts = folder / f"{NAME}-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / f"{NAME}.py").write_text(Path(__file__).read_text())
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[tawny.plugins]\n{NAME} = {NAME}\n")
    return folder
