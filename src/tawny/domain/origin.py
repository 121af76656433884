"""Where the content of a run comes from, and what follows from it.

A run starts with the origin of whoever set it going: the owner, a known contact, or something untrusted. Whatever it
reads afterwards is merged in. Once untrusted content is among it, nobody can tell any more whose wish a call is: from
then on the run may not reach out to what the owner's own words did not name, run commands, or change standing state,
without a yes. Nothing here looks into the content for signs of an attack: such filters do not hold.
"""

import re
from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from tawny.domain.mentions import Mentions, emails_in, is_plain_word, links_in
from tawny.domain.tasks import Json, Origin, Task

OWNER, CONTACT, UNTRUSTED = "owner", "contact", "untrusted"
_RANK = {OWNER: 0, CONTACT: 1, UNTRUSTED: 2}
_KEYS_OF = "keys_of"
_MOST_READ = 50
_MOST_TEXT = 20_000
_MOST_VOUCHED = 500
_MOST_WORDS = 40
_MOST_DIGITS = 15
_FIGURE = re.compile(r"[+#-]?\d{1,9}(?:[.:T+-]\d{1,6}){0,7}Z?")
_IPV4 = re.compile(r"\d+(?:\.\d+){3}(?::\d+)?")
_CARRIED = {"read": _MOST_READ, "private": _MOST_READ, "vouched": _MOST_VOUCHED, "glimpsed": _MOST_READ}
"""What follows the content wherever it goes, and the most that is kept of each."""


def read_from(
    what: str,
    *,
    trust: str = UNTRUSTED,
    private: bool = False,
    vouched: Iterable[str] = (),
    glimpsed: Iterable[str] = (),
) -> Origin:
    """The origin of something read: `what` says it for a person, such as `web page https://example.org`.

    `private` marks identity papers, account data and the like. `vouched` are links and addresses that somebody
    trusted named in it; a run may read those very links later on. `glimpsed` are single words of strangers.
    """
    detail: dict[str, Json] = {"read": [{"what": what[:300], "trust": trust}]}
    if private:
        detail["private"] = [what[:300]]
    if kept := list(vouched):
        detail["vouched"] = kept[:_MOST_VOUCHED]
    if words := list(glimpsed):
        detail["glimpsed"] = words[:_MOST_READ]
    return Origin(by=trust, via="read", trusted=trust != UNTRUSTED, detail=detail)


def from_contact(what: str, text: str, *, private: bool = False) -> Origin:
    """The origin of something a known contact wrote, with the links and addresses it names."""
    return read_from(what, trust=CONTACT, private=private, vouched=[*links_in(text), *emails_in(text)])


def merge(origin: Origin, read: Origin) -> Origin:
    """What a run's origin becomes once it has read something: it can only lose trust. Merging twice changes nothing."""
    detail = dict(origin.detail)
    for key, most in _CARRIED.items():
        _extend(detail, read.detail, key, most)
    if read.by == OWNER and read.trusted:
        _extend(detail, read.detail, "words", _MOST_READ)
    return msgspec.structs.replace(origin, trusted=origin.trusted and read.trusted, detail=detail)


def absorb(origin: Origin, params: Mapping[str, Json], read: Origin) -> Origin:
    """What a run's origin becomes once it has read something, its owner's words kept as they were before."""
    if "words" not in origin.detail:
        kept: list[Json] = list(words_of(origin, params))
        origin = msgspec.structs.replace(origin, detail={**origin.detail, "words": kept})
    return merge(origin, read)


def inherit(
    origin: Origin, params: Mapping[str, Json], *, by: str | None = None, via: str | None = None
) -> Origin:
    """The origin of what a run with this origin and these parameters starts, or of an automation it makes.

    Distrust is inherited. So are the owner's words: what the run itself writes never becomes one of them.
    """
    kept: dict[str, Json] = {key: origin.detail[key] for key in (*_CARRIED, "scopes") if key in origin.detail}
    kept["words"] = words_of(origin, params)
    return msgspec.structs.replace(origin, by=by or origin.by, via=via or origin.via, detail=kept)


def is_from_outside(task: Task) -> bool:
    """Whether what a task shows is no longer the owner's: it has read such things, or its failure tells of outside.

    A command or flow that failed is not distrusted itself, as the owner's own retry of it would ask him; who reads
    it is.
    """
    shown = task.result or {}
    return trust_of(task.origin) == UNTRUSTED or (
        task.error is not None and bool(shown.get("reached") or shown.get("outside"))
    )


def of_retry(task: Task) -> Origin:
    """The origin of a task that does another's work again: its own, and the keys of its effects.

    Whatever was under way may have happened: under the same key the other side knows it again.
    """
    return with_keys_of(task.origin, task)


