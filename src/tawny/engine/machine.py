"""Whether the machine is quiet enough for work that can wait."""

import os

from tawny.clock import SECOND, Clock

_LOOK_EVERY = 5 * SECOND
_LOW_BATTERY = 50


class Machine:
    """Looks at load and battery, at most every five seconds. `busy_load` is per core; 0 never holds anything back."""

    def __init__(self, clock: Clock, *, busy_load: float) -> None:
        self._clock = clock
        self._busy_load = busy_load
        self._looked_at = -_LOOK_EVERY
        self._idle = True

    def is_idle(self) -> bool:
        """Whether low and idle work may start now."""
        if not self._busy_load:
            return True
        now = self._clock.steady()
        if now - self._looked_at >= _LOOK_EVERY:
            self._looked_at = now
            self._idle = os.getloadavg()[0] / (os.cpu_count() or 1) < self._busy_load and _has_power()
        return self._idle


def _has_power() -> bool:
    """Plugged in, or half full, or without a battery."""
    import psutil  # noqa: PLC0415 - heavy at the start, and only needed once there is work

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is None or bool(battery.power_plugged) or battery.percent >= _LOW_BATTERY
