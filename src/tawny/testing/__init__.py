"""What plugin authors and our own tests share."""

from tawny.testing.clock import FakeClock

__all__ = ["FakeClock"]
