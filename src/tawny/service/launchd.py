"""launchd: an agent of the user's own."""

import plistlib
from pathlib import Path

from tawny.errors import InvalidInput
from tawny.service.manager import Run, Service, must


class Launchd:
    """The user's launchd. `folder` is `~/Library/LaunchAgents`, `domain` such as `gui/501`."""

    def __init__(self, run: Run, *, folder: Path, domain: str) -> None:
        self._run = run
        self._folder = folder
        self._domain = domain

    def file(self, service: Service) -> Path:
        return self._folder / f"{self._label(service)}.plist"

    def text(self, service: Service) -> str:
        """`AbandonProcessGroup`: commands under their supervisors outlive a restart of the gateway.

        It is kept alive unless it ended in order (exit code 0): with a plain `KeepAlive`, `stop` would start it anew.
        """
        document = {
            "Label": self._label(service),
            "ProgramArguments": list(service.argv),
            "WorkingDirectory": str(service.home),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 2,
            "AbandonProcessGroup": True,
            "Umask": 0o077,
            "StandardErrorPath": str(service.home / "logs" / "launchd.log"),
        }
        return plistlib.dumps(document, sort_keys=True).decode()

    def install(self, service: Service) -> list[str]:
        path = self.file(service)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(service), encoding="utf-8")
        self._run(["launchctl", "bootout", f"{self._domain}/{self._label(service)}"])
        must(self._run, ["launchctl", "bootstrap", self._domain, str(path)])
        return [f"wrote {path}", "loaded and started it"]

    def uninstall(self, service: Service) -> list[str]:
        self._run(["launchctl", "bootout", f"{self._domain}/{self._label(service)}"])
        path = self.file(service)
        if not path.exists():
            return ["there was no service"]
        path.unlink()
        return [f"stopped it and removed {path}; the home stays"]

    def order(self, verb: str, service: Service) -> str:
        target = f"{self._domain}/{self._label(service)}"
        if verb == "status":
            _, output = self._run(["launchctl", "print", target])
            return output.strip()
        orders = {
            "start": ["launchctl", "kickstart", target],
            "stop": ["launchctl", "kill", "SIGTERM", target],
            "restart": ["launchctl", "kickstart", "-k", target],
        }
        if verb not in orders:
            raise InvalidInput(f"{verb!r} is no order", hint="one of start, stop, restart, status")
        must(self._run, orders[verb])
        return f"{self._label(service)}: {verb} done"

    @staticmethod
    def _label(service: Service) -> str:
        return f"org.{service.name}.gateway"
