"""What a long document says: key points, risks, deadlines, deeds, found by rules, sentence by sentence."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

_PART = 6_000
_LONGEST, _SHORTEST = 320, 20
_SENTENCE = re.compile(
    r"(?<=[.!?;])\s+(?=[A-Z0-9\"“(\[ÄÖÜ])|(?<=[。！？；])|\n{2,}|\n(?=\s*(?:[-*•]|\d+[.)])\s)"
)
_WORD = re.compile(r"[^\W\d_]{3,}|[\u4e00-\u9fff]{2}")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|januar|februar|märz|mai|juni|juli|oktober|dezember)"
)
_DATE = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b{_MONTH}\.?\s+\d{{1,2}}\b|\b\d{{1,2}}\.?\s+{_MONTH}\b|\b\d{{1,2}}\.\d{{1,2}}\.\d{{2,4}}\b"
    r"|\b(?:by|until|before|bis)\s+(?:monday|tuesday|wednesday|thursday|friday|next week"
    r"|the end of|end of|montag|freitag)"
    r"|\bQ[1-4]\s+20\d\d\b|\d{1,2}月\d{1,2}[日号]|本周|下周|月底",
    re.IGNORECASE,
)
_DUE = re.compile(
    r"\b(?:deadline|due|by|until|before|no later than|milestone|deliver\w*|complet\w+|launch\w*|go[- ]live"
    r"|extend\w*|postpon\w+"
    r"|submit\w*|sign(?:ed)? off|frist|spätestens|bis|termin|abgabe)\b|截止|期限|之前|完成|交付|延期|上线",
    re.IGNORECASE,
)
_RISK = re.compile(
    r"\b(?:risk\w*|overrun\w*|delay\w*|slip\w*|block(?:ed|er)\w*|shortage\w*|concern\w*|threat\w*|exceed\w*|fail(?:s|ed|ure)\w*"
    r"|penalt\w+|breach\w*|vulnerab\w+|dependen(?:t on|cy|cies)|unresolved|understaffed|uncertain\w*|critical|issue\w*"
    r"|risiko|risiken|verzöger\w+|überschreit\w+|engpass)\b|风险|超支|延误|延迟|短缺|阻塞|漏洞|违约|问题",
    re.IGNORECASE,
)
_DEED = re.compile(
    r"\b(?:must|needs? to|need(?:s|ed)? (?:approval|review)|requires?|required to"
    r"|has to|have to|should|shall|action item|to do:|next step"
    r"|please|recommend\w*|propos\w+|assign\w*|muss|müssen|soll(?:te|en)?|erforderlich|empfehl\w+)\b|必须|需要|应当|应该|建议|请",
    re.IGNORECASE,
)
_NEWS = re.compile(
    r"\b(?:expand\w*|increas\w+|decreas\w+|reduc\w+|add(?:s|ed)?|new|chang\w+|revis\w+|approv\w+|decid\w+|agree\w+|conclud\w+|result\w*"
    r"|total\w*|budget|scope|cost\w*|revenue|goal|objective|summary|key|main)\b|新增|增加|减少|调整|变更|决定|预算|范围|目标|总结",
    re.IGNORECASE,
)
_AMOUNT = re.compile(
    r"\d[\d.,]*\s?%|[$€£¥]\s?\d|\b\d[\d.,]*\s?(?:million|billion|k|USD|EUR|RMB|CNY)\b|\d+\s?(?:万|亿|元)",
    re.I,
)
_FILLER = frozenset(
    [
        "the",
        "and",
        "for",
        "that",
        "with",
        "this",
        "from",
        "are",
        "was",
        "were",
        "will",
        "has",
        "have",
        "had",
        "not",
        "but",
        "its",
        "can",
        "may",
        "our",
        "their",
        "which",
        "been",
        "into",
        "than",
        "also",
        "all",
        "any",
        "each",
        "per",
        "more",
        "such",
        "these",
        "those",
        "they",
        "you",
        "your",
        "when",
        "where",
        "who",
        "what",
        "how",
        "there",
        "here",
        "would",
        "could",
    ]
)


class Part(msgspec.Struct, frozen=True):
    """A stretch of the document, about two pages; `heading` is the last one before or in it."""

    number: int
    heading: str
    text: str


class Finding(msgspec.Struct, frozen=True):
    """A sentence worth telling, where it stands, and how much it weighs."""

    text: str
    part: int
    heading: str
    weight: float


class Findings(msgspec.Struct, frozen=True):
    """What one part, or the whole, says."""

    key_points: tuple[Finding, ...] = ()
    risks: tuple[Finding, ...] = ()
    deadlines: tuple[Finding, ...] = ()
    actions: tuple[Finding, ...] = ()


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document in brief."""

    title: str
    words: int
    parts: int
    findings: Findings


