"""Phrases in English and Chinese, as of a Friday at 10:00 in Berlin."""

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.clock import from_datetime
from tawny.domain import definitions, phrases, zones
from tawny.errors import InvalidInput

NOW = from_datetime(datetime.fromisoformat("2026-11-20T10:00:00+01:00"))
BERLIN = zones.load("Europe/Berlin")


def cron(expression: str, **more: str) -> dict[str, str]:
    return {"type": "cron", "expression": expression, "timezone": "Europe/Berlin", **more}


def at(time: str) -> dict[str, str]:
    return {"type": "at", "time": time, "timezone": "Europe/Berlin"}


def after(delay: str) -> dict[str, str]:
    return {"type": "after", "delay": delay}


def every(interval: str, **more: str) -> dict[str, str]:
    return {"type": "every", "interval": interval, **more}


def rrule(expression: str, start: str) -> dict[str, str]:
    return {"type": "rrule", "expression": expression, "timezone": "Europe/Berlin", "start": start}


UNTIL = {"until": "2027-04-15T23:59:59", "timezone": "Europe/Berlin"}

ENGLISH = {
    "every weekday at 8": cron("0 8 * * 1-5"),
    "Every weekday at 8 am.": cron("0 8 * * 1-5"),
    "weekdays at 7:30": cron("30 7 * * 1-5"),
    "mon-fri at 8": cron("0 8 * * 1-5"),
    "every day at 8:30": cron("30 8 * * *"),
    "daily at 9pm": cron("0 21 * * *"),
    "every day at 8 and 20": cron("0 8,20 * * *"),
    "every monday and thursday at 10": cron("0 10 * * 1,4"),
    "mondays at 7": cron("0 7 * * 1"),
    "every weekend at 10": cron("0 10 * * 0,6"),
    "every month on the 1st at 9": cron("0 9 1 * *"),
    "on the last day of every month at 18:00": cron("0 18 L * *"),
    "every first monday of the month at 9": cron("0 9 * * 1#1"),
    "every year on december 24 at 18:00": cron("0 18 24 12 *"),
    "every hour": cron("0 * * * *"),
    "every morning": cron("0 8 * * *"),
    "every evening at 7": cron("0 19 * * *"),
    "every sunday night": cron("0 21 * * 0"),
    "every 15 minutes": every("15m"),
    "every 6 hours until April 15": every("6h", **UNTIL),
    "every 2 weeks on monday at 9": rrule("FREQ=WEEKLY;INTERVAL=2", "2026-11-23T09:00:00"),
    "every other day at 7": rrule("FREQ=DAILY;INTERVAL=2", "2026-11-21T07:00:00"),
    "in 30 minutes": after("30m"),
    "in an hour": after("1h"),
    "in half an hour": after("30m"),
    "30m": after("30m"),
    "in 3 days": after("3d"),
    "in 2 months": at("2027-01-20T10:00:00"),
    "tomorrow at 8am": at("2026-11-21T08:00:00"),
    "tomorrow morning": at("2026-11-21T08:00:00"),
    "the day after tomorrow at 6pm": at("2026-11-22T18:00:00"),
    "tonight at 8": at("2026-11-20T20:00:00"),
    "next monday at 9": at("2026-11-23T09:00:00"),
    "friday at 9": at("2026-11-27T09:00:00"),
    "friday at 11": at("2026-11-20T11:00:00"),
    "at 17:30": at("2026-11-20T17:30:00"),
    "8am": at("2026-11-21T08:00:00"),
    "noon": at("2026-11-20T12:00:00"),
    "on april 15 at 9": at("2027-04-15T09:00:00"),
    "2026-12-01 08:00": at("2026-12-01T08:00:00"),
}
CHINESE = {
    "每天早上8点": cron("0 8 * * *"),
    "每个工作日早上八点半": cron("30 8 * * 1-5"),
    "工作日早上7点30分": cron("30 7 * * 1-5"),
    "每周一上午9点半": cron("30 9 * * 1"),
    "每周一、三、五晚上7点": cron("0 19 * * 1,3,5"),
    "每月1号9点": cron("0 9 1 * *"),
    "每月最后一天18点": cron("0 18 L * *"),
    "每月第一个周一9点": cron("0 9 * * 1#1"),
    "每年12月24日晚上6点": cron("0 18 24 12 *"),
    "每晚9点": cron("0 21 * * *"),
    "每隔30分钟": every("30m"),
    "每小时": cron("0 * * * *"),
    "每6个小时，直到4月15日": every("6h", **UNTIL),
    "每两天早上8点": rrule("FREQ=DAILY;INTERVAL=2", "2026-11-21T08:00:00"),
    "30分钟后": after("30m"),
    "半小时后": after("30m"),
    "一个半小时后": after("90m"),
    "三天后": after("3d"),
    "明天上午8点": at("2026-11-21T08:00:00"),
    "后天下午3点": at("2026-11-22T15:00:00"),
    "今晚8点": at("2026-11-20T20:00:00"),
    "明早7点": at("2026-11-21T07:00:00"),
    "下周一上午9点": at("2026-11-23T09:00:00"),
    "周五下午5点": at("2026-11-20T17:00:00"),
    "12月24日18点": at("2026-12-24T18:00:00"),
    "中午12点": at("2026-11-20T12:00:00"),
}


