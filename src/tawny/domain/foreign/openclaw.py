"""OpenClaw's automations (`cron/jobs.json`, or what `openclaw cron list --json` prints) as our documents."""

import re
from collections.abc import Mapping
from datetime import datetime
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
    time_of_millis,
    tools,
    whole,
    words,
)

_SPREAD = "5m"
"""OpenClaw spreads what runs at the full hour over five minutes unless told not to."""
_JOB = frozenset(
    {"id", "jobId", "agentId", "sessionKey", "name", "description", "enabled", "deleteAfterRun", "createdAtMs",
     "updatedAtMs", "schedule", "sessionTarget", "wakeMode", "payload", "delivery", "failureAlert", "pacing",
     "trigger", "state", "notify", "configRevision", "declarationKey", "displayName", "owner", "schemaVersion"}
)  # fmt: skip
_TURN = frozenset(
    {"kind", "message", "text", "model", "timeoutSeconds", "toolsAllow", "deliver", "channel", "to",
     "bestEffortDeliver"}
)  # fmt: skip
_COMMAND = frozenset({"kind", "argv", "cwd", "env", "input", "timeoutSeconds"})


def is_store(given: Any) -> bool:
    """Whether a document looks like OpenClaw's: jobs with a `schedule` that has a `kind`, and a `payload`."""
    return any("payload" in job and "kind" in table(job.get("schedule")) for job in _jobs(given))


def jobs(given: Any, *, timezone: str) -> list[Job]:
    """The jobs of a store; `timezone` is the owner's, for schedules that name none."""
    return [_job(job, timezone) for job in _jobs(given)]


def _jobs(given: Any) -> list[Mapping[str, Any]]:
    found = given.get("jobs", [given]) if isinstance(given, Mapping) else given  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(found, Mapping):
        # an early store kept them by id
        found = list(cast("Mapping[str, Any]", found).values())
    return [table(one) for one in cast("list[Any]", found)] if isinstance(found, list) else []


def _job(given: Mapping[str, Any], timezone: str) -> Job:
    name = (
        text(given.get("name"))
        or text(given.get("displayName"))
        or text(given.get("id"))
        or "(without a name)"
    )
    changes: list[str] = []
    try:
        document, holds = _document(given, name, timezone, changes)
    except Unlike as why:
        return Job(name=name, problem=str(why))
    return Job(name=name, document=document, changes=tuple(changes), holds=holds)


def _document(given: Mapping[str, Any], name: str, timezone: str, changes: list[str]) -> tuple[Document, str]:
    job_id = text(given.get("id")) or text(given.get("jobId"))
    document: Document = {"id": f"openclaw-{job_id}"} if job_id else {}
    document["name"] = name[:200]
    document |= _trigger(given, timezone, changes)
    document["action"] = _action(given, changes)
    policy: Document = {}
    seconds = whole(table(given.get("payload")).get("timeoutSeconds"))
    if seconds:
        policy["timeout"] = duration(seconds)
    policy |= _delivery(given, document, changes)
    policy |= _alert(given, changes)
    if pacing := table(given.get("pacing")):
        policy["pacing"] = {key: pacing[key] for key in ("min", "max") if key in pacing}
    if policy:
        document["policy"] = policy
    created = whole(given.get("createdAtMs"))
    if created:
        document["created_at"] = time_of_millis(created)
    if given.get("enabled") is False:
        document["status"] = "disabled"
    agent = text(given.get("agentId"))
    if agent not in ("", "main"):
        changes.append(f"it belonged to agent {agent!r}: that one's workspace and rules have not come along")
    left_out(given, _JOB, "the job", changes)
    holds = ""
    if table(given.get("trigger")):
        holds = (
            "it ran only when a script (trigger.script) said so; write that as a watch's condition,"
            " or enable it to run at every time"
        )
    return document, holds


# --- when


def _trigger(given: Mapping[str, Any], timezone: str, changes: list[str]) -> Document:
    schedule = table(given.get("schedule"))
    kind = text(schedule.get("kind"))
    match kind:
        case "cron":
            return {"schedule": _cron(schedule, timezone, changes)}
        case "every":
            return {"schedule": _every(schedule, whole(given.get("createdAtMs")))}
        case "at":
            return {"schedule": _at(schedule, given, changes)}
        case "on-exit":
            if not text(schedule.get("command")):
                raise Unlike("its schedule has no command to wait for")
            return {"on": {"source": "process", "argv": _shell(schedule, changes)}}
        case "stream":
            return {"on": _stream(schedule, changes)}
        case _:
            raise Unlike(f"a schedule of kind {kind!r} is not known here")


