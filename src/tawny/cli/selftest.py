"""`tawny selftest crash|power`: prove the durability promises on this machine, on a temporary home."""

import argparse
from collections.abc import Callable

import msgspec

from tawny.cli.arguments import whole
from tawny.cli.ending import ended_in_order
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.cli.proof.kills import Proof, Verdict, temporary_folder, world
from tawny.cli.proof.power import Losses, PowerProof
from tawny.cli.proof.scenarios import scenarios
from tawny.config import Home


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    crash = actions.add_parser(
        "crash", help="kill at every commit and effect, restart, ask the world what happened"
    )
    crash.add_argument("--every", type=whole(1), default=1, metavar="N", help="only every n-th point")
    crash.add_argument("--kind", action="append", choices=[scenario.name for scenario in scenarios()])
    add_common(crash)
    power = actions.add_parser(
        "power", help="record real work, cut the power at every sync, open what would be left (needs strace)"
    )
    power.add_argument("--every", type=whole(1), default=1, metavar="N", help="only every n-th sync")
    power.add_argument("--seed", type=whole(), default=0, help="another choice of torn and reordered writes")
    add_common(power)


def run(args: argparse.Namespace, home: Home) -> int:
    """Run the proof; 1 if a promise was broken, or if the proof overlooked a broken toy."""
    del home

    def tell(line: str) -> None:
        if not args.json:
            print(line, flush=True)

    with ended_in_order():
        return _crash(args, tell) if args.action == "crash" else _power(args, tell)


def _crash(args: argparse.Namespace, tell: Callable[[str], None]) -> int:
    wanted = [scenario for scenario in scenarios() if not args.kind or scenario.name in args.kind]
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


def _power(args: argparse.Namespace, tell: Callable[[str], None]) -> int:
    with temporary_folder() as folder:
        proof = PowerProof(folder, every=max(1, args.every), seed=args.seed)
        tell("first the same database with too few syncs: the proof must find it")
        toys: dict[str, Losses] = {}
        for weak in ("OFF", "NORMAL"):
            toys[weak] = PowerProof(folder, every=10, seed=args.seed).run(weak)
            tell(f"synchronous={weak:<7} {len(toys[weak].broken)} broken promises found")
        sharp = all(toy.broken for toy in toys.values())
        losses = proof.run()
    document = {
        "ok": sharp and losses.holds,
        "engine": msgspec.to_builtins(losses),
        "toys": {name: msgspec.to_builtins(toy) for name, toy in toys.items()},
    }
    lines = [
        f"{losses.images} disks after a power cut at {losses.syncs} syncs: {len(losses.broken)} broken promises"
    ]
    lines += [f"  {what}" for what in losses.broken[:20]]
    if not sharp:
        lines.append("the proof overlooked a broken toy: it proves nothing on this machine")
    emit(document, args, text="\n".join(lines))
    return 0 if sharp and losses.holds else 1