def with_keys_of(origin: Origin, task: Task) -> Origin:
    """The same origin for work that this task did before: its effects keep their keys."""
    return msgspec.structs.replace(origin, detail={**origin.detail, _KEYS_OF: keys_of(task)})


def with_own_keys(origin: Origin) -> Origin:
    """The same origin for other work, whose effects have keys of their own."""
    detail = {key: value for key, value in origin.detail.items() if key != _KEYS_OF}
    return msgspec.structs.replace(origin, detail=detail)


def keys_of(task: Task) -> str:
    """The task whose id the idempotency keys of this one begin with: the first of those that do its work."""
    return str(task.origin.detail.get(_KEYS_OF, task.task_id))


def of_child(origin: Origin, params: Mapping[str, Json], wanted: Origin) -> Origin:
    """The origin of a child: its parent's, and whatever else it starts with. A model's child stays a model's."""
    by = wanted.by if wanted.by not in (OWNER, "") else None
    via = wanted.via if wanted.via != "cli" else None
    child = merge(inherit(origin, params, by=by, via=via), msgspec.structs.replace(wanted, by=by or "child"))
    if by is None:
        # A flow's own text, say: as much the owner's as the flow is.
        detail = dict(child.detail)
        _extend(detail, wanted.detail, "words", _MOST_READ)
        child = msgspec.structs.replace(child, detail=detail)
    return msgspec.structs.replace(child, reply_to=wanted.reply_to or origin.reply_to)


def remembered(kept: Json) -> Origin | None:
    """What a session keeps of what was read in it, as an origin to merge into its next turn; `None` where nothing."""
    if not isinstance(kept, dict) or not kept:
        return None
    before = Origin(by="read", via="read", detail=cast(dict[str, Json], kept))
    return msgspec.structs.replace(before, trusted=trust_of(before) != UNTRUSTED)


def to_remember(kept: Json, origin: Origin, *, what: str) -> dict[str, Json]:
    """What a session keeps once content of this origin stands in its history."""
    detail: dict[str, Json] = dict(cast(dict[str, Json], kept)) if isinstance(kept, dict) else {}
    for key, most in _CARRIED.items():
        _extend(detail, origin.detail, key, most)
    if trust_of(origin) == UNTRUSTED and trust_of(Origin(detail=detail)) != UNTRUSTED:
        _extend(detail, {"read": [{"what": what, "trust": UNTRUSTED}]}, "read", _MOST_READ)
    return detail


def of_automation(made: Origin, written: Iterable[str], *, via: str, **detail: Json) -> Origin:
    """The origin of an automation's run. `made` is that of its making, `written` what its action says in words.

    An order the owner wrote is his word. One that a model wrote stays a model's, and only what the owner said when it
    was made counts as his.
    """
    is_owners = made.by == OWNER and made.trusted
    kept: dict[str, Json] = {key: made.detail[key] for key in (*_CARRIED, "scopes") if key in made.detail}
    kept["words"] = list(written) if is_owners else made.detail.get("words", [])
    return Origin(
        by="automation" if is_owners else made.by if made.by != OWNER else "stranger",
        via=via,
        trusted=made.trusted,
        reply_to=made.reply_to,
        detail={**kept, **detail},
    )


def changed_by(model: Origin, made: Origin, written: Iterable[str]) -> Origin:
    """The origin of an automation that a model has changed: no order of the owner's own any more.

    `made` and `written` are as they were before. What the owner wrote stays his word, what bound it binds it on.
    """
    before = of_automation(made, written, via=made.via)
    detail = dict(model.detail)
    for key in (*_CARRIED, "scopes", "words"):
        _extend(detail, before.detail, key, _MOST_READ if key == "read" else _MOST_VOUCHED)
    is_owners = made.by == OWNER and made.trusted
    return Origin(
        by=model.by if is_owners else made.by,
        via=model.via,
        trusted=model.trusted and made.trusted,
        reply_to=made.reply_to,
        detail=detail,
    )


def trust_of(origin: Origin) -> str:
    """`owner`, `contact` or `untrusted`: the least trusted of all that set the run going or was read by it."""
    if not origin.trusted or origin.by in ("stranger", UNTRUSTED):
        return UNTRUSTED
    trusts = [str(entry.get("trust", UNTRUSTED)) for entry in readings(origin)]
    if origin.by == CONTACT:
        trusts.append(CONTACT)
    return max(trusts, key=lambda trust: _RANK.get(trust, 2), default=OWNER)


def is_owners(origin: Origin) -> bool:
    """Whether the owner's own hand, or a standing order of his, set it going and nothing else had a hand in it."""
    return origin.by in (OWNER, "automation") and trust_of(origin) == OWNER


