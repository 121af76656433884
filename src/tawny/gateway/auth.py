"""The keyring: turns a token or cookie into a principal, slowly for those who guess.

The owner's token is a file of the home (mode 0600); everything else is a row of the ledger. What is granted stands on
the server's side alone. Being on the same machine gives nothing.
"""

import hmac
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import msgspec

from tawny.clock import HOUR, MINUTE, Clock, Instant, wait_for
from tawny.gateway.errors import HttpError, unauthenticated
from tawny.gateway.principal import OWNER, SCOPES, Principal
from tawny.ids import secret_token
from tawny.ledger import credentials
from tawny.ledger.credentials import Credential, digest
from tawny.ledger.database import Ledger
from tawny.log import Log, redact

COOKIE = "tawny_session"
OWNER_ID = "owner"
_BOUND = "owner:"
_WRONG_A_MINUTE = 10
_ADDRESSES = 4096
_SEEN_EVERY = HOUR
_log = Log("gateway.auth")


def owner_token(file: Path) -> str:
    """The owner's token, made at the first start; the file is readable by its owner alone."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
        token = file.read_text(encoding="ascii").strip()
        if token:
            return token
        return rotate_owner_token(file)
    with os.fdopen(handle, "w") as stream:
        token = secret_token()
        stream.write(token + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return token


def rotate_owner_token(file: Path) -> str:
    """A new owner's token in place of the old one."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    token = owner_token(fresh)
    fresh.replace(file)
    return token


