"""systemd: a unit of the user's own, with lingering so that it outlives the session."""

from pathlib import Path

from tawny.service.manager import Run, Service, must


class Systemd:
    """The user's systemd. `folder` is where user units live."""

    def __init__(self, run: Run, *, folder: Path, user: str) -> None:
        self._run = run
        self._folder = folder
        self._user = user

    def file(self, service: Service) -> Path:
        return self._folder / f"{service.name}.service"

    def text(self, service: Service) -> str:
        """`KillMode=process` and `Delegate=yes`: commands under their supervisors outlive a restart of the gateway."""
        return "\n".join(
            [
                "[Unit]",
                "Description=Tawny, an always-on personal assistant",
                "After=network-online.target",
                "StartLimitIntervalSec=15min",
                "StartLimitBurst=10",
                "",
                "[Service]",
                f"ExecStart={' '.join(_quoted(part) for part in service.argv)}",
                f"WorkingDirectory={_escaped(str(service.home))}",
                "Restart=always",
                "RestartSec=2",
                "TimeoutStopSec=30",
                "KillMode=process",
                "Delegate=yes",
                "UMask=0077",
                "",
                "[Install]",
                "WantedBy=default.target",
                "",
            ]
        )

    def install(self, service: Service) -> list[str]:
        path = self.file(service)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(service), encoding="utf-8")
        done = [f"wrote {path}"]
        must(self._run, ["systemctl", "--user", "daemon-reload"])
        must(self._run, ["systemctl", "--user", "enable", "--now", service.name])
        done.append("enabled and started it")
        code, _ = self._run(["loginctl", "enable-linger", self._user])
        if code == 0:
            done.append("it goes on when you log out")
        else:
            done.append(f"it stops when you log out; 'sudo loginctl enable-linger {self._user}' changes that")
        return done

    def uninstall(self, service: Service) -> list[str]:
        self._run(["systemctl", "--user", "disable", "--now", service.name])
        path = self.file(service)
        if not path.exists():
            return ["there was no service"]
        path.unlink()
        must(self._run, ["systemctl", "--user", "daemon-reload"])
        return [f"stopped it and removed {path}; the home stays"]

    def order(self, verb: str, service: Service) -> str:
        if verb == "status":
            _, output = self._run(["systemctl", "--user", "--no-pager", "status", service.name])
            return output.strip()
        must(self._run, ["systemctl", "--user", verb, service.name])
        return f"{service.name}: {verb} done"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    escaped = _escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if any(char in escaped for char in ' "\t;') or not escaped else escaped
