"""Which places work may reach: the entries of `[network]`, and URLs that cannot be read two ways.

An entry is `host`, `host:port`, `*.host`, `[v6]:port`, or `*` for every public host; without a port it means 80 and
443. `allow` names what may be reached. An address that is not public must stand in `allow_private`, which is enough
by itself: as the literal address, or as the host's own name (then loopback, private and shared addresses only).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import msgspec

from tawny.domain.ipaddresses import Address, classify
from tawny.errors import InvalidInput, Refused

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
MAX_URL = 8192
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r"[0-9]{1,5}")
_URL = re.compile(r"(https?|wss?)://([^/?#]+)([/?#].*)?", re.IGNORECASE)
# A last label of digits or 0x… makes a URL parser somewhere take the whole for an IPv4 address.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTTED = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback")
# What a name in `allow_private` unlocks. Metadata, link-local and the rest need the literal address.
_BY_NAME = frozenset({"loopback", "private", "shared"})


class Target(msgspec.Struct, frozen=True):
    """One place on the network: a canonical host (lower case, no final dot) and a port.

    `address` is set where the host is a literal address; `rest` is path and query as given.
    """

    scheme: str
    host: str
    port: int
    address: Address | None = None
    rest: str = "/"

    @property
    def authority(self) -> str:
        """`host:port`, with brackets round an IPv6 address."""
        return f"{self._bracketed}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """The URL in the one spelling that every parser reads alike."""
        port = "" if DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{self._bracketed}{port}{self.rest}"

    @property
    def is_local_name(self) -> bool:
        """Whether the host is a name of this machine, which is never asked of a name server."""
        return self.host in _LOCAL_NAMES or self.host.endswith(".localhost")

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host


class Entry(msgspec.Struct, frozen=True):
    """One line of `allow` or `allow_private`."""

    host: str
    ports: tuple[int, ...]
    address: Address | None = None
    wildcard: bool = False

    @property
    def text(self) -> str:
        """The entry as a list has it."""
        name = ".".join(filter(None, ("*" if self.wildcard else "", self.host)))
        if isinstance(self.address, IPv6Address):
            name = f"[{name}]"
        return f"{name}:{self.ports[0]}" if len(self.ports) == 1 else name

    def covers(self, target: Target) -> bool:
        """Whether the target, as it was written, is meant by this entry."""
        if self.ports and target.port not in self.ports:
            return False
        if self.wildcard:
            if target.address is not None or target.is_local_name:
                return False
            return not self.host or target.host.endswith("." + self.host)
        if self.address is not None:
            return target.address == self.address
        return target.host == self.host

    def covers_address(self, address: Address, port: int) -> bool:
        return self.address == address and (not self.ports or port in self.ports)


class Rules(msgspec.Struct, frozen=True):
    """What may be reached; everything else is refused."""

    allow: tuple[Entry, ...] = ()
    allow_private: tuple[Entry, ...] = ()

    def narrowed(self, allow: Sequence[str]) -> "Rules":
        """These rules for one task that may reach only `allow`, which must lie within them.

        Raises:
            Refused: an entry of the task's is not covered by the configuration.
        """
        entries = tuple(parse_entry(text) for text in allow)
        outer = (*self.allow, *self.allow_private)
        for text, entry in zip(allow, entries, strict=True):
            if not any(_within(entry, wide) for wide in outer):
                raise Refused(
                    f"the task may not widen the network list: {text!r} is not in [network] allow",
                    hint=f"add {text!r} to [network] allow in config.toml",
                )
        private = tuple(e for e in entries if any(_within(e, wide) for wide in self.allow_private))
        return Rules(entries, private)


def parse_rules(allow: Iterable[str], allow_private: Iterable[str] = ()) -> Rules:
    """The rules of the two lists of `[network]`.

    Raises:
        InvalidInput: an entry is none; names it and says how one looks.
    """
    private = tuple(parse_entry(text) for text in allow_private)
    for entry in private:
        if entry.wildcard and not entry.host:
            raise InvalidInput(
                "[network] allow_private may not contain '*'", hint="list the private addresses one by one"
            )
    return Rules(tuple(parse_entry(text) for text in allow), private)


def parse_entry(text: str) -> Entry:
    """One entry of a network list.

    Raises:
        InvalidInput: it is none.
    """
    host, port = _split(text.strip(), text)
    ports = (port,) if port is not None else (80, 443)
    if host == "*":
        return Entry("", ports, wildcard=True)
    wildcard = host.startswith("*.")
    name, address = _host(host[2:] if wildcard else host, text)
    if wildcard and address is not None:
        raise _bad(text, "an address has no sub-domains")
    return Entry(name, ports, address, wildcard)


def parse_url(url: str) -> Target:
    """The one place an `http`, `https`, `ws` or `wss` URL means; strict, so that no other parser reads another one.

    Raises:
        Refused: it is none, or could be read two ways (user part, backslash, blanks, odd numbers as addresses, …).
    """
    if len(url) > MAX_URL:
        raise Refused(f"the URL is longer than {MAX_URL} characters", hint="shorten it")
    if any(ord(c) <= 0x20 or 0x7F <= ord(c) < 0xA0 or c == "\\" for c in url):
        raise _bad(url, "blanks, control characters and backslashes can be read two ways", kind="URL")
    match = _URL.fullmatch(url)
    if match is None:
        raise _bad(url, "write http://host/path or https://host/path", kind="URL")
    scheme, authority, rest = match.group(1).lower(), match.group(2), match.group(3) or ""
    if "@" in authority:
        raise _bad(url, "a user or password in the URL is refused; send a header instead", kind="URL")
    host, port = _split(authority, url, kind="URL")
    name, address = _host(host, url, kind="URL")
    rest = rest.split("#", 1)[0]
    if not rest.startswith("/"):
        rest = "/" + rest
    return Target(scheme, name, port or DEFAULT_PORTS[scheme], address, rest)


def parse_authority(text: str, *, scheme: str = "tunnel", default_port: int | None = None) -> Target:
    """The place that `host:port` means, as in a proxy's CONNECT or a mail server's name.

    Raises:
        Refused: it is none, or the port is missing where there is no default.
    """
    host, port = _split(text, text, kind="address")
    name, address = _host(host, text, kind="address")
    chosen = port if port is not None else default_port
    if chosen is None:
        raise _bad(text, "write host:port", kind="address")
    return Target(scheme, name, chosen, address)


def check_target(rules: Rules, target: Target) -> None:
    """Refuse a target that no entry names, before anything is resolved.

    Raises:
        Refused: why, and the entry that would allow it.
    """
    if target.is_local_name:
        for address in local_addresses(rules, target):
            check_address(rules, target, address)
        return
    if any(entry.covers(target) for entry in (*rules.allow, *rules.allow_private)):
        if target.address is not None:
            check_address(rules, target, target.address)
        return
    if target.address is not None and (kind := classify(target.address)) is not None:
        raise _not_public(target, kind, None)
    raise Refused(
        f"{target.authority} is not in [network] allow, so it may not be reached",
        hint=f"to permit it: add {target.authority!r} to [network] allow in config.toml",
    )


def check_address(rules: Rules, target: Target, address: Address) -> None:
    """Refuse an address that the target resolved to, unless it is public or unlocked by `allow_private`.

    Raises:
        Refused: which address, which kind, and the entry that would allow it.
    """
    kind = classify(address)
    if kind is None:
        return
    if target.address is not None or target.is_local_name:
        # The literal itself, or a name of this machine for a loopback address that is listed.
        if any(entry.covers_address(address, target.port) for entry in rules.allow_private):
            return
        if target.is_local_name and any(entry.covers(target) for entry in rules.allow_private):
            return
    elif kind in _BY_NAME and any(entry.covers(target) for entry in rules.allow_private):
        return
    raise _not_public(target, kind, address)


def local_addresses(rules: Rules, target: Target) -> list[Address]:
    """What a name of this machine stands for: the loopback addresses, the listed ones first."""
    both: list[Address] = [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    listed = [a for a in both if any(e.covers_address(a, target.port) for e in rules.allow_private)]
    return listed or both


def _within(inner: Entry, outer: Entry) -> bool:
    if outer.ports and not (inner.ports and set(inner.ports) <= set(outer.ports)):
        return False
    if outer.wildcard:
        if not outer.host:
            return inner.address is None
        return inner.host.endswith("." + outer.host) or (inner.wildcard and inner.host == outer.host)
    return not inner.wildcard and (inner.host, inner.address) == (outer.host, outer.address)


def _split(authority: str, whole: str, *, kind: str = "entry") -> tuple[str, int | None]:
    """Part `host:port`, `[v6]:port`, `host` or `v6`; the port must be plain digits from 1 to 65535."""
    port: str | None = None
    if authority.startswith("["):
        host, bracket, tail = authority.partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise _bad(whole, "the brackets do not match", kind=kind)
        host, port = host + "]", tail[1:] if tail else None
    elif authority.count(":") > 1 and kind == "entry":
        host = authority
    else:
        host, colon, tail = authority.partition(":")
        port = tail if colon else None
    if port is None or (port == "" and kind == "URL"):
        return host, None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise _bad(whole, "the port is no number from 1 to 65535", kind=kind)
    return host, int(port)


def _host(text: str, whole: str, *, kind: str = "entry") -> tuple[str, Address | None]:
    """The host in its canonical form, and the address where it is a literal one."""
    if text.startswith("[") or ":" in text:
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        if "%" in inner:
            raise _bad(whole, "an address with a zone (%…) is refused", kind=kind)
        try:
            address = IPv6Address(inner)
        except AddressValueError:
            raise _bad(whole, f"{inner!r} is no IPv6 address", kind=kind) from None
        return str(address), address
    name = _ascii(text, whole, kind=kind).lower().removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(whole, f"{text!r} is no host name", kind=kind)
    if _NUMERIC.fullmatch(labels[-1]):
        if not _DOTTED.fullmatch(name):
            raise _bad(whole, "write an IPv4 address as four plain decimal numbers", kind=kind)
        try:
            v4 = IPv4Address(name)
        except AddressValueError:
            raise _bad(whole, f"{name!r} is no IPv4 address", kind=kind) from None
        return name, v4
    return name, None


def _ascii(text: str, whole: str, *, kind: str) -> str:
    """The name in ASCII; international names by UTS 46, as browsers and httpx do."""
    if text.isascii():
        return text
    import idna  # noqa: PLC0415 - its tables take long to load and few names need them

    try:
        folded = unicodedata.normalize("NFKC", text)
        return idna.encode(folded, uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError:
        raise _bad(whole, f"{text!r} is no host name", kind=kind) from None


def _bad(whole: str, mend: str, *, kind: str = "entry") -> InvalidInput | Refused:
    shown = whole if len(whole) <= 200 else whole[:200] + "…"
    if kind == "entry":
        return InvalidInput(
            f"{shown!r} is no entry for [network]: {mend}",
            hint="entries look like host, host:port, *.host or [v6]:port",
        )
    return Refused(f"{shown!r} is refused as {kind}: {mend}", hint=mend)


def _not_public(target: Target, kind: str, address: Address | None) -> Refused:
    where = (
        f"{target.authority} resolves to {address}, which"
        if address and not target.address
        else target.authority
    )
    reason = f"{where} is a {kind} address, so it may not be reached"
    by_name = kind in _BY_NAME or address is None or target.address is not None
    shown = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    entry = target.authority if by_name else f"{shown}:{target.port}"
    return Refused(reason, hint=f"to permit it: add {entry!r} to [network] allow_private in config.toml")
