"""What a watch may look at: a page or an API, a feed, a calendar, a file, or the result of any kind of task."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tawny.clock import MINUTE, Clock, iso, parse_duration
from tawny.domain import heartbeat, zones
from tawny.domain.network import parse_url
from tawny.domain.origin import OWNER
from tawny.domain.tasks import Json, Notify, Origin, Runtime, Status, Submission
from tawny.engine.probes import File, Heartbeat, Named, Page, Work, read
from tawny.errors import NotFound, PermanentError, Refused, TawnyError, TemporaryError
from tawny.ledger import inbox, tasks
from tawny.ledger.automations import Automation
from tawny.ledger.database import Ledger
from tawny.ledger.submission import submit
from tawny.paths import Root
from tawny.sources.place import FeedQuery, PickQuery
from tawny.sources.shelf import Shelf

if TYPE_CHECKING:
    from tawny.sandbox.egress import Egress

Fields = Mapping[str, Json]
_MOST = 2_000_000
_MOST_SYSTEM_EVENTS = 100


class Prober:
    """Reads for watches."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, egress: "Callable[[], Egress]", shelf: Shelf, workspace: Path
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._egress = egress
        self._shelf = shelf
        self._workspace = workspace

    async def probe(self, automation: Automation, given: Fields) -> Json:
        """What is seen now.

        Raises:
            TawnyError: it does not answer, or nothing is there.
        """
        wanted = read(given)
        if isinstance(wanted, Page):
            return await self._page(wanted)
        if isinstance(wanted, Named):
            return await (self._feed(wanted) if wanted.type == "feed" else self._calendar(wanted))
        if isinstance(wanted, File):
            return await asyncio.to_thread(self._file, wanted.path, automation.origin)
        if isinstance(wanted, Heartbeat):
            return await self._heartbeat(automation, wanted)
        return await self._work(automation, wanted)

    async def _page(self, page: Page) -> Json:
        got = await self._egress().fetch("GET", page.url, headers=page.headers, max_body=_MOST)
        where = parse_url(page.url).authority
        if got.status >= 400:
            failure = TemporaryError if got.status >= 500 or got.status == 429 else PermanentError
            raise failure(f"{where} answered {got.status}")
        query = PickQuery(
            body=got.body,
            charset=got.headers.get("content-type", "").partition("charset=")[2].strip("\"' ;"),
            css=page.css,
            attribute=page.attribute,
            xpath=page.xpath,
            jsonpath=page.jsonpath,
            ldjson=page.ldjson,
            regex=page.regex,
            price=page.price,
            all=page.all,
        )
        return await self._shelf.pick(where, query)

    async def _feed(self, wanted: Named) -> Json:
        reading = await self._shelf.feed(wanted.name, FeedQuery(limit=20))
        entries = [msgspec.to_builtins(entry) for entry in reading.items]
        if not entries:
            return {"value": None, "entries": []}
        newest: dict[str, Json] = entries[0]
        return {**newest, "value": newest.get("link") or newest.get("title"), "entries": entries}

    async def _calendar(self, wanted: Named) -> Json:
        now = self._clock.now()
        reading = await self._shelf.calendar(wanted.name, now, now + parse_duration(wanted.within))
        found = [msgspec.to_builtins(event) for event in reading.items]
        return {"value": len(found), "events": found}

    def _file(self, path: str, made: Origin) -> Json:
        place = Path(os.path.normpath(self._workspace / path))
        folder = self._workspace
        if not place.is_relative_to(folder):
            if not (made.by == OWNER and made.trusted and os.path.isabs(path)):
                raise Refused(f"{path} lies outside of the workspace", hint="add the watch by your own hand")
            folder = place.parent
        try:
            # A command may have put a link there; what it points to is another file.
            with Root(folder).open(str(place.relative_to(folder))) as file:
                facts, content = os.fstat(file.fileno()), file.read(_MOST)
        except (NotFound, FileNotFoundError):
            return {"value": None, "exists": False}
        except (OSError, PermanentError) as error:
            raise TemporaryError(f"{path}: {error}") from error
        return {
            "value": hashlib.sha256(content).hexdigest(),
            "exists": True,
            "size": facts.st_size,
            "changed_at": iso(facts.st_mtime_ns // 1000),
            "text": content.decode("utf-8", "replace")[:20_000],
        }

    async def _heartbeat(self, automation: Automation, wanted: Heartbeat) -> Json:
        """The free check: `value` changes when the file does, a line of it falls due, or a system event comes.

        An event is told to one run: `baseline` is what the last one saw. Where nothing is left, `value` is empty.
        """
        zone = zones.load(automation.spec.timezone)
        today = zones.wall(self._clock.now(), zone).date().isoformat()
        try:
            text = (await asyncio.to_thread(Root(self._workspace).read, wanted.file, limit=_MOST)).decode()
        except (OSError, TawnyError, UnicodeDecodeError):
            text = ""
        lines = heartbeat.due(text, today)
        pending = await self._ledger.read(
            lambda tx: inbox.page(tx, source="system", limit=_MOST_SYSTEM_EVENTS)
        )
        told = [
            (event.seq, event.received_at, str(event.data.get("text", "")))
            for event in reversed(pending.items)
        ]
        before = heartbeat.seen(str(automation.state.get("baseline", "")))
        said = [(number, words) for number, words in heartbeat.fresh(told) if number > before][-20:]
        newest = said[-1][0] if said else before
        text = "\n".join([*lines, *(words for _, words in said)])
        return {"value": heartbeat.mark(lines, newest) if text else "", "text": text}

    async def _work(self, automation: Automation, wanted: Work) -> Json:
        """Run it as a task that no listing shows; its result is what is seen."""
        submission = Submission(
            kind=wanted.type,
            params=wanted.parameters,
            title=f"Probe of {automation.name}",
            runtime=Runtime.CRON,
            notify=Notify.SILENT,
            owner=automation.owner,
            detached=False,
            timeout=5 * MINUTE,
            origin=Origin(by="automation", via="schedule", trusted=automation.origin.trusted),
        )
        ended = self._ledger.bell.subscribe("ended")
        try:
            task = await self._ledger.write(
                lambda tx: submit(tx, submission, actor=f"automation:{automation.automation_id}")
            )
            task_id = task.task_id
            while not task.status.is_terminal:
                await ended.wait()
                ended.clear()
                task = await self._ledger.read(lambda tx: tasks.get(tx, task_id))
        finally:
            self._ledger.bell.unsubscribe(ended)
        if task.status is not Status.SUCCEEDED:
            raise TemporaryError(task.error.message if task.error else f"the probe ended {task.status}")
        return _part(dict(task.result or {}), wanted.key)


def _part(result: dict[str, Json], key: str) -> Json:
    value: Any = result
    if not key:
        text = str(result.get("text") or result.get("stdout") or "").strip()
        return {**result, "value": _number(text)}
    for name in key.split("."):
        value = cast("Fields", value).get(name) if isinstance(value, Mapping) else None
    return value


def _number(text: str) -> Json:
    try:
        return float(text)
    except ValueError:
        return text
