"""What the built-in demo model understands."""

import pytest

from tawny.domain.smalltalk import Call, Result, answer


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("run a test task of 60 seconds", "tasks", {"action": "run", "kind": "simulate"}),
        ("please run a long task", "tasks", {"action": "run", "kind": "simulate"}),
        (
            "make me a report over the last 30 days",
            "tasks",
            {"action": "run", "title": "report over 30 days"},
        ),
        ("how is it going?", "tasks", {"action": "list"}),
        ("How's the report coming along?", "tasks", {"action": "list"}),
        ("cancel that", "tasks", {"action": "cancel", "lookup": ""}),
        ("pause the subtitles", "tasks", {"action": "pause", "lookup": "subtitles"}),
        ("resume my report please", "tasks", {"action": "resume", "lookup": "report"}),
        ("remind me in 10 minutes to stretch", "tasks", {"kind": "remind", "not_before": "10m"}),
        ("remember that Ann likes tea", "memory_save", {"text": "Ann likes tea"}),
        ("what do you remember about Ann?", "memory_search", {"query": "Ann"}),
        ('call web_fetch {"url": "https://example.org"}', "web_fetch", {"url": "https://example.org"}),
    ],
)
def test_plain_words_become_a_call(text: str, tool: str, arguments: dict[str, str]) -> None:
    call = answer(text, [])
    assert isinstance(call, Call), call
    assert call.tool == tool
    assert arguments.items() <= call.arguments.items()


@pytest.mark.parametrize(
    ("text", "when", "kind", "what"),
    [
        ("every weekday at 8 send me a brief", "every weekday at 8", "generate_daily_brief", ""),
        ("Send me my brief every weekday at 8", "every weekday at 8", "generate_daily_brief", ""),
        ("remind me tomorrow at 9 to call Bob", "tomorrow at 9", "remind", "call Bob"),
        ("remind me to water the plants every 2 days", "every 2 days", "remind", "water the plants"),
        ("每天早上8点给我早报", "每天早上8点", "generate_daily_brief", ""),
        ("明天上午8点提醒我开会", "明天上午8点", "remind", "开会"),
    ],
)
def test_words_with_a_time_become_an_automation(text: str, when: str, kind: str, what: str) -> None:
    call = answer(text, [])
    assert isinstance(call, Call), call
    assert (call.tool, call.arguments["action"]) == ("automations", "add")
    document = call.arguments["document"]
    assert (document["schedule"], document["action"]["type"]) == (when, kind)
    assert document["action"].get("parameters", {}).get("text", "") == what


@pytest.mark.parametrize(
    "text", ["Every day is fine", "I met Bob at 9", "tomorrow", "every weekday at 8", "remind me"]
)
def test_words_without_a_time_or_without_an_order_become_none(text: str) -> None:
    assert isinstance(answer(text, []), str)


def test_small_talk_calls_nothing() -> None:
    assert answer("The weather is fine today", []) == "You said: The weather is fine today"
    assert isinstance(answer("hello", []), str)


def test_a_task_is_told_with_how_far_and_how_long() -> None:
    content = {
        "items": [
            {"title": "report", "status": "running", "progress": {"percentage": 40}, "left": "2 minutes"},
        ]
    }
    said = answer("how is it going?", [Result(Call("tasks", {"action": "list"}), content)])
    assert said == '"report" is running, 40 % complete, about 2 minutes left'
