"""How skills are told to a model: all of them where there is room, and where not, how to find the rest."""

from collections.abc import Sequence

import msgspec

ROOM = 6_000
"""Characters the lines may have in all: about 1,500 tokens of every request."""
_SHORTEST = 60


class Told(msgspec.Struct, frozen=True):
    """A skill as a model is told of it. `folder` is where it lies in `skills/`."""

    name: str
    description: str
    folder: str

    @property
    def line(self) -> str:
        where = "" if self.folder == self.name else f" (in skills/{self.folder})"
        return f"{self.name}{where}: {self.description}"


def lines(skills: Sequence[Told], *, room: int = ROOM) -> list[str]:
    """The lines for the prompt, at most `room` characters.

    Where the whole does not fit, descriptions are shortened alike; where that is not enough, those at the end are left
    out. The last line then says so, and how the rest is found.
    """
    whole = [one.line for one in skills]
    if _size(whole) <= room:
        return whole
    hint = "descriptions are shortened here; skills(query=…) has them whole"
    left = room - len(hint) - 1
    for most in (600, 400, 300, 220, 160, 120, 90, _SHORTEST):
        short = [_shortened(one, most) for one in skills]
        if _size(short) <= left:
            return [*short, hint]
    short = [_shortened(one, _SHORTEST) for one in skills]
    kept: list[str] = []
    left = room - len(_rest(len(skills))) - 1
    for line in short:
        left -= len(line) + 1
        if left < 0:
            break
        kept.append(line)
    return [*kept, _rest(len(skills) - len(kept))]


def search(skills: Sequence[Told], query: str) -> list[Told]:
    """The skills that have the query's words, those with more of them first, in names before descriptions."""
    words = query.lower().split()
    if not words:
        return list(skills)
    scored = [(_score(one, words), -n, one) for n, one in enumerate(skills)]
    return [one for score, _, one in sorted(scored, key=lambda found: found[:2], reverse=True) if score]


def _score(skill: Told, words: Sequence[str]) -> int:
    name, description = skill.name.lower(), skill.description.lower()
    return sum(3 if word in name else 2 if word in description else 0 for word in words)


def _shortened(skill: Told, most: int) -> str:
    text = skill.description
    if len(text) > most:
        text = text[:most].rsplit(" ", 1)[0].rstrip(" ,;:.–-") + " …"
    return msgspec.structs.replace(skill, description=text).line


def _rest(count: int) -> str:
    return f"and {count} more that are not listed here: skills(query=…) finds them by words"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)