def _cron(schedule: Mapping[str, Any], timezone: str, changes: list[str]) -> Document:
    expression = text(schedule.get("expr")) or text(schedule.get("cron"))
    if not expression:
        raise Unlike("its schedule has no expression")
    document: Document = {"type": "cron", "expression": expression}
    if zone := text(schedule.get("tz")):
        document["timezone"] = zone
    else:
        document["timezone"] = timezone
        changes.append(f"it named no time zone and followed its machine's; it is {timezone} now")
    stagger = whole(schedule.get("staggerMs"))
    if stagger:
        document["stagger"] = duration(stagger / 1000)
    elif stagger is None and re.fullmatch(r"(0 )?0 \*(/\d+)? .*", expression):
        document["stagger"] = _SPREAD
        changes.append(f"at the full hour it is spread over {_SPREAD}, as it was there (schedule.stagger)")
    return document


def _every(schedule: Mapping[str, Any], created: int | None) -> Document:
    millis = whole(schedule.get("everyMs"))
    if not millis or millis < 1000:
        raise Unlike(f"everyMs is {schedule.get('everyMs')!r}; the shortest interval here is a second")
    anchor = whole(schedule.get("anchorMs"))
    anchor = created if anchor is None else anchor
    document: Document = {"type": "every", "interval": duration(millis / 1000)}
    return document if anchor is None else document | {"anchor": time_of_millis(anchor)}


def _at(schedule: Mapping[str, Any], given: Mapping[str, Any], changes: list[str]) -> Document:
    if (millis := whole(schedule.get("atMs"))) is not None:
        return {"type": "at", "time": time_of_millis(millis)}
    said = text(schedule.get("at"))
    try:
        moment = datetime.fromisoformat(said)
    except ValueError as error:
        raise Unlike(f"its time {said!r} is none") from error
    if moment.tzinfo is None:
        if zone := text(schedule.get("tz")):
            return {"type": "at", "time": said, "timezone": zone}
        said += "+00:00" if ":" in said else "T00:00:00+00:00"
        changes.append("its time named no zone, which meant UTC there; it says so now")
    if given.get("deleteAfterRun") is False:
        changes.append("once it has run it is completed, not kept enabled")
    return {"type": "at", "time": said}


def _shell(schedule: Mapping[str, Any], changes: list[str]) -> list[str]:
    changes.append("the program runs in the sandbox: it sees the workspace only")
    command = text(schedule.get("command"))
    folder = text(schedule.get("cwd"))
    if folder:
        changes.append(f"it ran in {folder}; here it runs in the workspace")
    return ["/bin/sh", "-c", command]


def _stream(schedule: Mapping[str, Any], changes: list[str]) -> Document:
    command = schedule.get("command")
    argv: list[Any] = (
        cast("list[Any]", command) if isinstance(command, list) else ["/bin/sh", "-c", text(command)]
    )
    if not argv or not all(isinstance(part, str) and part for part in argv):
        raise Unlike("its stream has no command")
    changes.append("the program runs in the sandbox: it sees the workspace only")
    changes.append("each line that matches is an event of its own; there they came in batches")
    document: Document = {"source": "stream", "argv": argv}
    if schedule.get("mode") == "match" and text(schedule.get("match")):
        document["match"] = text(schedule.get("match"))
    return document


# --- what


def _action(given: Mapping[str, Any], changes: list[str]) -> Document:
    payload = table(given.get("payload"))
    match text(payload.get("kind")):
        case "agentTurn":
            return {"type": "agent_turn", "parameters": _turn(given, payload, changes)}
        case "systemEvent":
            said = text(payload.get("text")) or text(payload.get("message"))
            if not said:
                raise Unlike("its event has no text")
            left_out(payload, _TURN, "the payload", changes)
            if given.get("wakeMode") == "next-heartbeat":
                changes.append("it waited for the next heartbeat; it is taken up at its time now")
            else:
                changes.append("the event is a message to the main session now, answered at its time")
            return {
                "type": "agent_turn",
                "parameters": {"message": words(said) + _brought(given), "session": "main"},
            }
        case "command":
            return {"type": "command", "parameters": _command(payload, changes)}
        case "script":
            raise Unlike(
                "a script for OpenClaw's own tools cannot run here; write it as a flow or an agent_turn"
            )
        case "heartbeat":
            raise Unlike("the heartbeat is an automation with a watch here; see the page on watches")
        case other:
            raise Unlike(f"a payload of kind {other!r} is not known here")


