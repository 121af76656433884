"""A crontab (`crontab -l`, or a system's with its column of users) as our documents."""

import hashlib
import re

import msgspec

from tawny.domain.foreign.jobs import Document, Job, words

_SETTING = re.compile(r"""\s*(?P<q>["']?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P=q)\s*=\s*(?P<value>.*?)\s*""")
_NICKNAMES = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_FIELD = r"[0-9A-Za-z*,/~-]+"
_LINE = re.compile(rf"\s*(?P<when>@\w+|{_FIELD}(?:[ \t]+{_FIELD}){{4}})[ \t]+(?P<rest>\S.*)")
_OURS = frozenset({"SHELL", "MAILTO", "MAILFROM", "CRON_TZ", "HOME", "LOGNAME", "USER", "RANDOM_DELAY"})
"""Settings for the scheduler, not for its programs (or that the sandbox sets itself)."""


def is_crontab(given: str) -> bool:
    """Whether every line is one of a crontab, and one of them an entry."""
    lines = [line for line in given.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    entries = [line for line in lines if _LINE.fullmatch(line)]
    return bool(entries) and all(_LINE.fullmatch(line) or _SETTING.fullmatch(line) for line in lines)


def jobs(given: str, *, timezone: str, system: bool = False) -> list[Job]:
    """The entries, in order. `system` is for a crontab with a user after the times, such as `/etc/crontab`."""
    found: list[Job] = []
    settings: dict[str, str] = {}
    made = _Maker(settings, timezone, system)
    comment = ""
    for number, line in enumerate(given.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            comment = bare.lstrip("# ").strip()
        elif (entry := _LINE.fullmatch(line)) is not None:
            found.append(made.job(entry, number, comment))
            comment = ""
        elif (setting := _SETTING.fullmatch(line)) is not None:
            settings[setting["name"]] = _unquoted(setting["value"])
        else:
            found.append(Job(name=f"line {number}", problem=f"this is no line of a crontab: {bare[:80]!r}"))
    return found


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


class _Maker(msgspec.Struct, frozen=True):
    """What an entry's meaning depends on beside itself."""

    settings: dict[str, str]
    timezone: str
    system: bool

    def job(self, entry: re.Match[str], number: int, comment: str) -> Job:
        changes = ["it runs in the sandbox: it sees the workspace only, and no network but the list"]
        rest = entry["rest"].strip()
        if self.system:
            user, _, rest = rest.partition(" ")
            rest = rest.strip()
            changes.append(f"it ran as {user}; it runs as you do now")
        command, stdin = _split_percent(rest)
        name = comment or " ".join(command.split())[:60] or f"line {number}"
        when = entry["when"]
        if when.startswith("@") and when not in _NICKNAMES:
            what = (
                "at the start of the machine" if when == "@reboot" else f"at {when}, which is not known here"
            )
            return Job(name=name, problem=f"line {number} runs {what}; no schedule says that")
        if "~" in when:
            return Job(
                name=name, problem=f"line {number}: {when!r} has a random time (~); name one, or a stagger"
            )
        if not command:
            return Job(name=name, problem=f"line {number} has no command")
        parameters: Document = {"argv": [self.settings.get("SHELL", "/bin/sh"), "-c", words(command)]}
        env = {key: value for key, value in self.settings.items() if key not in _OURS}
        if env:
            parameters["env"] = env
        if stdin is not None:
            parameters["input"] = words(stdin)
        zone = self.settings.get("CRON_TZ") or self.timezone
        document: Document = {
            "id": "crontab-" + hashlib.sha256(f"{when} {rest}".encode()).hexdigest()[:16],
            "name": name[:200],
            "schedule": {"type": "cron", "expression": _expression(when, changes), "timezone": zone},
            "action": {"type": "command", "parameters": parameters},
            "policy": {"misfire": "skip", "overlap": "parallel", "notify": _notify(self.settings, changes)},
        }
        if self.settings.get("RANDOM_DELAY", "0").isdigit() and int(self.settings.get("RANDOM_DELAY", "0")):
            document["schedule"]["stagger"] = f"{self.settings['RANDOM_DELAY']}m"
        return Job(name=name, document=document, changes=tuple(changes))


def _expression(when: str, changes: list[str]) -> str:
    """Cron's own oddity: where a day field begins with `*` both must fit, else either."""
    if when.startswith("@"):
        return when
    minute, hour, day, month, weekday = when.split()
    both = (day.startswith("*") and day != "*" and weekday != "*") or (
        weekday.startswith("*") and weekday != "*" and day != "*"
    )
    if both:
        changes.append("both of its day fields must fit, as cron has it; that is written with a + now")
        weekday = f"+{weekday}"
    return f"{minute} {hour} {day} {month} {weekday}"


def _notify(settings: dict[str, str], changes: list[str]) -> str:
    mail = settings.get("MAILTO")
    if mail == "":
        return "on_failure"
    if mail:
        changes.append(f"it mailed what it printed to {mail}; it tells your default channel when it ends")
    return "done_only"


def _split_percent(rest: str) -> tuple[str, str | None]:
    r"""The command and, after the first bare `%`, what it reads, where every `%` ends a line; `\%` is a `%`."""
    parts = re.split(r"(?<!\\)%", rest)
    parts = [part.replace("\\%", "%") for part in parts]
    command = parts[0].strip()
    return command, "\n".join(parts[1:]) + "\n" if len(parts) > 1 else None
