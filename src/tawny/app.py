"""The composition root: builds every object once and runs them in one TaskGroup."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tawny import plugins
from tawny.agent.agency import Agency
from tawny.agent.assembly import build_agency
from tawny.agent.endings import Endings
from tawny.assistants.brief import generate_daily_brief
from tawny.assistants.calendar import read_calendar
from tawny.assistants.digest import digest_document
from tawny.assistants.subtitles import make_subtitles
from tawny.clock import Clock, SystemClock, parse_duration
from tawny.config import Config, Home, approvers_of, owner_zone
from tawny.delivery.channel import Accept, Channel
from tawny.delivery.host import Host
from tawny.delivery.opening import open_all
from tawny.delivery.roster import Roster
from tawny.delivery.service import Delivery, manners
from tawny.domain import notify
from tawny.domain.commands import parse_mode
from tawny.domain.messages import Outgoing
from tawny.domain.network import parse_rules
from tawny.engine.approvals import Approvals
from tawny.engine.dispatcher import Capacity, Dispatcher, LocalDispatcher
from tawny.engine.housekeeping import Housekeeping
from tawny.engine.kinds import Context, Kind, Result
from tawny.engine.machine import Machine
from tawny.engine.matcher import Matcher, wait_for_event
from tawny.engine.members import Member
from tawny.engine.scheduler import Scheduler
from tawny.engine.stability import Stability
from tawny.engine.teams import Team, check_version, team_of
from tawny.engine.timers import Timers
from tawny.engine.waits import Hooks
from tawny.engine.watches import Watches
from tawny.errors import InvalidInput, PermanentError
from tawny.gateway.feed import Feed
from tawny.ledger import sessions
from tawny.ledger.database import Ledger, Store, Tx
from tawny.ledger.homelock import HomeLock
from tawny.ledger.outages import enduring
from tawny.ledger.retention import keep_of
from tawny.ledger.stores import open_store
from tawny.ledger.submission import Limits
from tawny.ledger.upgrade import prepare_store
from tawny.log import redact
from tawny.runners.agent_turn import AgentTurn, agent_turn
from tawny.runners.batch import batch
from tawny.runners.command import command
from tawny.runners.flow import flow
from tawny.runners.guarded import guarded
from tawny.runners.http import http
from tawny.runners.listeners import bundled_listeners
from tawny.runners.probing import Prober
from tawny.runners.read_schedule import read_schedule
from tawny.runners.remind import remind
from tawny.runners.simulate import simulate
from tawny.sandbox.choice import open_sandbox
from tawny.sandbox.wayout import WayOut
from tawny.sandbox.workshop import Workshop
from tawny.secrets import learn_secrets, resolve_secret, secret_filler
from tawny.sources.children import Confine, Confined
from tawny.sources.listening.host import Listening
from tawny.sources.shelf import Shelf
from tawny.sources.workers import Workers
from tawny.tools.exec import AllowList

if TYPE_CHECKING:
    import httpx

    from tawny.gateway.gateway import Gateway


@dataclass(frozen=True, kw_only=True)
class App:
    """Everything that runs, built once."""

    home: Home
    config: Config
    clock: Clock
    ledger: Ledger
    kinds: Mapping[str, Kind]
    dispatcher: Dispatcher
    timers: Timers
    housekeeping: Housekeeping
    stability: Stability
    scheduler: Scheduler
    matcher: Matcher
    listening: Listening
    approvals: Approvals
    limits: Limits
    feed: Feed
    shelf: Shelf
    delivery: Delivery
    agency: Agency
    lost: asyncio.Event
    """Set when another gateway has taken over; then this process has to end."""


def parsers_of(home: Home, config: Config) -> Confine | None:
    """How what strangers wrote is parsed: in the platform's own sandbox, unless the owner has given that up."""
    if config.sandbox.parsers == "unconfined":
        return None
    sandbox = open_sandbox()

    def confine(argv: Sequence[str]) -> Confined:
        from tawny.sandbox.cell import open_cell  # noqa: PLC0415 - only who reads something pays for it

        return open_cell(sandbox, argv, keep_out=home.root)

    return confine


def open_shelf(home: Home, config: Config) -> Shelf:
    """The configured sources; nothing is read until something is asked for."""
    return Shelf(
        config.sources,
        zone=owner_zone(config),
        root=home.root,
        secret=lambda reference: resolve_secret(reference, home),
        workers=Workers(confine=parsers_of(home, config)),
        kinds=plugins.installed().sources,
    )


