"""The web panel's files: built in `web/`, kept in the package, open to everyone as they hold nothing of anyone."""

import mimetypes
from functools import cached_property
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from tawny.gateway.endpoint import header

_TYPES = {
    ".webmanifest": "application/manifest+json",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
_FOREVER = b"public, max-age=31536000, immutable"
_EMPTY = b"<!doctype html><title>Tawny</title><p>The panel is not built. Run <code>make panel</code>.</p>"


class Panel:
    """Serves the files by name. Read once: they change with the program alone."""

    @cached_property
    def _whole(self) -> dict[str, tuple[bytes, str, bytes]]:
        found: dict[str, tuple[bytes, str, bytes]] = {}
        folder = resources.files("tawny.gateway").joinpath("panel")
        if folder.is_dir():
            _collect(folder, "/", found)
        return found

    @cached_property
    def files(self) -> dict[str, tuple[bytes, str, bytes]]:
        """Path → (content, media type, tag)."""
        found = {path: entry for path, entry in self._whole.items() if not path.endswith(".gz")}
        if "/index.html" not in found:
            found["/index.html"] = _entry("index.html", _EMPTY)
        found["/"] = found["/index.html"]
        return found

    @cached_property
    def small(self) -> dict[str, bytes]:
        """The same, compressed: the build puts each file's gzip beside it."""
        found = {path[:-3]: content for path, (content, _, _) in self._whole.items() if path.endswith(".gz")}
        return found | ({"/": found["/index.html"]} if "/index.html" in found else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        entry = self.files.get(scope["path"])
        if entry is None:
            raise HTTPException(404, f"there is nothing at {scope['path']}")
        content, kind, tag = entry
        lasting = _FOREVER if scope["path"].startswith("/assets/") else b"no-cache"
        headers = [(b"content-type", kind.encode()), (b"etag", tag), (b"cache-control", lasting)]
        if header(scope, b"if-none-match") == tag.decode():
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        small = self.small.get(scope["path"])
        if small is not None:
            headers.append((b"vary", b"accept-encoding"))
            if "gzip" in (header(scope, b"accept-encoding") or ""):
                headers.append((b"content-encoding", b"gzip"))
                content = small
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def _collect(folder: Traversable, path: str, into: dict[str, tuple[bytes, str, bytes]]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _collect(entry, f"{path}{entry.name}/", into)
        elif not entry.name.endswith((".py", ".md", ".map")):
            into[path + entry.name] = _entry(entry.name, entry.read_bytes())


def _entry(name: str, content: bytes) -> tuple[bytes, str, bytes]:
    suffix = name[name.rfind(".") :] if "." in name else ""
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return content, kind, b'"' + sha256(content).hexdigest()[:32].encode() + b'"'