class Attempts:
    """How many wrong secrets an address has shown within the last minute; loopback counts like any other."""

    def __init__(self, clock: Clock, *, limit: int = _WRONG_A_MINUTE) -> None:
        self._clock = clock
        self._limit = limit
        self._wrong: OrderedDict[str, deque[Instant]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until the next secret of this address is looked at, 0 for at once."""
        times = self._wrong.get(_network(address))
        if not times:
            return 0
        now = self._clock.now()
        while times and times[0] <= now - MINUTE:
            times.popleft()
        return 0 if len(times) < self._limit else 1 + (times[0] + MINUTE - now) // 1_000_000

    def count(self, address: str) -> None:
        """Note a wrong one."""
        key = _network(address)
        self._wrong.setdefault(key, deque(maxlen=self._limit)).append(self._clock.now())
        self._wrong.move_to_end(key)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)


def _network(address: str) -> str:
    """The address, or the /64 it lies in: one household owns all of those."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return parsed.exploded[:19]
    return str(parsed)


class Keyring:
    """All that opens the gateway."""

    def __init__(self, ledger: Ledger, clock: Clock, *, token_file: Path) -> None:
        self._ledger = ledger
        self._clock = clock
        self._file = token_file
        self._stamp: tuple[int, int, int] | None = None
        self._owner = ""
        self._standing: dict[str, Credential] = {}
        self._granted: dict[str, Credential] = {}
        self._accepted: set[str] = set()
        self._seen: dict[str, Instant] = {}
        self._open: dict[str, set[Callable[[], None]]] = {}
        self.attempts = Attempts(clock)

    async def load(self) -> None:
        """Read what has been granted; connections of what is granted no more are closed."""
        valid = await self._ledger.read(credentials.valid)
        self._refresh_owner()
        self._keep(valid)

    def _keep(self, valid: Iterable[Credential]) -> None:
        """Keep those whose granter stands, and his granter, and so on; close the connections of the others."""
        standing = {entry.credential_id: entry for entry in valid}
        roots = (None, self._owner)
        while ended := [
            entry.credential_id
            for entry in standing.values()
            if entry.granted_by not in roots and entry.granted_by not in standing
        ]:
            for credential_id in ended:
                del standing[credential_id]
        gone = self._standing.keys() - standing.keys()
        self._standing = standing
        self._granted = {entry.hash: entry for entry in standing.values()}
        self._accepted &= self._granted.keys() | {self._owner}
        for credential_id in gone:
            self._close(credential_id)

    async def run(self) -> None:
        """Follow what is granted, revoked and reaches its end, until cancelled."""
        bell = self._ledger.bell.subscribe("credentials")
        try:
            while True:
                ends = (entry.expires_at for entry in self._standing.values() if entry.expires_at is not None)
                await wait_for(bell, self._clock, min(ends, default=None))
                await self.load()
        finally:
            self._ledger.bell.unsubscribe(bell)

    def identify(self, *, bearer: str | None, cookie: str | None, address: str) -> Principal:
        """Who holds this token, or this cookie where there is no token.

        A secret that was right before is not held up by the wrong ones of others at the same address, so nobody
        can lock the owner out; an unknown one is not even compared once ten were wrong within a minute.

        Raises:
            HttpError: 401 for none or a wrong one, 429 for too many wrong ones.
        """
        secret = bearer if bearer is not None else cookie
        if not secret:
            raise unauthenticated()
        self._refresh_owner()
        shown = digest(secret)
        if shown not in self._accepted and (wait := self.attempts.wait(address)):
            raise HttpError(
                429,
                "too_many_attempts",
                "too many wrong tokens from this address",
                hint="wait a minute",
                headers={"retry-after": str(wait)},
            )
        principal = self._match(shown, by_cookie=bearer is None)
        if principal is None:
            self._accepted.discard(shown)
            self.attempts.count(address)
            _log.warning("wrong token", address=address)
            raise unauthenticated("this token is not valid (any more)")
        self._accepted.add(shown)
        return principal

    def principal(self, credential: Credential) -> Principal:
        """Who stands behind a credential that has proved itself otherwise (a device by its key)."""
        return Principal(
            credential.credential_id,
            credential.name,
            credential.role,
            credential.scopes,
            kind=credential.kind,
            granted_by=credential.granted_by,
        )

    def attach(self, principal: Principal, close: Callable[[], None]) -> Callable[[], None]:
        """Have `close` called when the principal's credential ends; the returned function undoes it."""
        waiting = self._open.setdefault(principal.credential_id, set())
        waiting.add(close)
        if not self.stands(principal.credential_id):
            close()  # it ended between its being looked at and now
        return lambda: waiting.discard(close)

    @property
    def owner_digest(self) -> str:
        """The digest of the owner's token: what sign-ins are bound to."""
        return self._owner

    async def note_use(self, principal: Principal) -> None:
        """Record when a device was last seen, once an hour at most."""
        now = self._clock.now()
        if (
            principal.credential_id == OWNER_ID
            or now - self._seen.get(principal.credential_id, 0) < _SEEN_EVERY
        ):
            return
        self._seen[principal.credential_id] = now
        await self._ledger.write(lambda tx: credentials.touch(tx, principal.credential_id))

    def _match(self, shown: str, *, by_cookie: bool) -> Principal | None:
        if not by_cookie and hmac.compare_digest(shown, self._owner):
            return Principal(OWNER_ID, "owner", OWNER, SCOPES, granted_by=self._owner)
        entry = self._granted.get(shown)
        if entry is None or not self.stands(entry.credential_id):
            return None
        if by_cookie != (entry.kind == credentials.BROWSER):
            return None  # a cookie is no bearer token and the other way round
        return msgspec.structs.replace(self.principal(entry), by_cookie=by_cookie)

    def stands(self, credential_id: str) -> bool:
        """Whether it is granted still: neither it nor what it comes from was revoked, and its end is not reached."""
        if credential_id == OWNER_ID:
            return True
        if credential_id.startswith(_BOUND):
            return credential_id == _BOUND + self._owner
        entry = self._standing.get(credential_id)
        return entry is not None and (entry.expires_at is None or self._clock.now() < entry.expires_at)

    def bound_to(self, principal: Principal) -> str:
        """What `stands` tells of the principal later: the owner's own token is a new one once it was rotated."""
        return self.bond if principal.credential_id == OWNER_ID else principal.credential_id

    @property
    def bond(self) -> str:
        """What the owner's token is called that holds now."""
        return _BOUND + self._owner

    def _refresh_owner(self) -> None:
        """Read the owner's token again when its file has changed; what the old one opened is closed."""
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        except FileNotFoundError:
            stamp = None
        if stamp is not None and stamp == self._stamp:
            return
        token = owner_token(self._file)
        redact.learn(token)
        before, self._owner = self._owner, digest(token)
        status = self._file.stat()
        self._stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if before and before != self._owner:
            self._accepted.clear()
            self._close(OWNER_ID)
            self._keep(self._standing.values())

    def _close(self, credential_id: str) -> None:
        for close in list(self._open.pop(credential_id, ())):
            close()
