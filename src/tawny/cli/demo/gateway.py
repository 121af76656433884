"""The demo's gateway: a real child process, started, asked over HTTP, and killed without warning."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from threading import Event, Thread
from typing import Any

import httpx

from tawny.cli.demo.timelapse import TimelapseClock
from tawny.clock import stopwatch
from tawny.config import Home
from tawny.errors import TawnyError

_START = 30.0


class GatewayProcess:
    """What `tawny gateway run` runs, on the demo's home and on a clock that can be moved on."""

    def __init__(self, home: Home, port: int) -> None:
        self._home = home
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.panel = ""
        self._process: subprocess.Popen[str] | None = None
        self._http = httpx.Client(base_url=self.address, timeout=10, trust_env=False)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self) -> float:
        """Start it; the seconds until it accepted work.

        Raises:
            TawnyError: it ended, or was not ready in time.
        """
        since = stopwatch()
        argv = [sys.executable, "-m", TimelapseClock.__module__, str(self._home.root), str(self.port)]
        # It gets its own group: Ctrl-C in the terminal is for the show, which then ends it in order.
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        process = self._process
        assert process.stdout is not None
        lines: list[str] = []
        settled = Event()

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.strip())
                if line.startswith("panel "):
                    settled.set()
            settled.set()

        Thread(target=listen, daemon=True).start()
        settled.wait(_START)
        panel = next((line.removeprefix("panel ") for line in lines if line.startswith("panel ")), None)
        if panel is None:
            process.kill()
            said = process.stderr.read().strip() if process.stderr is not None else ""
            self.stop()
            raise TawnyError(f"the gateway did not start: {said[-500:] or 'no word from it'}")
        took = since()
        self.panel = panel
        token = self._home.token_file.read_text(encoding="utf-8").strip()
        self._http.headers["authorization"] = f"Bearer {token}"
        return took

    def forward(self, duration: str) -> None:
        """Move its clock on by a duration like `6h`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"forward {duration}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL: no goodbye, no clean-up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def stop(self) -> None:
        """End it in order."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close_pipes()

    def close(self) -> None:
        """End it, and the connection to it."""
        self.stop()
        self._http.close()

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """What a GET answers.

        Raises:
            TawnyError: an error, in the gateway's own words.
        """
        return self._answer(self._http.get(path, params=params))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a POST answers.

        Raises:
            TawnyError: an error, in the gateway's own words.
        """
        return self._answer(self._http.post(path, json=body))

    def _answer(self, answer: httpx.Response) -> dict[str, Any]:
        document: dict[str, Any] = answer.json() if answer.content else {}
        if answer.is_error:
            said = document.get("error", {})
            raise TawnyError(f"{answer.request.url.path}: {said.get('message', answer.status_code)}")
        return document

    def _close_pipes(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
