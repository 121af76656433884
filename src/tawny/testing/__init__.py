"""What plugin authors and our own tests share."""

from tawny.testing.channels import MemoryChannel
from tawny.testing.clock import FakeClock
from tawny.testing.model import Say, ScriptedModel, Use
from tawny.testing.provider import FakeProvider

__all__ = ["FakeClock", "FakeProvider", "MemoryChannel", "Say", "ScriptedModel", "Use"]