def bundled_kinds(home: Home, config: Config, shelf: Shelf | None = None) -> dict[str, Kind]:
    """The kinds of task that are always there, by name; building them touches nothing."""
    shelf = shelf or open_shelf(home, config)
    way_out = WayOut(config.network, fill=secret_filler(home, config))
    workshop = Workshop(home, config)
    kinds: dict[str, Kind] = {}
    bundled = (
        simulate(way_out.post),
        remind,
        batch(kinds),
        flow(home.workspace / "flows", kinds),
        generate_daily_brief(shelf),
        read_calendar(shelf),
        digest_document(shelf, home.workspace),
        agent_turn(_no_agent),
        command(workshop.commands, workshop.place, limits=workshop.limits),
        http(way_out.egress),
        make_subtitles(home.workspace, way_out.post),
        read_schedule(owner_zone(config)),
    )
    # One mapping, filled in place: batches and flows look their kinds up in it.
    kinds.update(plugins.installed().kinds)
    kinds.update({kind.name: kind for kind in bundled})
    return kinds


def channel_names(config: Config) -> list[str]:
    """The configured channels as a message may name them: by name, and by kind."""
    named = [str(table["name"]) for tables in config.channels.values() for table in tables if "name" in table]
    return sorted({*config.channels, *named})


async def _no_agent(ctx: Context, params: AgentTurn) -> Result:
    raise PermanentError(f"{ctx.task.task_id} has no agent to answer {len(params.message)} characters")


@asynccontextmanager
async def open_app(
    home: Home,
    config: Config,
    *,
    clock: Clock | None = None,
    kinds: Mapping[str, Kind] | None = None,
    model: Any = None,
    probe: Callable[[str], None] | None = None,
    store: Store | None = None,
    closed: bool = False,
    member: Member | None = None,
) -> AsyncGenerator[App]:
    """Open the home, recover what a dead process held, and run everything until the block ends.

    `model` stands in for the configured one: a `tawny.testing.ScriptedModel`. `probe` is the ledger's: the crash proof
    dies there. `store` stands in for the configured database. `closed` starts no task until `dispatcher.open` is set.
    """
    clock = clock or SystemClock()
    member = member or Member()
    home.prepare()
    lock = HomeLock(home)
    lock.acquire()
    store = store or open_store(home, config)
    try:
        team = team_of(home, store, clock, member)
        await team.join()
    except BaseException:
        lock.release()
        raise
    try:
        learn_secrets(home, config)
        if member.leads:
            prepare_store(home, store, clock)
        else:
            check_version(store)
        async with Ledger(store, clock, probe=probe) as ledger:
            shelf = open_shelf(home, config)
            known = bundled_kinds(home, config, shelf)
            known.update(kinds or {})
            workshop = Workshop(home, config, clock)
            agency = build_agency(
                home,
                config,
                ledger,
                known,
                shelf=shelf,
                channels=lambda: channel_names(config),
                workshop=workshop,
                further=plugins.installed().tools.values(),
                searchers=plugins.installed().searchers,
                model=model,
            )
            listed = AllowList(parse_mode(config.exec.mode), config.exec.allow, home.workspace)
            known.update(guarded(known, agency.door, listed))
            known["agent_turn"] = agent_turn(agency.run_turn)
            if config.model.name != "demo":
                for kind in (
                    generate_daily_brief(shelf, agency.ask),
                    digest_document(shelf, home.workspace, agency.ask),
                    read_schedule(owner_zone(config), agency.ask),
                ):
                    known[kind.name] = kind
            app = _build(
                home, config, clock, ledger, kinds=known, shelf=shelf, agency=agency, team=team, member=member
            )
            if closed:
                app.dispatcher.open.clear()
            if member.leads:
                await app.stability.begin()
            await app.dispatcher.recover()
            everywhere = (app.dispatcher, app.housekeeping, Endings(ledger, workshop.processes))
            leading = (
                app.stability,
                app.timers,
                app.approvals,
                app.scheduler,
                app.matcher,
                app.listening,
                app.delivery,
                agency.follower,
                *team.parts,
            )
            try:
                async with asyncio.TaskGroup() as group:
                    parts = (*everywhere, *leading) if member.leads else everywhere
                    running = [
                        group.create_task(enduring(part.run, name=type(part).__name__)) for part in parts
                    ]
                    running.append(group.create_task(ledger.until_damaged()))
                    try:
                        yield app
                        await app.dispatcher.drain()
                    finally:
                        for task in running:
                            task.cancel()
            finally:
                await agency.close()
                await shelf.close()
    finally:
        team.leave()
        lock.release()


