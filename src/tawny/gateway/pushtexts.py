"""What a push says, in the reader's language. Nothing of the content goes along: only what a thing is called."""

from typing import Any

from tawny.domain.tasks import Task

LANGUAGES = ("en", "zh")

_TEXTS = {
    "en": {
        "test": "Push works.",
        "question": "Tawny needs your yes",
        "done": "A task is done",
        "failed": "A task has failed",
        "approve": "Approve",
        "deny": "Deny",
    },
    "zh": {
        "test": "推送可用。",
        "question": "Tawny 需要您的同意",
        "done": "任务已完成",
        "failed": "任务失败",
        "approve": "批准",
        "deny": "拒绝",
    },
}
_KINDS = {
    "zh": {
        "agent_turn": "询问助理",
        "remind": "提醒我",
        "command": "运行命令",
        "http": "访问网址",
        "simulate": "试运行任务",
        "flow": "流程",
        "batch": "批处理",
        "generate_daily_brief": "每日简报",
        "digest_document": "文档摘要",
        "make_subtitles": "制作字幕",
        "read_calendar": "查看日程",
        "read_schedule": "读懂时间",
    }
}


def preferred(accepted: str) -> str:
    """The language of an Accept-Language header that we speak best; English where there is none."""
    best, weight = LANGUAGES[0], 0.0
    for part in accepted[:1000].split(","):
        name, _, rest = part.strip().partition(";")
        language = name.strip().lower().partition("-")[0]
        given = _weight(rest)
        if language in LANGUAGES and given > weight:
            best, weight = language, given
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not parameter.strip():
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


def test(language: str) -> dict[str, Any]:
    return {"title": "Tawny", "body": _TEXTS[language]["test"], "tag": "test", "url": "/#/", "lang": language}


def question(language: str, approval: dict[str, Any]) -> dict[str, Any]:
    """An approval's, with the words of its two buttons."""
    words, id = _TEXTS[language], approval["approval_id"]
    return {
        "title": words["question"],
        "body": f"{approval['tool']}: {approval['operation']}",
        "tag": id,
        "url": f"/#/approvals/{id}",
        "lang": language,
        "approval_id": id,
        "task_id": approval["task_id"],
        "actions": [{"action": verb, "title": words[verb]} for verb in ("approve", "deny")],
    }


def end(language: str, task: Task, *, good: bool) -> dict[str, Any]:
    """An ended task's."""
    return {
        "title": _TEXTS[language]["done" if good else "failed"],
        "body": _KINDS.get(language, {}).get(task.kind) or task.kind.replace("_", " "),
        "tag": task.task_id,
        "url": f"/#/tasks/{task.task_id}",
        "lang": language,
        "task_id": task.task_id,
    }