def _turn(given: Mapping[str, Any], payload: Mapping[str, Any], changes: list[str]) -> Document:
    message = text(payload.get("message")) or text(payload.get("text"))
    if not message:
        raise Unlike("its turn has no message")
    parameters: Document = {"message": words(message) + _brought(given)}
    if named := text(payload.get("model")):
        parameters |= {"model": chosen} if (chosen := model(named, changes)) else {}
    allowed = payload.get("toolsAllow")
    if isinstance(allowed, list) and (names := tools(cast("list[Any]", allowed), changes)) is not None:
        parameters["tools"] = names
    target = text(given.get("sessionTarget"))
    if target == "main":
        parameters["session"] = "main"
    elif target.startswith("session:"):
        parameters["session"] = target.removeprefix("session:")
    elif target == "current":
        changes.append("it answered in the conversation it was made in; it has a session of its own now")
    left_out(payload, _TURN, "the payload", changes)
    return parameters


def _brought(given: Mapping[str, Any]) -> str:
    """What a stream's line adds to the message, as it did there."""
    return "\n\n{{ line }}" if text(table(given.get("schedule")).get("kind")) == "stream" else ""


def _command(payload: Mapping[str, Any], changes: list[str]) -> Document:
    argv = payload.get("argv")
    if not isinstance(argv, list) or not argv:
        raise Unlike("its command has no argv")
    changes.append(
        "the command runs in the sandbox: it sees the workspace, and its folder where it names one"
    )
    parameters: Document = {"argv": [words(str(part)) for part in cast("list[Any]", argv)]}
    for key in ("cwd", "input"):
        if said := payload.get(key):
            parameters[key] = words(str(said))
    if env := table(payload.get("env")):
        parameters["env"] = {key: words(str(value)) for key, value in env.items()}
    left_out(payload, _COMMAND, "the payload", changes)
    return parameters


# --- where to tell


def _delivery(given: Mapping[str, Any], document: Document, changes: list[str]) -> Document:
    """Puts `delivery` into the document; what the policy says of it is returned."""
    said = table(given.get("delivery"))
    payload = table(given.get("payload"))
    if not said and isinstance(payload.get("deliver"), bool):
        # before deliveries had a table of their own
        mode = "announce" if payload["deliver"] else "none"
        said = {"mode": mode, "channel": payload.get("channel"), "to": payload.get("to")}
    if not said:
        return {}
    match text(said.get("mode")) or "announce":
        case "none":
            return {"notify": "on_failure"}
        case "webhook":
            if not (url := text(said.get("to"))):
                raise Unlike("its webhook has no address")
            document["delivery"] = {"channels": [f"webhook:{url}"]}
            changes.append("the webhook is signed and shaped as Tawny's are (type and task)")
        case "announce":
            channel = text(said.get("channel"))
            if channel in ("", "last"):
                changes.append("it told you where you wrote last; it tells your default channel now")
            else:
                document["delivery"] = {"channels": [_target(channel, said)]}
        case other:
            changes.append(f"delivery mode {other!r} is not known; only failures are told")
            return {"notify": "on_failure"}
    return {"notify": "done_only"}


def _target(channel: str, said: Mapping[str, Any]) -> str:
    """`telegram:-1001#7` of a channel, a recipient (`channel:C1`, `telegram:1`, `-1001:topic:7`) and a thread."""
    to, thread = str(said.get("to") or "").strip(), str(said.get("threadId") or "").strip()
    for prefix in (channel, "channel", "user"):
        to = to.removeprefix(f"{prefix}:")
    to, _, topic = to.partition(":topic:")
    return str(Address(channel, to, topic or thread))


def _alert(given: Mapping[str, Any], changes: list[str]) -> Document:
    alert = given.get("failureAlert")
    if alert is False:
        changes.append("failures in a row are told here, whatever failureAlert said")
        return {}
    after = whole(table(alert).get("after"))
    return {"alert_after": min(after, 1000)} if after and after > 0 else {}