def split(text: str) -> tuple[Part, ...]:
    """The document in parts of about 6,000 characters, cut at headings, pages or paragraphs."""
    parts: list[Part] = []
    heading, held_heading, held, size = "", "", list[str](), 0

    def close() -> None:
        nonlocal held, size
        if held:
            parts.append(Part(len(parts) + 1, held_heading, "\n\n".join(held)))
        held, size = [], 0

    for block in re.split(r"\n{2,}|\f", text):
        plain = block.strip()
        if not plain:
            continue
        if match := re.match(r"#{1,6}\s+(.+)", plain):
            heading = match[1].strip()[:120]
            if size > _PART // 2:
                close()
        for start in range(0, len(plain), _PART):
            piece = plain[start : start + _PART]
            if size + len(piece) > _PART:
                close()
            if not held:
                held_heading = heading
            held.append(piece)
            size += len(piece)
    close()
    return tuple(parts)


def title_of(text: str) -> str:
    """The first heading, else the first line."""
    for line in text.splitlines():
        if plain := line.strip().lstrip("#").strip(" *_"):
            return plain[:120]
    return "Document"


def common_words(text: str, *, most: int = 40) -> frozenset[str]:
    """The words a document is about: its frequent ones, filler left out."""
    counted = Counter(word.casefold() for word in _WORD.findall(text[:500_000]))
    return frozenset(
        word for word, n in counted.most_common(most + len(_FILLER)) if n > 1 and word not in _FILLER
    )


def examine(part: Part, *, about: frozenset[str] = frozenset(), focus: Sequence[str] = ()) -> Findings:
    """What a part says. `about` are the document's own words, `focus` what the reader cares for."""
    wanted = [word.casefold() for word in focus if word.strip()]
    found: dict[str, list[Finding]] = {"deadlines": [], "risks": [], "actions": [], "key_points": []}
    heading = part.heading
    for position, sentence in enumerate(_sentences(part.text)):
        if sentence.startswith("#"):
            heading = sentence.lstrip("# ")[:120]
            continue
        plain = re.sub(r"^(?:[-*•]|\d+[.)])\s+", "", sentence).strip(" *_|")
        if not _SHORTEST <= _width(plain) <= _LONGEST:
            continue
        weight = _weight(plain, about, position) + 2.0 * sum(word in plain.casefold() for word in wanted)
        for kind, extra in _kinds(plain, heading):
            found[kind].append(Finding(plain, part.number, heading, round(weight + extra, 3)))
    return Findings(**{kind: _best(items, 6) for kind, items in found.items()})


def merge(parts: Iterable[Findings], *, most: int = 5) -> Findings:
    """The weightiest of all parts; what is told under one head is not told under another."""
    everything = list(parts)
    # What stands in part after part is a template's, not news.
    spread = Counter(key for one in everything for key in _keys(one))
    told = {key for key, n in spread.items() if n > 2}
    merged: dict[str, tuple[Finding, ...]] = {}
    for kind in ("deadlines", "risks", "actions", "key_points"):
        found = [
            finding for one in everything for finding in getattr(one, kind) if _key(finding.text) not in told
        ]
        merged[kind] = _best(found, most)
        told.update(_key(finding.text) for finding in merged[kind])
    return Findings(**merged)


