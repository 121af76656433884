"""Docker or Podman, where it is wanted: no network, read-only, nothing privileged."""

import os
import shutil
import subprocess

import msgspec

from tawny.errors import Refused
from tawny.sandbox.order import MEGABYTE, Order, Wrapped, environment

_HOME = "/home/tawny"


class Container:
    """Runs an order in a container of `image`. It has no network at all: the list cannot be held there."""

    name = "container"

    def __init__(self, *, image: str, program: str | None = None) -> None:
        self._image = image
        self._program = program or shutil.which("podman") or shutil.which("docker") or ""

    def check(self) -> None:
        """Ask the engine for its version, and for the image.

        Raises:
            Refused: either is missing.
        """
        if not self._program:
            raise Refused(
                "the container sandbox needs Podman or Docker, and neither is installed",
                hint='install podman, or set [sandbox] backend = "auto"',
            )
        if not self._image:
            raise Refused("[sandbox] image is empty", hint="name an image, such as debian:stable-slim")
        command = [self._program, "image", "inspect", self._image]
        try:
            done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"{self._program} does not answer: {error}", hint="start its service") from error
        if done.returncode != 0:
            raise Refused(
                f"{self._program} has no image {self._image}, or its service does not run",
                hint=f"{os.path.basename(self._program)} pull {self._image}",
            )

    def wrap(self, order: Order) -> Wrapped:
        """The engine's command line.

        Raises:
            Refused: the order wants the network.
        """
        if order.allow or order.allow_private:
            raise Refused(
                "the container sandbox has no way out, and this command may reach "
                + ", ".join((*order.allow, *order.allow_private)),
                hint='set [sandbox] backend = "auto", or run it with an empty network list',
            )
        return Wrapped(argv=tuple(self.argv(order)), env={**order.env, "PATH": "/usr/bin:/bin"}, cwd="/")

    def argv(self, order: Order) -> list[str]:
        """The whole command line; the limits are the container's own."""
        limits = order.limits
        argv = [
            self._program, "run", "--rm", "--interactive", *(["--tty"] if order.pty else []), "--init",
            "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--ipc", "private", "--hostname", "sandbox", "--user", f"{os.getuid()}:{os.getgid()}",
            "--memory", str(limits.memory), "--memory-swap", str(limits.memory),
            "--pids-limit", str(limits.processes), "--cpus", str(limits.cpus),
            "--ulimit", f"nofile={limits.open_files}", "--ulimit", f"fsize={limits.file_size}", "--ulimit", "core=0",
            "--tmpfs", f"/tmp:rw,nosuid,nodev,size={512 * MEGABYTE}",
            "--tmpfs", f"{_HOME}:rw,nosuid,nodev,size={512 * MEGABYTE}",
        ]  # fmt: skip
        for path in order.readable:
            argv += ["--mount", _mount(path, read_only=True)]
        for path in order.writable:
            argv += ["--mount", _mount(path, read_only=False)]
        for path in order.protected:
            argv += ["--mount", _mount(path, read_only=True)]
        for name, value in environment(
            msgspec.structs.replace(order, env={}), home=_HOME, proxy=None
        ).items():
            argv += ["--env", f"{name}={value}"]
        # By name alone: a value may be a secret, and arguments can be read by every process of the machine.
        for name in order.env:
            argv += ["--env", name]
        return [*argv, "--workdir", order.cwd, "--entrypoint", order.argv[0], self._image, *order.argv[1:]]


def _mount(path: str, *, read_only: bool) -> str:
    if "," in path or '"' in path:
        raise Refused(f"{path} has a comma or a quote in its name, which a container's mount cannot say")
    return f"type=bind,source={path},target={path}" + (",readonly" if read_only else "")
