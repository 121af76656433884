"""The world outside, for the crash proof: a sink that writes down every request it got, and kills on demand.

It runs as a process of its own, so its log is nobody's but its own. The checker reads that log and never our tables.
"""

import contextlib
import http.server
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


class World(http.server.BaseHTTPRequestHandler):
    """Answers POSTs with 200 after writing a line; `kill` in the control file names the request after which to kill."""

    log: Path
    control: Path
    seen = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        entry = {
            "path": self.path,
            "key": self.headers.get("idempotency-key") or self.headers.get("webhook-id"),
            "body": body.decode("utf-8", "replace"),
        }
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._kill_if_asked()
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    def _kill_if_asked(self) -> None:
        """The effect has happened and nobody will hear of it: the process dies before the answer."""
        try:
            wanted: dict[str, Any] = json.loads(self.control.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        World.seen += 1
        if World.seen == wanted.get("request"):
            os.kill(int(wanted["pid"]), signal.SIGKILL)
            self.control.unlink(missing_ok=True)
            World.seen = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the log that counts is the file."""


def main() -> None:
    """Serve on a free port, printed on stdout, until the parent closes our stdin."""
    World.log, World.control = Path(sys.argv[1]), Path(sys.argv[2])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), World)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
