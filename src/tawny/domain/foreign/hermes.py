"""Hermes Agent's jobs (`cron/jobs.json`) as our documents."""

from collections.abc import Mapping
from typing import Any, cast

from tawny.domain.addresses import Address
from tawny.domain.foreign.jobs import (
    Document,
    Job,
    Unlike,
    duration,
    left_out,
    model,
    table,
    text,
    whole,
    words,
)

_JOB = frozenset(
    {"id", "name", "prompt", "skills", "skill", "model", "provider", "script", "no_agent", "schedule",
     "schedule_display", "repeat", "enabled", "state", "paused_at", "paused_reason", "created_at", "next_run_at",
     "last_run_at", "last_status", "last_error", "last_delivery_error", "deliver", "origin", "workdir"}
)  # fmt: skip


def is_store(given: Any) -> bool:
    """Whether a document looks like Hermes': jobs with a `prompt` or `script`, and a `schedule` with a `kind`."""
    return any(
        ("prompt" in job or "script" in job) and "kind" in table(job.get("schedule")) for job in _jobs(given)
    )


def jobs(given: Any, *, timezone: str) -> list[Job]:
    """The jobs of a store; `timezone` is the owner's, for schedules that name none."""
    return [_job(job, timezone) for job in _jobs(given)]


def _jobs(given: Any) -> list[Mapping[str, Any]]:
    found = table(given).get("jobs") if isinstance(given, Mapping) else given
    return [table(one) for one in cast("list[Any]", found)] if isinstance(found, list) else []


def _job(given: Mapping[str, Any], timezone: str) -> Job:
    name = (text(given.get("name")) or text(given.get("id")) or "(without a name)").splitlines()[0]
    changes: list[str] = []
    try:
        document = _document(given, name, timezone, changes)
    except Unlike as why:
        return Job(name=name, problem=str(why))
    return Job(name=name, document=document, changes=tuple(changes))


def _document(given: Mapping[str, Any], name: str, timezone: str, changes: list[str]) -> Document:
    job_id = text(given.get("id"))
    document: Document = {"id": f"hermes-{job_id}"} if job_id else {}
    document |= {"name": name[:200], "schedule": _schedule(given, timezone, changes)}
    prompt = text(given.get("prompt"))
    if script := text(given.get("script")):
        raise Unlike(
            f"it runs the script {script!r} of Hermes' own folder; make it a command in the workspace"
        )
    if not prompt:
        raise Unlike("it has no prompt")
    parameters: Document = {"message": words(prompt)}
    if named := text(given.get("model")):
        provider = text(given.get("provider"))
        chosen = model(f"{provider}/{named}" if provider else named, changes)
        parameters |= {"model": chosen} if chosen else {}
    skills = [one for one in [*cast("list[Any]", given.get("skills") or []), given.get("skill")] if one]
    if skills:
        changes.append(f"its skills have not come along: {', '.join(map(str, dict.fromkeys(skills)))}")
    if folder := text(given.get("workdir")):
        changes.append(f"it worked in {folder}; here it works in the workspace")
    document["action"] = {"type": "agent_turn", "parameters": parameters}
    document |= _delivery(given)
    if given.get("enabled") is False or given.get("state") == "paused":
        document["status"] = "paused"
    if created := text(given.get("created_at")):
        document["created_at"] = created
    left_out(given, _JOB, "the job", changes)
    return document


def _schedule(given: Mapping[str, Any], timezone: str, changes: list[str]) -> Document:
    schedule = table(given.get("schedule"))
    times, kind = whole(table(given.get("repeat")).get("times")), text(schedule.get("kind"))
    if times is not None and kind != "once":
        raise Unlike(f"it runs {times} times and then no more; give it an 'until' instead")
    match kind:
        case "cron":
            changes.append(f"it followed the zone of its machine; it is {timezone} now")
            return {"type": "cron", "expression": text(schedule.get("expr")), "timezone": timezone}
        case "interval":
            minutes = schedule.get("minutes")
            if isinstance(minutes, bool) or not isinstance(minutes, int | float) or minutes <= 0:
                raise Unlike(f"its interval of {minutes!r} minutes is none")
            return {"type": "every", "interval": duration(minutes * 60)}
        case "once":
            return {"type": "at", "time": text(schedule.get("run_at")), "timezone": timezone}
        case _:
            raise Unlike(f"a schedule of kind {kind!r} is not known here")


def _delivery(given: Mapping[str, Any]) -> Document:
    said, origin = text(given.get("deliver")), table(given.get("origin"))
    if said == "local":
        return {"policy": {"notify": "on_failure"}}
    channel, _, to = said.partition(":")
    thread = ""
    if channel == "origin":
        channel, to = text(origin.get("platform")), str(origin.get("chat_id") or "")
        thread = str(origin.get("thread_id") or "")
    if not channel:
        return {}
    to, _, topic = to.partition(":")
    return {"delivery": {"channels": [str(Address(channel, to, topic or thread))]}}
