"""Several processes on several machines share one ledger on PostgreSQL. Needs the extra `tawny[postgres]`.

The ledger keeps claim, fence and journal; Procrastinate keeps the roll of who is alive. Each process has a worker's
row there, whose heartbeat it renews, and a presence: a job that is `doing` as long as the process lives, under a lock
that is the home's. Who holds leases without a living presence is gone, and whoever sees it first releases his tasks.
"""

import asyncio
import platform
from contextlib import suppress
from time import monotonic

import msgspec
import procrastinate
from procrastinate import exceptions, jobs
from procrastinate.manager import JobManager

from tawny.engine.dispatcher import Capacity, LocalDispatcher
from tawny.engine.members import Member, Part
from tawny.errors import Conflict, PermanentError, StorageError, TawnyError
from tawny.ledger import recovery
from tawny.ledger.database import Ledger
from tawny.ledger.postgres import TIMEOUTS, PostgresStore
from tawny.ledger.roll import PRESENCE, Facts
from tawny.ledger.roll import STALL as STALL
from tawny.log import Log

_log = Log("engine.workers")
BEAT = 2.0
"""Seconds between two heartbeats, and between two looks at the others'."""
_DOING = jobs.Status.DOING


class Roll:
    """Who is alive, as Procrastinate knows it."""

    def __init__(self, url: str, *, node: str) -> None:
        """`node` names the home: one process at a time works on it, which its lock sees to."""
        connector = procrastinate.PsycopgConnector(
            conninfo=url,
            min_size=1,
            max_size=2,
            timeout=STALL / 2,
            reconnect_timeout=STALL / 2,
            kwargs=dict(TIMEOUTS),
        )
        self._app = procrastinate.App(connector=connector)
        self._node = node
        self._worker_id: int | None = None
        self._job: jobs.Job | None = None

    @property
    def _manager(self) -> JobManager:
        return self._app.job_manager

    async def open(self, *, make: bool) -> None:
        """Connect; `make` makes Procrastinate's tables where they are missing.

        Raises:
            PermanentError: they are missing, and are not to be made.
            StorageError: the database does not answer.
        """
        try:
            await self._app.open_async()
            if not await self._app.check_connection_async():
                if not make:
                    raise PermanentError(
                        "no gateway has worked on this database yet", hint="start the gateway first"
                    )
                await self._app.schema_manager.apply_schema_async()
        except exceptions.ConnectorException as error:
            raise StorageError(f"the database does not answer: {error}", hint="it is tried again") from error

    async def close(self) -> None:
        await self._app.close_async()

    async def sign_in(self, facts: Facts) -> None:
        """Come on the roll as `facts.worker`. Earlier presences of this home are ended: their processes are dead."""
        for old in await self._manager.list_jobs_async(queue=self._node, task=PRESENCE):
            await self._end(old)
        self._worker_id = await self._manager.register_worker()
        await self._manager.defer_job_async(
            jobs.Job(
                queue=self._node,
                lock=self._node,
                queueing_lock=self._node,
                task_name=PRESENCE,
                task_kwargs=msgspec.to_builtins(facts),
            )
        )
        self._job = await self._manager.fetch_job([self._node], self._worker_id)
        if self._job is None:
            raise Conflict(f"{self._node} is on the roll twice", hint="give each process a home of its own")

    async def sign_out(self) -> None:
        """Leave the roll in order."""
        if self._job is not None:
            await self._end(self._job)
            self._job = None
        if self._worker_id is not None:
            await self._manager.unregister_worker(self._worker_id)
            self._worker_id = None

    async def beat(self) -> bool:
        """Renew the heartbeat; whether this process is still on the roll, and not taken for gone."""
        if self._worker_id is None or self._job is None:
            return False
        await self._manager.update_heartbeat(self._worker_id)
        found = list(await self._manager.list_jobs_async(id=self._job.id))
        return bool(found) and found[0].status == _DOING.value and found[0].worker_id == self._worker_id

    async def living(self) -> set[str]:
        """The workers who are present and were heard of within `STALL`; the presences of the others are ended."""
        present = await self._manager.list_jobs_async(task=PRESENCE, status=_DOING.value)
        stalled = list(
            await self._manager.get_stalled_jobs(task_name=PRESENCE, seconds_since_heartbeat=STALL)
        )
        silent = {job.id for job in stalled}
        return {str(job.task_kwargs["worker"]) for job in present if job.id not in silent}

    async def tidy(self) -> None:
        """End the presences of the silent, so that one that was only cut off learns of it."""
        for job in await self._manager.get_stalled_jobs(task_name=PRESENCE, seconds_since_heartbeat=STALL):
            with suppress(exceptions.ConnectorException):
                await self._end(job)  # unless another process has just done so
        await self._manager.prune_stalled_workers(STALL * 6)

    async def _end(self, job: jobs.Job) -> None:
        await self._manager.finish_job(job, jobs.Status.FAILED, delete_job=True)


