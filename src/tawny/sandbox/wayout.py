"""The way out of one home: opened at the first fetch, as the library behind it takes long to load."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tawny.domain.network import Target, parse_rules, parse_url
from tawny.domain.tasks import Json
from tawny.errors import PermanentError, TemporaryError
from tawny.sandbox.place import NetworkList

if TYPE_CHECKING:
    from tawny.sandbox.egress import Egress

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class WayOut:
    """Hands out the one `Egress` of the configuration's network list."""

    def __init__(self, network: NetworkList, *, fill: Callable[[str, str], str] | None = None) -> None:
        self._fill = fill
        self._rules = parse_rules(network.allow, network.allow_private)
        self._opened: Egress | None = None

    def egress(self) -> "Egress":
        if self._opened is None:
            from tawny.sandbox.egress import Egress  # noqa: PLC0415 - loads httpx, which a command line never needs

            self._opened = Egress(self._rules, fill=self._fill)
        return self._opened

    async def admit(self, target: Target) -> None:
        """Return where the network list lets us reach the target, whatever protocol is spoken there.

        Raises:
            Refused: it may not be reached.
        """
        from tawny.sandbox.egress import Gate  # noqa: PLC0415 - as above

        await Gate(self._rules).admit(target)

    async def post(self, url: str, body: dict[str, Json], key: str) -> None:
        """POST a JSON body with an `Idempotency-Key`.

        Raises:
            TemporaryError: no connection, or an answer after which trying again may help.
            PermanentError: the other side will not have it.
        """
        headers = {"content-type": "application/json", "idempotency-key": key}
        got = await self.egress().fetch("POST", url, headers=headers, body=msgspec.json.encode(body))
        if got.status in _AGAIN:
            raise TemporaryError(f"{parse_url(url).authority} answered {got.status}")
        if got.status >= 400:
            raise PermanentError(f"{parse_url(url).authority} answered {got.status}")