def _build(
    home: Home,
    config: Config,
    clock: Clock,
    ledger: Ledger,
    *,
    kinds: Mapping[str, Kind],
    shelf: Shelf,
    agency: Agency,
    team: Team,
    member: Member,
) -> App:
    zone = owner_zone(config)
    limits = config.limits
    approvals = Approvals(
        ledger, clock, expires_in=parse_duration(config.approvals.expire), approvers=approvers_of(config)
    )
    if unknown := member.kinds - set(kinds):
        raise InvalidInput(
            f"there is no kind {min(unknown)!r} of task here", hint="'tawny tasks kinds' lists them"
        )
    stability = Stability(ledger, clock)
    local = LocalDispatcher(
        ledger,
        clock,
        {name: kinds[name] for name in member.kinds} if member.kinds else kinds,
        worker=team.worker,
        artifacts_root=home.artifacts,
        hooks=Hooks(ask=approvals.ask, event=wait_for_event),
        capacity=_capacity(config, leads=member.leads),
        machine_is_idle=Machine(clock, busy_load=limits.busy_load).is_idle,
        is_held=lambda: stability.is_held,
    )
    timers = Timers(ledger, clock)
    way_out = WayOut(config.network)
    listeners = bundled_listeners(
        shelf, home.workspace, way_out, Workshop(home, config, clock), lambda ref: resolve_secret(ref, home)
    )
    prober = Prober(ledger, clock, egress=way_out.egress, shelf=shelf, workspace=home.workspace)
    watches = Watches(ledger, clock, prober.probe)
    scheduler = Scheduler(ledger, clock, workspace=home.workspace, look=watches.look, stability=stability)
    return App(
        home=home,
        config=config,
        clock=clock,
        ledger=ledger,
        kinds=kinds,
        dispatcher=team.dispatcher(local, ledger),
        timers=timers,
        housekeeping=Housekeeping(
            ledger, clock, keep=keep_of(config), artifacts_root=home.artifacts, leads=member.leads
        ),
        stability=stability,
        scheduler=scheduler,
        matcher=Matcher(ledger, clock, stability),
        listening=Listening(ledger, clock, listeners),
        approvals=approvals,
        limits=Limits(max_queued=limits.max_queued_per_owner, zone=zone),
        feed=Feed(ledger, clock),
        shelf=shelf,
        delivery=_delivery(home, config, clock, ledger, accept=agency.inbox.accept),
        agency=agency,
        lost=team.lost,
    )


def open_roster(home: Home, config: Config, clock: Clock, ledger: Ledger) -> Roster:
    """Every channel of the configuration, and the built-in ones; nothing is sent or heard yet."""

    def within_list(timeout: float) -> "httpx.AsyncClient":
        from tawny.sandbox.egress import Egress  # noqa: PLC0415 - heavy, and only webhooks named in a task need it

        rules = parse_rules(config.network.allow, config.network.allow_private)
        return Egress(rules).client(timeout=timeout)

    def host(name: str) -> Host:
        return Host(
            name,
            ledger=ledger,
            clock=clock,
            home=home.root,
            secrets=lambda reference: resolve_secret(reference, home),
            within_list=within_list,
            say=_say,
        )

    return open_all(
        config.channels,
        plugins.installed().channels,
        host,
        built_in=plugins.BUILT_IN_CHANNELS,
        default=config.delivery.default,
    )


def _delivery(home: Home, config: Config, clock: Clock, ledger: Ledger, *, accept: Accept) -> Delivery:
    wishes = config.delivery
    return Delivery(
        ledger,
        clock,
        open_roster(home, config, clock, ledger),
        manners(
            quiet_hours=wishes.quiet_hours,
            digest=wishes.digest,
            breaks=wishes.breaks,
            zone=ZoneInfo(owner_zone(config)),
        ),
        accept=accept,
        artifacts_root=home.artifacts,
    )


def _say(tx: Tx, session: str, message: Outgoing) -> str:
    task_id = message.document.get("task", {}).get("task_id")
    told = [str(task_id)] if task_id else []
    # How a task ended is told once, whoever tells it; its news before that are messages of their own.
    ended = told and message.document.get("type") in notify.ENDINGS
    sessions.tell(tx, session, message.text, run_id=told[0] if ended else message.key, task_ids=told)
    return message.key


def _reconfigure(app: App, config: Config) -> None:
    """What of a changed configuration takes effect without a restart."""
    app.dispatcher.capacity = _capacity(config)
    app.ledger.bell.ring(["queue"])


def _abilities(channel: Channel | None) -> list[str]:
    if channel is None:
        return []
    return ["send", *(["edit"] if channel.can_edit else []), *(["buttons"] if channel.has_buttons else [])]


def _capacity(config: Config, *, leads: bool = True) -> Capacity:
    return Capacity(
        background=config.limits.concurrency,
        interactive=config.limits.interactive if leads else 0,
        per_owner=config.limits.max_running_per_owner,
        per_class={**config.limits.per_class},
        zone=owner_zone(config),
    )


@asynccontextmanager
async def open_gateway(app: App) -> AsyncGenerator["Gateway"]:
    """The gateway of an open app, following the ledger; `Gateway.serving` opens its door."""
    from tawny.gateway.gateway import Gateway  # noqa: PLC0415 - the web server; only the always-on process needs it

    redact.compile()
    gateway = Gateway(
        home=app.home,
        config=app.config,
        ledger=app.ledger,
        clock=app.clock,
        kinds=app.kinds,
        limits=app.limits,
        feed=app.feed,
        apply=lambda config: _reconfigure(app, config),
        abilities=lambda name: _abilities(app.delivery.roster.channels.get(name)),
        inbox=app.agency.inbox,
        live=app.agency.live,
    )
    await gateway.load()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(gateway.run())
        try:
            yield gateway
        finally:
            following.cancel()
