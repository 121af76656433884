"""The name a TLS client asks for, read from its greeting without taking part (RFC 8446, RFC 6066)."""


class Incomplete(Exception):
    """More bytes are needed."""


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self.data):
            raise Incomplete
        self._at += count
        return self.data[self._at - count : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def block(self, width: int) -> "_Bytes":
        """What a length of `width` bytes announces."""
        return _Bytes(self.take(self.number(width)))

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self.data)


def server_name(data: bytes) -> str | None:
    """The host in the greeting's server_name; `None` where it names none or this is no greeting that could.

    Raises:
        Incomplete: the greeting is not yet whole.
    """
    greeting = _handshake(data)
    if greeting.number(1) != 1:
        return None
    hello = greeting.block(3)
    hello.take(2 + 32)  # version, random
    hello.block(1)  # session
    hello.block(2)  # ciphers
    hello.block(1)  # compressions
    if hello.is_empty:
        return None
    extensions = hello.block(2)
    while not extensions.is_empty:
        kind, body = extensions.number(2), extensions.block(2)
        if kind == 0 and not body.is_empty:
            names = body.block(2)
            names.take(1)
            return names.block(2).data.decode("latin-1")
    return None


def _handshake(data: bytes) -> _Bytes:
    """The handshake message, put together from as many records as it was cut into."""
    records = _Bytes(data)
    message = b""
    while True:
        if records.number(1) != 22:
            return _Bytes(message)
        records.take(2)
        message += records.block(2).data
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return _Bytes(message)