def render(digest: Digest, *, origin: str = "") -> str:
    """The digest as Markdown, in the order a busy reader wants it."""
    lines = [
        f"**{digest.title}**",
        f"{origin + ' · ' if origin else ''}{digest.words:,} words, {digest.parts} parts",
    ]
    found = digest.findings
    lines += _block("Key points", found.key_points, numbered=True)
    attention = [*(f"⚠️ {one.text}" for one in found.risks), *(f"⏰ {one.text}" for one in found.deadlines)]
    if attention:
        lines += ["", "**Risks and deadlines**", *(f"- {line}" for line in attention)]
    lines += _block("Suggested actions", found.actions, numbered=True)
    if not any((found.key_points, attention, found.actions)):
        lines += ["", "Nothing in it stands out."]
    return "\n".join(lines)


def render_whole(digest: Digest, parts: Iterable[tuple[Part, Findings]]) -> str:
    """The full analysis, part by part, as Markdown."""
    blocks = [f"# {digest.title}", f"{digest.words:,} words in {digest.parts} parts."]
    for part, found in parts:
        lines = [f"## {part.number}. {part.heading or 'Part'}"]
        for title, items in (
            ("Key points", found.key_points),
            ("Risks", found.risks),
            ("Deadlines", found.deadlines),
            ("Actions", found.actions),
        ):
            if items:
                lines += ["", f"**{title}**", *(f"- {one.text}" for one in items)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _block(title: str, found: Sequence[Finding], *, numbered: bool) -> list[str]:
    if not found:
        return []
    marks = (f"{n}." if numbered else "-" for n in range(1, len(found) + 1))
    return ["", f"**{title}**", *(f"{mark} {one.text}" for mark, one in zip(marks, found, strict=True))]


def _sentences(text: str) -> list[str]:
    return [" ".join(piece.split()) for piece in _SENTENCE.split(text) if piece and piece.strip()]


def _width(text: str) -> int:
    """How long it reads: an ideograph says as much as about three letters."""
    return len(text) + 2 * sum("\u3040" <= letter <= "\u9fff" for letter in text)


def _kinds(sentence: str, heading: str) -> Iterable[tuple[str, float]]:
    is_dated = _DATE.search(sentence) is not None
    if is_dated and (_DUE.search(sentence) or _DUE.search(heading)):
        yield "deadlines", 3.0
    if _RISK.search(sentence) or _RISK.search(heading):
        yield "risks", 2.0 * len(set(map(str.casefold, _RISK.findall(sentence))))
    if _DEED.search(sentence):
        yield "actions", 2.0 + is_dated
    yield "key_points", 1.5 * bool(_NEWS.search(sentence))


def _weight(sentence: str, about: frozenset[str], position: int) -> float:
    words = {word.casefold() for word in _WORD.findall(sentence)}
    share = len(words & about) / (len(words) + 3)
    return (
        4.0 * share
        + 1.0 * bool(_AMOUNT.search(sentence))
        + 0.8 * bool(_DATE.search(sentence))
        + 0.5 * (position < 2)
    )


def _key(text: str) -> str:
    return re.sub(r"\W+", "", text.casefold())


def _keys(found: Findings) -> set[str]:
    """What one part says, each sentence once."""
    every = (*found.key_points, *found.risks, *found.deadlines, *found.actions)
    return {_key(finding.text) for finding in every}


def _best(found: Iterable[Finding], most: int) -> tuple[Finding, ...]:
    unique: dict[str, Finding] = {}
    for finding in found:
        key = _key(finding.text)
        if key not in unique or finding.weight > unique[key].weight:
            unique[key] = finding
    chosen = sorted(unique.values(), key=lambda one: -one.weight)[:most]
    return tuple(sorted(chosen, key=lambda one: (-round(one.weight), one.part)))
