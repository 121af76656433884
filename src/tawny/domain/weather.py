"""The weather of a day, and what to do about it."""

from datetime import date

import msgspec


class Weather(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The forecast for one day: WMO weather code, degrees Celsius, millimetres, per cent, km/h."""

    day: date
    code: int
    high: float | None = None
    low: float | None = None
    rain_chance: float | None = None
    rain: float | None = None
    wind: float | None = None
    place: str = ""


# WMO code table 4677, the part Open-Meteo uses: (from, to, sign, words).
_CODES = (
    (0, 0, "☀️", "Clear sky"),
    (1, 1, "🌤️", "Mainly clear"),
    (2, 2, "⛅", "Partly cloudy"),
    (3, 3, "☁️", "Overcast"),
    (45, 48, "🌫️", "Fog"),
    (51, 55, "🌦️", "Drizzle"),
    (56, 57, "🌧️", "Freezing drizzle"),
    (61, 61, "🌧️", "Light rain"),
    (63, 63, "🌧️", "Rain"),
    (65, 65, "🌧️", "Heavy rain"),
    (66, 67, "🌧️", "Freezing rain"),
    (71, 71, "🌨️", "Light snow"),
    (73, 73, "🌨️", "Snow"),
    (75, 75, "🌨️", "Heavy snow"),
    (77, 77, "🌨️", "Snow grains"),
    (80, 81, "🌦️", "Rain showers"),
    (82, 82, "⛈️", "Violent rain showers"),
    (85, 86, "🌨️", "Snow showers"),
    (95, 95, "⛈️", "Thunderstorm"),
    (96, 99, "⛈️", "Thunderstorm with hail"),
)
_ICY = frozenset({48, 56, 57, 66, 67})
_STORM_WIND = 62  # km/h, Beaufort 8
_HOT, _FROST = 30, 0
_LIKELY = 50


def describe(weather: Weather) -> tuple[str, str]:
    """A sign and a few words: `("🌧️", "Light rain")`."""
    for first, last, sign, words in _CODES:
        if first <= weather.code <= last:
            return sign, words
    return "🌡️", "Weather"


def advice(weather: Weather) -> str:
    """What to remember, empty where there is nothing."""
    code = weather.code
    if code in _ICY:
        return "mind the ice"
    if 71 <= code <= 77 or code in (85, 86):
        return "dress warmly and allow more time"
    if (weather.wind or 0) >= _STORM_WIND:
        return "strong wind, mind what is loose"
    if 51 <= code <= 67 or 80 <= code <= 82 or code >= 95 or (weather.rain_chance or 0) >= _LIKELY:
        return "remember to bring an umbrella"
    if weather.high is not None and weather.high >= _HOT:
        return "drink enough water"
    if weather.low is not None and weather.low <= _FROST:
        return "dress warmly"
    return ""