@pytest.mark.parametrize(("text", "expected"), [*ENGLISH.items(), *CHINESE.items()])
def test_phrase_becomes_its_schedule_and_the_next_times(text: str, expected: dict[str, str]) -> None:
    phrase = phrases.parse(text, now=NOW, timezone="Europe/Berlin")
    assert phrase.schedule == expected
    assert 1 <= len(phrase.next) <= 3
    assert all(instant > NOW for instant in phrase.next)


def _vectors() -> list[tuple[str, str]]:
    lines = (Path(__file__).parent / "vectors" / "phrases.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(phrase, meaning) for phrase, meaning in pairs]


@pytest.mark.parametrize(("text", "meaning"), _vectors())
def test_phrases_mean_what_a_reader_found_they_mean_or_are_refused(text: str, meaning: str) -> None:
    try:
        schedule = phrases.parse(text, now=NOW, timezone="Europe/Berlin").schedule
    except InvalidInput as refusal:
        said = "refused" if refusal.hint else "refused without a hint"
    else:
        first = {
            "cron": "expression",
            "every": "interval",
            "at": "time",
            "after": "delay",
            "rrule": "expression",
        }
        key = first[schedule["type"]]
        more = [f"{name} {schedule[name]}" for name in ("start", "until") if name in schedule]
        said = "; ".join([f"{schedule['type']} {schedule[key]}", *more])
    assert said == meaning


def test_what_is_due_this_very_minute_has_its_time() -> None:
    assert phrases.parse("today at 10", now=NOW, timezone="Europe/Berlin").next == (NOW,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tonight at 1am", "2026-11-20T01:00:00"),
        ("今天夜里1点", "2026-11-20T01:00:00"),
        ("tonight at midnight", "2026-11-21T00:00:00"),
        ("tomorrow night at 1", "2026-11-22T01:00:00"),
        ("tonight at 8", "2026-11-20T20:00:00"),
    ],
)
def test_tonight_said_after_midnight_is_the_night_that_still_lasts(text: str, expected: str) -> None:
    small_hours = from_datetime(datetime.fromisoformat("2026-11-20T00:20:00+01:00"))
    assert phrases.parse(text, now=small_hours, timezone="Europe/Berlin").schedule == at(expected)


def test_next_three_times_are_shown_to_confirm() -> None:
    phrase = phrases.parse("every weekday at 8", now=NOW, timezone="Europe/Berlin")
    assert phrase.document()["next"] == [
        "2026-11-23T07:00:00.000Z", "2026-11-24T07:00:00.000Z", "2026-11-25T07:00:00.000Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blah",
        "every blue moon",
        "at 25:00",
        "every 0 minutes",
        "on february 30",
        "today at 9",
        "每月30分钟",
        "马上",
    ],
)
def test_what_the_grammar_does_not_know_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        phrases.parse(text, now=NOW, timezone="Europe/Berlin")
    assert refused.value.hint


_WORDS = (
    "every", "day", "monday", "weekday", "morning", "night", "at", "in", "on", "the", "next", "until", "other", "half",
    "an", "and", "a", "hour", "hours", "minutes", "weeks", "months", "years", "first", "last", "of", "month", "april",
    "february", "30", "31st", "12", "8", "8:30", "0", "99999", "1.5", "pm", "am", "2026-02-30", "2026-13-01",
    "9999-12-31", "midnight", "between", "from", "to", "tomorrow", "tonight", "past", "quarter", "-1", "twenty", "five",
)  # fmt: skip
_CHINESE = (
    "每", "隔", "天", "周", "一", "二", "十", "月", "年", "号", "日", "点", "分", "半", "刻", "早上", "晚上",
    "凌晨", "下",
    "这", "个", "小时", "分钟", "后", "到", "和", "最后", "第", "工作日", "明天", "今晚", "12", "31", "99999", "0",
    "零",     "两", "底",
)  # fmt: skip


@given(
    st.lists(st.sampled_from(_WORDS), max_size=8).map(" ".join)
    | st.lists(st.sampled_from(_CHINESE), max_size=9).map("".join)
)
def test_any_words_are_understood_or_refused_never_a_crash(text: str) -> None:
    try:
        phrase = phrases.parse(text, now=NOW, timezone="Europe/Berlin")
    except InvalidInput:
        return
    assert all(instant > NOW for instant in phrase.next)


@given(st.text(alphabet="every day at in minutes 0123456789:pm 每天周月点分后明下上午一二十", max_size=24))
def test_any_text_is_understood_or_refused_never_a_crash(text: str) -> None:
    try:
        phrase = phrases.parse(text, now=NOW, timezone="Europe/Berlin")
    except InvalidInput:
        return
    assert phrase.next


@pytest.mark.parametrize(
    ("text", "kind"),
    [("0 8 * * 1-5", "cron"), ("*/15 9-17 * * mon-fri", "cron"), ("@daily", "cron"), ("0 30 8 * * ?", "cron"),
     ("2 days from now at 9am", "at"), ("9am on the first monday of every month", "cron"),
     ("RRULE:FREQ=WEEKLY;BYDAY=MO", "rrule"), ("freq=daily;interval=2", "rrule"), ("30 minutes from now", "after")],
)  # fmt: skip
def test_a_cron_expression_and_a_phrase_are_told_apart(text: str, kind: str) -> None:
    assert definitions.compile_schedule(text, now=NOW, timezone="Europe/Berlin").document["type"] == kind
