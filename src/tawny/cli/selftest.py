"""`tawny selftest crash`: prove the durability promises on this machine, on a temporary home."""

import argparse

import msgspec

from tawny.cli.crashproof import Proof, Verdict, scenarios, world
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.config import Home


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    crash = actions.add_parser(
        "crash", help="kill at every commit and effect, restart, ask the world what happened"
    )
    crash.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th point")
    crash.add_argument("--kind", action="append", choices=[scenario.name for scenario in scenarios()])
    add_common(crash)


def run(args: argparse.Namespace, home: Home) -> int:
    """Run the proof; 1 if a promise was broken, or if the proof overlooked a broken toy."""
    del home
    wanted = [scenario for scenario in scenarios() if not args.kind or scenario.name in args.kind]

    def tell(line: str) -> None:
        if not args.json:
            print(line, flush=True)

    with world() as (folder, port):
        proof = Proof(folder, port, tell=tell, every=max(1, args.every))
        tell("first two toys that are broken on purpose: the proof must find it")
        toys = {name: proof.toy(name) for name in ("naive", "at_most_once")}
        tell(f"naive        {len(toys['naive'].repeated)} repeated effects found")
        tell(f"at_most_once {len(toys['at_most_once'].lost)} lost effects found")
        sharp = bool(toys["naive"].repeated) and bool(toys["at_most_once"].lost)
        verdict = proof.engine(wanted)
    document = {
        "ok": sharp and verdict.holds,
        "engine": msgspec.to_builtins(verdict),
        "toys": {name: msgspec.to_builtins(toy) for name, toy in toys.items()},
    }
    emit(document, args, text=_summary(verdict, sharp=sharp))
    return 0 if sharp and verdict.holds else 1


def _summary(verdict: Verdict, *, sharp: bool) -> str:
    lines = [
        f"{verdict.kills} kills: {len(verdict.lost)} lost, {len(verdict.repeated)} repeated,"
        f" {len(verdict.stuck)} stuck, {verdict.uncertain} left to a person"
    ]
    lines += [f"  {what}" for what in (*verdict.lost, *verdict.repeated, *verdict.stuck)[:20]]
    if not sharp:
        lines.append("the proof overlooked a broken toy: it proves nothing on this machine")
    return "\n".join(lines)