class ProcrastinateDispatcher:
    """One of several processes: the local dispatcher's hands, and Procrastinate's word on who is gone."""

    def __init__(
        self,
        local: LocalDispatcher,
        ledger: Ledger,
        roll: Roll,
        *,
        node: str,
        names: "Names",
        member: Member,
    ) -> None:
        """A member that leads is a gateway: it makes Procrastinate's tables."""
        self._local = local
        self._ledger = ledger
        self._roll = roll
        self._node = node
        self._names = names
        self._member = member
        self._steady_since: float | None = None
        self._last = monotonic()
        self.open = local.open
        self.idle = local.idle

    @property
    def capacity(self) -> Capacity:
        return self._local.capacity

    @capacity.setter
    def capacity(self, capacity: Capacity) -> None:
        self._local.capacity = capacity

    async def recover(self) -> recovery.Recovered:
        """At the start: come on the roll, and release what earlier processes of this very home held, and no others'."""
        await self._roll.open(make=self._member.leads)
        await self._roll.sign_in(self._facts(self._local.worker))
        mine = f"{self._node}."
        return await self._local.recover(
            gone=lambda owner: owner.startswith(mine) and owner != self._local.worker
        )

    async def run(self) -> None:
        """Run until cancelled, then leave the roll."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._local.run())
                await self._watch()
        finally:
            await self._leave()

    async def drain(self) -> None:
        """Release what runs, at once."""
        await self._local.drain()

    async def _leave(self) -> None:
        try:
            await self._roll.sign_out()
        except exceptions.ProcrastinateException as error:
            _log.warning("left without a word; the others will notice", error=str(error))
        await self._roll.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            now = monotonic()
            if now - self._last > STALL:
                self._steady_since = None  # this process stood still itself
            self._last = now
            try:
                if not await self._roll.beat():
                    await self._again()
                if self._steady_since is None:
                    self._steady_since = now
                # A database that was away makes everybody look silent: first everybody may be heard again.
                if now - self._steady_since >= STALL:
                    await self._take_over()
            except (exceptions.ProcrastinateException, StorageError) as error:
                self._steady_since = None
                _log.warning("the database does not answer; leases stand still", error=str(error))

    def _facts(self, worker: str) -> Facts:
        return Facts(
            worker=worker,
            host=platform.node(),
            leads=self._member.leads,
            kinds=sorted(self._member.kinds),
            places=self._local.capacity.background,
        )

    async def _again(self) -> None:
        """The others took this process for gone. What it ran is theirs now; it goes on under a new name."""
        name = self._names.next()
        _log.warning("taken for gone by the others; going on anew", was=self._local.worker, worker=name)
        await self._roll.sign_in(self._facts(name))
        await self._local.start_anew(name)

    async def _take_over(self) -> None:
        """Release what is held by workers who are gone."""
        # In this order: whoever held a lease before the roll was read was on the roll before.
        holders = await self._ledger.read(recovery.owners)
        gone = holders - await self._roll.living()
        adoptable = await self._ledger.read(
            lambda tx: recovery.adoptable(tx, resumable=self._local.resumable)
        )
        if gone or adoptable:
            recovered = await self._local.recover(gone=lambda owner: owner in gone)
            _log.warning(
                "took over from workers who are gone",
                gone=sorted(gone),
                resumed=len(recovered.resumed),
                reconcile=len(recovered.reconcile),
            )
        await self._roll.tidy()


class Leadership:
    """Watches over a gateway's hold on the database; `lost` is set when another gateway has taken over."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.lost = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        while not self.lost.is_set():
            await asyncio.sleep(1.0)
            try:
                if not await asyncio.to_thread(self._store.holds):
                    _log.error("another gateway has taken over")
                    self.lost.set()
            except StorageError as error:
                _log.warning("the database does not answer", error=error.message)


async def stand_by(store: PostgresStore, *, node: str) -> None:
    """Wait until no other gateway leads, then lead. One that hangs, or is cut off, for `STALL` seconds is put out."""
    roll = Roll(store.url, node=node)
    is_open = False
    since = monotonic()
    _log.info("standing by", node=node)
    try:
        while True:
            try:
                await asyncio.to_thread(store.hold, name=node)
                return
            except Conflict:
                pass
            except StorageError as error:
                since = monotonic()
                _log.warning("standing by; the database does not answer", error=error.message)
            try:
                if not is_open:
                    await roll.open(make=False)
                    is_open = True
                living = {name.partition(".")[0] for name in await roll.living()}
                # A database that was away makes everybody look silent: first the leader may be heard again.
                if monotonic() - since > STALL and await asyncio.to_thread(
                    store.depose, living=living, silent_for=STALL
                ):
                    _log.warning("the gateway that led does not answer and is put out")
                    continue
            except (TawnyError, exceptions.ProcrastinateException) as error:
                since = monotonic()
                _log.info("standing by", error=str(error))
            await asyncio.sleep(1.0)
    finally:
        await roll.close()


class Names:
    """The names of this process on the roll: the home's, and a number that is new with every start."""

    def __init__(self, node: str, boot: str) -> None:
        self._node = node
        self._boot = boot
        self._lives = 0

    def next(self) -> str:
        """A name nobody has had."""
        self._lives += 1
        return f"{self._node}.{self._boot}" + (f".{self._lives}" if self._lives > 1 else "")


class Shared:
    """A team on a PostgreSQL: one gateway leads, others stand by, workers share the background tasks."""

    def __init__(self, store: PostgresStore, *, node: str, boot: str, member: Member) -> None:
        """`node` names the home, `boot` this start of it."""
        leadership = Leadership(store)
        self._store = store
        self._node = node
        self._names = Names(node, boot)
        self._member = member
        self.worker = self._names.next()
        self.lost = leadership.lost
        self.parts: tuple[Part, ...] = (leadership,)

    async def join(self) -> None:
        """Lead, or wait for it; a worker just comes along."""
        if not self._member.leads:
            return
        if self._member.standby:
            await stand_by(self._store, node=self._node)
        else:
            self._store.hold(name=self._node)

    def dispatcher(self, local: LocalDispatcher, ledger: Ledger) -> ProcrastinateDispatcher:
        """Shares the work by the roll."""
        return ProcrastinateDispatcher(
            local,
            ledger,
            Roll(self._store.url, node=self._node),
            node=self._node,
            names=self._names,
            member=self._member,
        )

    def leave(self) -> None:
        """Make way for another gateway."""
        self._store.let_go()
