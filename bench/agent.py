"""How fast a chat is: a real gateway on disk (FULL), an OpenAI-compatible server at 0 ms, messages over HTTP.

    python bench/agent.py [--save]

One session of 100 turns (message to reply, p50 and p95, first and last twenty), twenty sessions at once (messages a
second), memory after that, the time from exec to the first reply, and the gateway's CPU time a message in both. Each
figure stands beside what is asked of it. A start before the measured one compiles the modules, as an installer does.
"""

import argparse
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

TURNS, SESSIONS, EACH = 100, 20, 15
ASKED = {
    "first_reply_s": "< 1.5",
    "p50_ms": "< 15",
    "p95_ms": "< 40",
    "messages_per_s_20_sessions": ">= 100",
    "rss_mb_after": "< 140",
    "last20_over_first20": "about 1",
}
# The interpreter's own cache of compiled modules is what every installation has.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def start(*command: str, until: str) -> tuple[subprocess.Popen[str], str]:
    """A process, once it has printed a line that begins with `until`; the rest of that line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(until):
            return process, line.removeprefix(until).strip()
    raise RuntimeError(f"{command} ended")


class Client:
    def __init__(self, port: int, token: str) -> None:
        self._to = port, token
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def another(self) -> "Client":
        """A client of the same gateway with a connection of its own."""
        return Client(*self._to)

    def say(self, session: str, text: str) -> float:
        """Seconds from the message to its reply."""
        started = time.perf_counter()
        body = json.dumps({"text": text, "wait": True})
        self._connection.request("POST", f"/v1/sessions/{session}/messages", body, self._headers)
        answer = json.loads(self._connection.getresponse().read())
        elapsed = time.perf_counter() - started
        assert answer.get("text") == f"echo: {text}", answer
        return elapsed


def memory(pid: int) -> float:
    """Resident megabytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def cpu(pid: int) -> float:
    """Milliseconds of CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def gateway(home: Path) -> tuple[subprocess.Popen[str], Client]:
    """A gateway on a home, ready, and a client of it."""
    process, address = start(
        sys.executable, "-m", "tawny", "gateway", "run", "--home", str(home), "--port", "0", until="ready "
    )
    return process, Client(int(address.rpartition(":")[2]), (home / "token").read_text().strip())


def measure(root: Path) -> dict[str, float]:
    provider, url = start(
        sys.executable, "-W", "ignore::RuntimeWarning", "-m", "tawny.testing.provider", until="http"
    )
    for name in ("compile", "home"):
        (root / name).mkdir()
        (root / name / "config.toml").write_text(f'[model]\nname = "openai:fake"\nbase_url = "http{url}"\n')
    process, client = gateway(root / "compile")
    client.say("compile", "hello")
    process.terminate()
    process.wait(10)
    home = root / "home"
    began = time.perf_counter()
    process, client = gateway(home)
    ready = time.perf_counter() - began
    try:
        client.say("first", "hello")
        first = time.perf_counter() - began
        for n in range(5):
            client.say("warm", f"warm {n}")
        spent = cpu(process.pid)
        alone = [client.say("main", f"message {n}") for n in range(TURNS)]
        spent_alone = cpu(process.pid) - spent

        def crowd(k: int) -> None:
            mine = client.another()
            for n in range(EACH):
                mine.say(f"s{k}", f"message {n}")

        threads = [threading.Thread(target=crowd, args=(k,)) for k in range(SESSIONS)]
        spent = cpu(process.pid)
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = SESSIONS * EACH / (time.perf_counter() - started)
        spent_crowd = cpu(process.pid) - spent
        return {
            "ready_s": ready,
            "first_reply_s": first,
            "p50_ms": quantile(alone, 0.5) * 1000,
            "p95_ms": quantile(alone, 0.95) * 1000,
            "first20_ms": sum(alone[:20]) / 20 * 1000,
            "last20_ms": sum(alone[-20:]) / 20 * 1000,
            "last20_over_first20": sum(alone[-20:]) / sum(alone[:20]),
            "cpu_ms_a_message": spent_alone / TURNS,
            "cpu_ms_a_message_20_sessions": spent_crowd / (SESSIONS * EACH),
            "messages_per_s_20_sessions": rate,
            "rss_mb_after": memory(process.pid),
            "messages": TURNS + SESSIONS * EACH + 6,
        }
    finally:
        process.terminate()
        provider.kill()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="write the figures to bench/results/agent.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as root:
        figures = {name: round(value, 2) for name, value in measure(Path(root)).items()}
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": os.getloadavg()[0],
        **figures,
        "asked": ASKED,
    }
    print(json.dumps(document, indent=1))
    if args.save:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / "agent.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
