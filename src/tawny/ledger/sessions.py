"""Conversations in the ledger: sessions, append-only transcripts, notes for the next turn."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.origin import to_remember
from tawny.domain.tasks import Json, Origin
from tawny.errors import NotFound
from tawny.ids import new_id
from tawny.ledger import events
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import Page, position, to_json

_decode = msgspec.json.Decoder().decode


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation. Entries up to `starts_after` are not shown to the model; `summary` stands for them."""

    session: str
    agent: str
    title: str
    channel: str
    address: str
    thread: str
    parent: str | None
    depth: int
    settings: dict[str, Json]
    starts_after: int
    summary: str
    entries: int
    created_at: Instant
    updated_at: Instant

    def document(self) -> dict[str, Any]:
        """The session as on the wire."""
        return {
            "key": self.session,
            "title": self.title,
            "agent": self.agent,
            "channel": self.channel or None,
            "parent": self.parent,
            "messages": self.entries,
            "settings": self.settings,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a transcript: what a person reads, and the library's own form of it (JSON text)."""

    role: str
    text: str
    message: str = ""
    n: int = 0
    run_id: str = ""
    task_ids: list[str] = []
    time: Instant = 0

    def document(self) -> dict[str, Any]:
        """The entry as on the wire."""
        document: dict[str, Any] = {
            "message_id": str(self.n),
            "role": self.role,
            "text": self.text,
            "time": iso(self.time),
            "run_id": self.run_id,
            "task_ids": self.task_ids,
        }
        if self.role == "tool":
            name, _, result = self.text.partition("\n")
            document["tool"] = {"name": name, "result": result}
        return document


class Note(msgspec.Struct, frozen=True):
    """Something the session's next turn must know."""

    note_id: str
    text: str


def _session(row: Row) -> Session:
    fields = {name: row[name] for name in Session.__struct_fields__ if name != "settings"}
    return Session(**fields, settings=_decode(row["settings"]))


def _entry(row: Row) -> Entry:
    fields = {name: row[name] for name in Entry.__struct_fields__ if name != "task_ids"}
    return Entry(**fields, task_ids=_decode(row["task_ids"]))


def find(tx: Tx, session: str) -> Session | None:
    row = tx.one("SELECT * FROM sessions WHERE session = :session", session=session)
    return None if row is None else _session(row)


def get(tx: Tx, session: str) -> Session:
    """The session.

    Raises:
        NotFound: there is none of that key.
    """
    found = find(tx, session)
    if found is None:
        raise NotFound(f"there is no session {session!r}", hint="'tawny sessions list' shows what there is")
    return found


def ensure(
    tx: Tx,
    session: str,
    *,
    agent: str = "",
    title: str = "",
    channel: str = "",
    address: str = "",
    thread: str = "",
    parent: str | None = None,
    depth: int = 0,
) -> Session:
    """The session, begun if it is new. A `channel` given becomes the place where answers go."""
    row = tx.all(
        "INSERT INTO sessions (session, agent, title, channel, address, thread, parent, depth, settings,"
        " created_at, updated_at) VALUES (:session, :agent, :title, :channel, :address, :thread, :parent, :depth,"
        " '{}', :now, :now) ON CONFLICT (session) DO UPDATE SET updated_at = excluded.updated_at,"
        " channel = CASE WHEN excluded.channel = '' THEN sessions.channel ELSE excluded.channel END,"
        " address = CASE WHEN excluded.channel = '' THEN sessions.address ELSE excluded.address END,"
        " thread = CASE WHEN excluded.channel = '' THEN sessions.thread ELSE excluded.thread END RETURNING *",
        session=session,
        agent=agent,
        title=title,
        channel=channel,
        address=address,
        thread=thread,
        parent=parent,
        depth=depth,
        now=tx.now,
    )[0]
    return _session(row)


def page(tx: Tx, *, limit: int = 50, cursor: str | None = None) -> Page[Session]:
    """Sessions, the newest talk first."""
    condition, parameters = "", {}
    if cursor is not None:
        before, _, key = cursor.partition("~")
        condition = " WHERE updated_at < :before OR (updated_at = :before AND session < :key)"
        parameters = {"before": position(before), "key": key}
    rows = tx.all(
        f"SELECT * FROM sessions{condition} ORDER BY updated_at DESC, session DESC LIMIT :limit",
        limit=limit + 1,
        **parameters,
    )
    items = [_session(row) for row in rows[:limit]]
    more = f"{items[-1].updated_at}~{items[-1].session}" if len(rows) > limit else None
    return Page(items, more)


def set_setting(tx: Tx, session: str, name: str, value: Json) -> None:
    """Change one setting of a session (`model`, `queue`); `None` takes it away."""
    settings = {**get(tx, session).settings, name: value}
    kept = {key: held for key, held in settings.items() if held is not None}
    tx.execute(
        "UPDATE sessions SET settings = :settings WHERE session = :session",
        settings=to_json(kept),
        session=session,
    )


def remember_reading(tx: Tx, session: str, task_ids: Sequence[str]) -> None:
    """What these tasks have read stands in the session's history now: it counts for the turns after it."""
    for task_id in task_ids:
        row = tx.one("SELECT origin, title FROM tasks WHERE task_id = :id", id=task_id)
        if row is None:
            continue
        before = get(tx, session).settings.get("read")
        origin = msgspec.json.decode(row["origin"], type=Origin)
        kept = to_remember(before, origin, what=f"the result of {row['title']}"[:300])
        if kept and kept != before:
            set_setting(tx, session, "read", kept)


# --- the transcript


def append(tx: Tx, session: str, run_id: str, entries: Sequence[Entry], *, first: int = 0) -> int:
    """Append what a run has said, once: what is there from the same run and position stays. How many were new."""
    held = tx.value(
        "SELECT COUNT(*) AS n FROM transcript WHERE session = :session AND run_id = :run_id AND position >= :first",
        session=session,
        run_id=run_id,
        first=first,
    )
    if held or not entries:
        return 0
    last = int(
        tx.value(
            "UPDATE sessions SET entries = entries + :count, updated_at = :now WHERE session = :session"
            " RETURNING entries",
            count=len(entries),
            now=tx.now,
            session=session,
        )
    )
    start = last - len(entries)
    tx.execute_many(
        "INSERT INTO transcript (session, n, run_id, position, role, text, message, size, task_ids, time)"
        " VALUES (:session, :n, :run_id, :position, :role, :text, :message, :size, :task_ids, :now)",
        [
            {
                "session": session,
                "n": start + index + 1,
                "run_id": run_id,
                "position": first + index,
                "role": entry.role,
                "text": entry.text,
                "message": entry.message,
                "size": len(entry.message),
                "task_ids": to_json(entry.task_ids),
                "now": tx.now,
            }
            for index, entry in enumerate(entries)
        ],
    )
    return len(entries)


def entries(
    tx: Tx, session: str, *, after: int = 0, limit: int = 100_000, newest: bool = False
) -> list[Entry]:
    """The transcript after entry `after`, oldest first; with `newest` the last `limit` of it."""
    order = "DESC" if newest else "ASC"
    rows = tx.all(
        "SELECT n, run_id, role, text, message, task_ids, time FROM transcript WHERE session = :session AND n > :after"
        f" ORDER BY n {order} LIMIT :limit",
        session=session,
        after=after,
        limit=limit,
    )
    found = [_entry(row) for row in rows]
    return found[::-1] if newest else found


def of_run(tx: Tx, session: str, run_id: str) -> list[Entry]:
    """What a run has appended."""
    rows = tx.all(
        "SELECT n, run_id, role, text, message, task_ids, time FROM transcript WHERE session = :session"
        " AND run_id = :run_id ORDER BY position",
        session=session,
        run_id=run_id,
    )
    return [_entry(row) for row in rows]


def words(tx: Tx, session: str, *, after: int, limit: int = 20, chars: int = 8000) -> list[str]:
    """What the person has said in the session after an entry, newest first, about `chars` characters of it at most."""
    rows = tx.all(
        "SELECT text FROM transcript WHERE session = :session AND n > :after AND role = 'user'"
        " ORDER BY n DESC LIMIT :limit",
        session=session,
        after=after,
        limit=limit,
    )
    kept: list[str] = []
    for row in rows:
        chars -= len(row["text"])
        if chars < 0:
            break
        kept.append(row["text"])
    return kept


def reset(tx: Tx, session: str) -> Session:
    """Begin a new conversation: what was stays in the transcript, and is shown to the model no more."""
    set_setting(tx, session, "read", None)
    held = get(tx, session)
    return _starts(tx, held, held.entries, "")


def compact(tx: Tx, session: str, *, upto: int, summary: str) -> Session:
    """From now on `summary` stands for the entries up to `upto`; nothing is deleted."""
    return _starts(tx, get(tx, session), upto, summary)


def _starts(tx: Tx, held: Session, after: int, summary: str) -> Session:
    row = tx.all(
        "UPDATE sessions SET starts_after = :after, summary = :summary, updated_at = :now"
        " WHERE session = :session AND starts_after <= :after RETURNING *",
        after=after,
        summary=summary,
        now=tx.now,
        session=held.session,
    )
    return _session(row[0]) if row else held


def fork(tx: Tx, parent: str, child: str) -> None:
    """The child begins with what the model sees of the parent's conversation; once."""
    if get(tx, child).entries:
        return
    held = get(tx, parent)
    kept = entries(tx, parent, after=held.starts_after)
    append(tx, child, f"fork:{parent}", kept)
    tx.execute(
        "UPDATE sessions SET summary = :summary WHERE session = :child", summary=held.summary, child=child
    )
    if (read := held.settings.get("read")) is not None:
        set_setting(tx, child, "read", read)


# --- notes


def note(tx: Tx, session: str, text: str, *, task_id: str | None = None) -> None:
    """Leave something for the session's next turn to know."""
    tx.execute(
        "INSERT INTO session_notes (note_id, session, text, task_id, created_at)"
        " VALUES (:id, :session, :text, :task_id, :now)",
        id=new_id("note", tx.now),
        session=session,
        text=text,
        task_id=task_id,
        now=tx.now,
    )


def notes(tx: Tx, session: str, run_id: str, *, limit: int = 20) -> list[Note]:
    """What the run must know: notes nobody has taken, and those it took itself before a crash."""
    rows = tx.all(
        "SELECT note_id, text FROM session_notes WHERE session = :session"
        " AND (taken_by IS NULL OR taken_by = :run_id) ORDER BY note_id DESC LIMIT :limit",
        session=session,
        run_id=run_id,
        limit=limit,
    )
    return [Note(row["note_id"], row["text"]) for row in reversed(rows)]


def take_notes(tx: Tx, taken: Sequence[Note], run_id: str) -> None:
    for one in taken:
        tx.execute(
            "UPDATE session_notes SET taken_by = :run_id WHERE note_id = :note_id",
            run_id=run_id,
            note_id=one.note_id,
        )


RESULT_POSITION = 1000
"""Where in a run's entries its result stands that came after the turn was over (a background task's)."""


def assistant_message(text: str) -> str:
    """The library's form of something the assistant has said."""
    return to_json({"parts": [{"content": text, "part_kind": "text"}], "kind": "response"})


def user_message(text: str) -> str:
    """The library's form of something the person has said."""
    return to_json({"parts": [{"content": text, "part_kind": "user-prompt"}], "kind": "request"})


def tell(tx: Tx, session: str, text: str, *, run_id: str, task_ids: Sequence[str] = ()) -> bool:
    """Say something in a session that no turn of it says: a result, a reminder. Once per run; whether it was new."""
    ensure(tx, session)
    entry = Entry(role="assistant", text=text, message=assistant_message(text), task_ids=list(task_ids))
    if not append(tx, session, run_id, [entry], first=RESULT_POSITION):
        return False
    remember_reading(tx, session, task_ids)
    say(tx, session, text, run_id=run_id, task_ids=task_ids)
    return True


def say(
    tx: Tx, session: str, text: str, *, run_id: str, task_ids: Sequence[str] = (), role: str = "assistant"
) -> None:
    """Tell everybody who listens to the session what was said in it."""
    events.append(
        tx,
        "message.sent",
        {
            "session": session,
            "role": role,
            "run_id": run_id,
            "message_id": f"{run_id}:{tx.now}",
            "text": text,
            "task_ids": list(task_ids),
        },
        task_id=run_id if run_id.startswith("task_") else None,
        session=session,
    )
