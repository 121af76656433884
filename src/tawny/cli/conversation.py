"""The conversation at a terminal, through the gateway: answers while they are made, questions, what comes by itself."""

import readline
import sys
import threading
from collections.abc import Callable
from typing import Any

from tawny.cli.complaint import complain
from tawny.cli.remote import Remote
from tawny.domain.display import visible
from tawny.errors import TawnyError

PROMPT = "> "
_OVER = frozenset({"task.failed", "task.timed_out", "task.cancelled", "task.lost"})
_CHOICES = {"1": ("approve", False), "2": ("approve", True), "3": ("deny", False)}

Ask = Callable[[str], str]
"""Reads a line after a prompt; `EOFError` at the end of input."""


class Conversation:
    """One session at one terminal. While an answer is made the terminal shows it; else it waits for words.

    What comes meanwhile (a result from the background, a reminder) is written above the line that is being typed.
    """

    def __init__(self, gateway: Remote, session: str, *, ask: Ask = input) -> None:
        self._gateway = gateway
        self._session = session
        self._ask = ask
        self._lock = threading.RLock()
        self._mine = ""
        """The run whose answer the terminal waits for."""
        self._over = threading.Event()
        self._streamed = False
        self._typing = False
        self._questions: list[str] = []

    def run(self) -> int:
        """Until the end of input; 0."""
        print(f"Session {self._session}. /help for commands, Ctrl-D to leave.")
        listening = threading.Event()
        threading.Thread(target=self._listen, args=(listening,), daemon=True).start()
        listening.wait(5)
        while True:
            try:
                line = self._read()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                print()
                continue
            if line.strip():
                self._take(line.strip())

    def _read(self) -> str:
        with self._lock:
            self._typing = True
        try:
            return self._ask(PROMPT)
        finally:
            with self._lock:
                self._typing = False

    def _take(self, line: str) -> None:
        try:
            if self._questions and line in _CHOICES:
                self._answer(*_CHOICES[line])
            else:
                self._say(line)
        except TawnyError as error:
            complain(error.message, error.hint)

    def _say(self, text: str) -> None:
        self._over.clear()
        with self._lock:
            self._mine, self._streamed = "?", False
        try:
            answer = self._gateway.say(self._session, text)
        except TawnyError:
            self._mine = ""
            raise
        if answer.get("text"):
            self._mine = ""  # answered already: the stream brings the words
            return
        with self._lock:
            if self._mine == "?":
                self._mine = str(answer.get("run_id") or "")
        self._hold()

    def _answer(self, verb: str, always: bool) -> None:  # noqa: FBT001
        approval = self._questions.pop(0)
        body = {"always": True} if always else {}
        self._gateway.ask("POST", f"/v1/approvals/{approval}/{verb}", body)
        print("Yes, it goes on." if verb == "approve" else "No, it is told so.")

    def _hold(self) -> None:
        """Until the answer is there, or somebody is asked something; Ctrl-C gives the line back, the turn goes on."""
        try:
            self._over.wait()
        except KeyboardInterrupt:
            print("\n(It goes on; the answer comes here.)")
        with self._lock:
            self._mine = ""

    # --- what comes

    def _listen(self, listening: threading.Event) -> None:
        after: int | None = None
        while True:
            try:
                for event in self._gateway.stream(after, opened=listening.set):
                    after = event.get("seq") or after
                    self._hear(event)
            except TawnyError as error:
                with self._lock:
                    self._show(f"({error.message}; trying again)")
                    self._over.set()
            if threading.Event().wait(2):
                return

    def _hear(self, event: dict[str, Any]) -> None:
        data: dict[str, Any] = event.get("data") or {}
        kind = event["type"]
        with self._lock:
            if kind == "approval.requested":
                self._question(data)
            elif kind in ("approval.answered", "approval.expired"):
                if data.get("approval_id") in self._questions:
                    self._questions.remove(data["approval_id"])
            elif event.get("session") != self._session:
                return
            elif kind == "message.delta":
                self._delta(data)
            elif kind == "message.sent":
                self._sent(data)
            elif kind in _OVER and self._is_mine(str(event.get("task_id"))):
                self._over.set()

    def _is_mine(self, run_id: str) -> bool:
        if self._mine == "?":
            # Its beginning has overtaken the answer to our request.
            self._mine = run_id
        return bool(self._mine) and run_id == self._mine

    def _delta(self, data: dict[str, Any]) -> None:
        if not self._is_mine(str(data.get("run_id"))):
            return
        text = visible(str(data.get("text", "")))
        if data.get("kind") == "tool":
            self._write(f"\n· {text}\n" if self._streamed else f"· {text}\n")
        elif data.get("kind") == "void":
            if self._streamed:
                self._write("\n(once more)\n")
        else:
            self._write(text)
            self._streamed = True

    def _sent(self, data: dict[str, Any]) -> None:
        if data.get("role", "assistant") != "assistant":
            return
        text = visible(str(data.get("text", "")).strip())
        if self._is_mine(str(data.get("run_id"))):
            self._write("\n" if self._streamed else f"{text}\n")
            self._over.set()
        else:
            self._show(text)

    def _question(self, data: dict[str, Any]) -> None:
        self._questions.append(str(data["approval_id"]))
        asked = visible(str(data.get("arguments")))
        self._show(
            f"? {visible(str(data.get('operation')))} {asked}\n  {visible(str(data.get('reason')))}\n"
            "  1 yes, once · 2 yes, always for exactly this · 3 no"
        )
        self._over.set()

    def _show(self, text: str) -> None:
        """Write above the line that is being typed."""
        if not self._typing:
            self._write(("\n" if self._streamed and self._mine else "") + text + "\n")
            return
        self._write(f"\r\x1b[K{text}\n{PROMPT}{readline.get_line_buffer()}")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
