"""Time-ordered identifiers: a prefix, 48 bits of milliseconds, 80 bits of order and chance."""

import os
import threading

from tawny.clock import Instant

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Two characters at a time: an id is made for every row.
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_SHIFTS = range(120, -1, -10)
_RANDOM_BITS = 80
_MASK = (1 << _RANDOM_BITS) - 1


class _Sequence:
    """Hands out strictly increasing 128-bit numbers, also within one millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millis = 0
        self._tail = 0

    def next(self, now: Instant) -> int:
        millis = now // 1000
        with self._lock:
            if millis > self._millis:
                self._millis = millis
                # The top bit stays clear so that counting up within the millisecond cannot overflow.
                self._tail = int.from_bytes(os.urandom(10), "big") >> 1
            else:
                self._tail = (self._tail + 1 + (os.urandom(1)[0] << 8)) & _MASK
            return (self._millis << _RANDOM_BITS) | self._tail


_sequence = _Sequence()


def new_id(prefix: str, now: Instant) -> str:
    """A new id such as `task_01jd8x…`: ids made later sort later (26 characters of Crockford base 32)."""
    number = _sequence.next(now)
    return f"{prefix}_{''.join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])}"


def secret_token() -> str:
    """A URL-safe secret of 256 random bits."""
    return os.urandom(32).hex()
