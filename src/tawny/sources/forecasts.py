"""Weather in Open-Meteo's JSON: `collect` fetches it, `read` makes sense of it."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from tawny.domain.weather import Weather
from tawny.errors import PermanentError
from tawny.sources.place import Content, Place, Reading, WeatherQuery, split

_DAILY = (
    "weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max,precipitation_sum,"
    "wind_speed_10m_max"
)


class _Daily(msgspec.Struct):
    time: list[str]
    weather_code: list[int | None] = []
    weathercode: list[int | None] = []  # what older servers call it
    temperature_2m_max: list[float | None] = []
    temperature_2m_min: list[float | None] = []
    precipitation_probability_max: list[float | None] = []
    precipitation_sum: list[float | None] = []
    wind_speed_10m_max: list[float | None] = []


class _Forecast(msgspec.Struct):
    daily: _Daily


def collect(place: Place, query: WeatherQuery) -> Content:
    """The server's answer.

    Raises:
        TawnyError: there is none.
    """
    from tawny.sources.fetch import retrieve  # noqa: PLC0415 - an HTTP client, which who parses has no use for

    return retrieve(_with_question(place, query.day.isoformat()))


def read(place: Place, query: WeatherQuery, content: Content) -> Reading[Weather]:
    """The forecast for the day: one item.

    Raises:
        PermanentError: the answer is none for that day.
    """
    day = query.day.isoformat()
    try:
        daily = msgspec.json.decode(content.data, type=_Forecast).daily
    except msgspec.DecodeError as error:
        raise PermanentError(
            f"{place.label}: the answer is not Open-Meteo's JSON: {error}", hint="correct the source's url"
        ) from error
    if day not in daily.time:
        raise PermanentError(
            f"{place.label}: the forecast has no {day}", hint="forecasts reach 16 days ahead"
        )
    index = daily.time.index(day)

    def at(values: list[float | None]) -> float | None:
        return values[index] if index < len(values) else None

    codes = daily.weather_code or daily.weathercode
    code = codes[index] if index < len(codes) else None
    weather = Weather(
        day=query.day,
        code=-1 if code is None else code,
        high=at(daily.temperature_2m_max),
        low=at(daily.temperature_2m_min),
        rain_chance=at(daily.precipitation_probability_max),
        rain=at(daily.precipitation_sum),
        wind=at(daily.wind_speed_10m_max),
        place=place.name,
    )
    return Reading(place.name, (weather,))


def _with_question(place: Place, day: str) -> Place:
    """The place with what we ask for in its address; what the owner wrote there stays."""
    if split(place).scheme == "file":
        return place
    if place.latitude is None or place.longitude is None:
        raise PermanentError(
            f"{place.label}: latitude and longitude are missing", hint="add both to [[sources.weather]]"
        )
    parts = urlsplit(place.url)
    asked = {
        "latitude": str(place.latitude),
        "longitude": str(place.longitude),
        "daily": _DAILY,
        "timezone": place.zone,
        "start_date": day,
        "end_date": day,
    } | dict(parse_qsl(parts.query))
    return msgspec.structs.replace(place, url=urlunsplit(parts._replace(query=urlencode(asked))))
