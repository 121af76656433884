"""What is remembered: plain notes in the workspace (`MEMORY.md`, `memory/*.md`), and an index to find them by.

The notes are the truth; the index (SQLite FTS5, trigrams, so that any language and any part of a word is found) is
made from them and may be deleted at any time.
"""

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import msgspec

_FILES = ("MEMORY.md",)
_FOLDER = "memory"
_MAX_FILE = 2_000_000
_SHORTEST = 3
"""Trigrams find nothing shorter; such words are looked for one by one."""
_SECTION, _SECTION_LINES = 1000, 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS notes USING fts5(path UNINDEXED, line UNINDEXED, text, tokenize = 'trigram');
"""


class Entry(Protocol):
    """One entry of a folder (`paths.Entry`)."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def modified(self) -> float: ...


class Files(Protocol):
    """The workspace, from which nothing leads outside (`paths.Root`)."""

    def read(self, path: str, *, limit: int | None = None) -> bytes: ...

    def append(self, path: str, data: bytes) -> None: ...

    def entries(self, path: str = ".") -> Sequence[Entry]: ...

    def stat(self, path: str) -> Entry: ...

    def exists(self, path: str) -> bool: ...


class Found(msgspec.Struct, frozen=True):
    """A note that was found: its file (relative to the workspace), line from 1, and text; best first."""

    file: str
    line: int
    text: str
    score: float


class Notes:
    """The notes of one workspace. Blocking: call it off the loop."""

    def __init__(self, workspace: Files, index: Path) -> None:
        self._root = workspace
        self._index = index
        self._lock = threading.Lock()

    def save(self, text: str, *, day: str, time: str, source: str = "") -> str:
        """Add a note to the day's file, once: the same text on the same day is there already. The file's path."""
        path = f"{_FOLDER}/{day}.md"
        plain = " ".join(text.split())
        origin = f" ({source})" if source else ""
        with self._lock:
            held = self._root.read(path).decode("utf-8", errors="replace") if self._root.exists(path) else ""
            if any(line.partition(" – ")[2].startswith(plain) for line in held.splitlines()):
                return path
            head = "" if held else f"# {day}\n\n"
            gap = "" if not held or held.endswith("\n") else "\n"
            self._root.append(path, f"{gap}{head}- {time} – {plain}{origin}\n".encode())
        return path

    def search(self, query: str, *, limit: int = 10) -> list[Found]:
        """Notes with all words of the query, then those with any of them; the best first.

        A heading that has them brings what stands under it: a result that was saved stands under its title.
        """
        words = query.replace("\0", " ").split()
        if not words:
            return []
        with self._lock, closing(self._current()) as index:
            found = _match(index, words, " AND ", limit)
            if len(found) < limit and len(words) > 1:
                known = {(one.file, one.line) for one in found}
                more = _match(index, words, " OR ", limit)
                found += [one for one in more if (one.file, one.line) not in known]
            return [_whole(index, one) for one in found[:limit]]

    def all(self, *, limit: int = 100) -> list[Found]:
        """The notes as they stand: MEMORY.md, then day by day, the last day first. Headings are left out."""
        with self._lock, closing(self._current()) as index:
            rows = index.execute(
                "SELECT path, line, text FROM notes WHERE text NOT LIKE '#%'"
                " ORDER BY path <> 'MEMORY.md', path DESC, line LIMIT ?",
                (limit,),
            )
            return [Found(file=path, line=int(line), text=text, score=0.0) for path, line, text in rows]

    def _current(self) -> sqlite3.Connection:
        """The index, true to the notes; where it cannot be written (no room, no leave), one in memory for this once."""
        try:
            index = self._open()
        except (sqlite3.Error, OSError):
            return self._in_memory()
        try:
            self._refresh(index)
        except sqlite3.Error:
            index.close()
            return self._in_memory()
        return index

    def _in_memory(self) -> sqlite3.Connection:
        index = _connected(":memory:")
        self._refresh(index)
        return index

    def _open(self) -> sqlite3.Connection:
        self._index.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connected(self._index)
        except sqlite3.DatabaseError:
            # It is only an index: a damaged one is made anew.
            self._index.unlink(missing_ok=True)
            return _connected(self._index)

    def _refresh(self, index: sqlite3.Connection) -> None:
        """Read again what has changed since."""
        known: dict[str, str] = dict(index.execute("SELECT path, stamp FROM files").fetchall())
        present: dict[str, str] = {}
        for path in self._paths():
            entry = self._root.stat(path)
            present[path] = f"{entry.modified}:{entry.size}"
        for path in known.keys() - present.keys():
            _forget(index, path)
        for path, stamp in present.items():
            if known.get(path) != stamp:
                _forget(index, path)
                text = self._root.read(path, limit=_MAX_FILE).decode("utf-8", errors="replace")
                index.executemany(
                    "INSERT INTO notes (path, line, text) VALUES (?, ?, ?)",
                    [
                        (path, n, line)
                        for n, line in enumerate(text.splitlines(), start=1)
                        if line.strip("# \t-")
                    ],
                )
                index.execute("INSERT INTO files (path, stamp) VALUES (?, ?)", (path, stamp))
        index.commit()

    def _paths(self) -> list[str]:
        found = [name for name in _FILES if self._root.exists(name)]
        if self._root.exists(_FOLDER):
            names = [entry.name for entry in self._root.entries(_FOLDER) if entry.kind == "file"]
            found += [f"{_FOLDER}/{name}" for name in names if name.endswith(".md")]
        return found


def _connected(path: Path | str) -> sqlite3.Connection:
    index = sqlite3.connect(path)
    try:
        index.executescript(_SCHEMA)
    except BaseException:
        index.close()
        raise
    return index


def _forget(index: sqlite3.Connection, path: str) -> None:
    index.execute("DELETE FROM notes WHERE path = ?", (path,))
    index.execute("DELETE FROM files WHERE path = ?", (path,))


def _match(index: sqlite3.Connection, words: list[str], joint: str, limit: int) -> list[Found]:
    long = [word for word in words if len(word) >= _SHORTEST]
    short = [word for word in words if len(word) < _SHORTEST]
    conditions: list[str] = []
    values: list[str | int] = []
    rank = "0"
    if long:
        conditions.append("notes MATCH ?")
        values.append(joint.join('"' + word.replace('"', '""') + '"' for word in long))
        rank = "bm25(notes)"
    if short and (joint == " AND " or not long):
        likes = [r"text LIKE ? ESCAPE '\'" for _ in short]
        conditions.append("(" + joint.join(likes) + ")")
        values += [f"%{_escaped(word)}%" for word in short]
    rows = index.execute(
        f"SELECT path, line, text, {rank} AS score FROM notes WHERE {' AND '.join(conditions)}"
        " ORDER BY score, path DESC, line DESC LIMIT ?",
        [*values, limit],
    ).fetchall()
    return [Found(path, int(line), text.strip(), -float(score)) for path, line, text, score in rows]


def _whole(index: sqlite3.Connection, found: Found) -> Found:
    """A heading with the lines up to the next one, in so many characters; any other line as it is."""
    if not found.text.startswith("##"):
        return found
    text = found.text
    below = index.execute(
        "SELECT text FROM notes WHERE path = ? AND line > ? ORDER BY line LIMIT ?",
        (found.file, found.line, _SECTION_LINES),
    )
    for (line,) in below:
        if line.startswith("#") or len(text) > _SECTION:
            break
        text += f"\n{line.strip()}"
    return msgspec.structs.replace(found, text=text[:_SECTION])


def _escaped(word: str) -> str:
    return word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