def readings(origin: Origin) -> list[dict[str, Json]]:
    """What the run has read: `{"what", "trust"}` each."""
    found = origin.detail.get("read", [])
    if not isinstance(found, list):
        return [{"what": "something", "trust": UNTRUSTED}]
    return [
        cast(dict[str, Json], entry)
        if isinstance(entry, dict)
        else {"what": str(cast(object, entry)), "trust": UNTRUSTED}
        for entry in cast(list[Json], found)
    ]


def words_of(origin: Origin, params: Mapping[str, Json]) -> list[str]:
    """The owner's own words behind a run: what was kept as such, else the parameters where the owner wrote them."""
    kept = origin.detail.get("words")
    if isinstance(kept, list):
        return [text[:_MOST_TEXT] for text in cast(list[Json], kept) if isinstance(text, str)]
    if origin.by in (OWNER, "automation") and origin.trusted:
        return [text[:_MOST_TEXT] for text in _texts(params)]
    return []


def glimpsed(origin: Origin) -> list[Json]:
    """The single words of strangers that a run has read."""
    found = origin.detail.get("glimpsed")
    return cast(list[Json], found) if isinstance(found, list) else []


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy knows about a run: how far its content is trusted, and what trusted people named."""

    trust: str = OWNER
    words: tuple[str, ...] = ()
    vouched: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    glimpsed: tuple[str, ...] = ()
    """Single words of strangers: too little to make the run untrusted, enough to be asked about what they may steer."""

    @property
    def is_untrusted(self) -> bool:
        return self.trust == UNTRUSTED

    @property
    def mentions(self) -> Mentions:
        """What the owner's own words name."""
        return Mentions(self.words)

    @property
    def offered(self) -> Mentions:
        """What known contacts named."""
        return Mentions(self.vouched)


def standing(origin: Origin, params: Mapping[str, Json]) -> Standing:
    """The standing of a run with this origin and these parameters."""
    return Standing(
        trust=trust_of(origin),
        words=tuple(words_of(origin, params)),
        vouched=tuple(str(text) for text in cast(list[Json], origin.detail.get("vouched") or [])),
        read=tuple(str(entry.get("what", "")) for entry in readings(origin) if entry.get("trust") != OWNER),
        private=tuple(str(text) for text in cast(list[Json], origin.detail.get("private") or [])),
        glimpsed=tuple(str(text) for text in glimpsed(origin)),
    )


def is_inert(value: Json, *, asked: Json = None) -> bool:
    """Whether a result is too small to carry an instruction: numbers, flags, and at most 40 different single words.

    What stands in `asked` (the arguments of the call) and comes back as the name of a field is nothing new.
    """
    return _words(value, asked=asked) is not None


def of_strangers(what: str, value: Json, *, asked: Json = None) -> Origin | None:
    """The origin of a result that strangers wrote: untrusted; of an inert one only its words; `None` for figures."""
    words = _words(value, asked=asked)
    if words is None:
        return read_from(what)
    return read_from(what, trust=OWNER, glimpsed=words) if words else None


def _words(value: Json, *, asked: Json = None) -> list[str] | None:
    """The single words in a result, in their order; `None` where there is anything else or there are too many."""
    known = set(_texts(asked))
    words: dict[str, None] = {}
    stack: list[Json] = [value]
    while stack:
        current = stack.pop()
        texts: list[str] = []
        if isinstance(current, str):
            texts = [current]
        elif isinstance(current, list):
            stack.extend(reversed(cast(list[Json], current)))
        elif isinstance(current, dict):
            fields = cast(dict[str, Json], current)
            texts = [name for name in fields if name not in known]
            stack.extend(reversed(fields.values()))
        elif isinstance(current, int | None):
            if abs(current or 0) >= 10**_MOST_DIGITS:
                return None
        elif not isinstance(current, float):
            return None
        for text in texts:
            if _FIGURE.fullmatch(text) and not _IPV4.fullmatch(text):
                continue
            if text and not is_plain_word(text):
                return None
            words[text] = None
        if len(words) > _MOST_WORDS:
            return None
    return [word for word in words if word]


def _texts(value: Json) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in cast(Mapping[str, Json], value).values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in cast(list[Json], value):
            yield from _texts(item)


def _extend(detail: dict[str, Json], more: Mapping[str, Json], key: str, most: int) -> None:
    added = more.get(key)
    if not isinstance(added, list):
        return
    before = detail.get(key)
    known = list(cast(list[Json], before)) if isinstance(before, list) else []
    known += [item for item in cast(list[Json], added) if item not in known]
    if len(known) > most and key == "read":
        # What is dropped from the list must not make the run look better.
        known = [*known[: most - 1], {"what": "and more", "trust": UNTRUSTED}]
    detail[key] = known[:most]
