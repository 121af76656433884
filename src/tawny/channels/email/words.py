"""What somebody wrote in a mail, without what they quote: in the ways of the mail programs of two dozen languages.

What a reply quotes is cut; what is forwarded is kept, as it is what the mail is about. Where nothing is certain the
words stay: a quotation too much costs less than an order lost.
"""

import re
from html.parser import HTMLParser

_LARGEST = 200_000
_MOST_LINES = 1000
"""Below so many lines nobody looks for quotations any more: a mail can be made to cost seconds."""
_LONGEST_HEADER = 4
"""How many lines a mail program breaks its line before a quotation into."""

_INTRODUCES = re.compile(
    r"(?:^|-{2,}\s*|\s)(?P<start>(?:(?:On|Am|Le|El|Il|Op|Em|No dia|W dniu|Dnia|Den|På|Vào|Sent from|Dne)\b|"
    r"\d{4}[-/.年]\s?\d{1,2}[-/.月]\s?\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b).{4,300}?"
    r"(?:wrote|sent|schrieb|geschrieben|a écrit|escribió|ha scritto|escreveu|geschreven|schreef|napisał|napisała|"
    r"napisał\(a\)|napsal|skrev|kirjoitti|đã viết|viết|написала?|пишет|написа|写道|寫道|wrote the following)"
    r"\s?.{0,80}?[:：]?)\s*$",
    re.IGNORECASE,
)
_DATED = re.compile(
    r"\d{4}[-/.年]\s?\d{1,2}[-/.月]\s?\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\b\d{1,2}:\d{2}\b"
)
_TRAILING = re.compile(r"<?\s?[^\s@<]{1,80}@[^\s>]{1,200}>?\s*[:：]?\s*$")
_DASHED = re.compile(
    r"^\W{0,3}-{2,}\s*(?:original message|reply message|reply|ursprüngliche nachricht|antwort nachricht|"
    r"oprindelig meddelelse|mensaje original|message d'origine|messaggio originale|mensagem original|"
    r"oorspronkelijk bericht|wiadomość oryginalna|ursprungligt meddelande|opprinnelig melding|исходное сообщение|"
    r"原始邮件|原始郵件|.{1,60} wrote)\s*-{2,}\W*$",
    re.IGNORECASE,
)
_RULE = re.compile(r"^\s*_{10,}\s*$")
_FORWARDED = re.compile(
    r"^\W{0,3}-{2,}\s*(?:forwarded message|weitergeleitete nachricht|message transféré|mensaje reenviado|"
    r"messaggio inoltrato|doorgestuurd bericht|mensagem encaminhada|vidarebefordrat meddelande|пересылаемое сообщение|"
    r"转发的邮件)\b|^begin forwarded message:",
    re.IGNORECASE,
)
_FROM = re.compile(
    r"^\W{0,4}(?:from|von|de|da|od|fra|från|van|từ|от|发件人|寄件者|差出人)\*?\s?[:：]", re.IGNORECASE
)
_FIELD = re.compile(
    r"^\W{0,4}(?:from|sent|date|to|cc|subject|reply-to|von|gesendet|datum|an|betreff|de|envoyé|envoyé le|date|à|objet|"
    r"da|inviato|data|a|oggetto|enviado|enviado el|para|asunto|assunto|od|wysłano|do|temat|fra|sendt|dato|til|emne|"
    r"från|skickat|till|ämne|van|verzonden|aan|onderwerp|từ|đến|ngày|chủ đề|от|отправлено|кому|тема|дата|"
    r"发件人|发送时间|收件人|主题|寄件者|日期|收件者|主旨|差出人|送信日時|宛先|件名)\*?\s?[:：]",
    re.IGNORECASE,
)

_UNSEEN = frozenset({"script", "style", "head", "blockquote"})
_SPACE = re.compile(r"[ \t\r\n\f]+")


def own_words(text: str) -> str:
    """The text without what it quotes and without the signature."""
    lines = text[:_LARGEST].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.rstrip() == "--":
            break
        if line.lstrip().startswith(">"):
            at += 1
            continue
        if _FORWARDED.match(line):
            return "\n".join([*kept, *lines[at:]]).strip()
        taken, before = _quotation_at(lines, at) if at < _MOST_LINES else (0, "")
        if not taken:
            kept.append(line)
            at += 1
            continue
        kept += [before] if before else []
        at += taken
        while at < len(lines) and not lines[at].strip():
            at += 1
        if at < len(lines) and not lines[at].lstrip().startswith(">"):
            # Quoted without a mark: all that follows. With marks, words may stand between and below.
            break
    return "\n".join(kept).strip()


def _quotation_at(lines: list[str], at: int) -> tuple[int, str]:
    """How many lines introduce a quotation here (0: none do), and the own words on the first of them."""
    line = lines[at][:500]
    if not line.strip():
        return 0, ""
    if _DASHED.match(line) or _RULE.match(line):
        return 1, ""
    if _FIELD.match(line) and (taken := _fields_at(lines, at)):
        return taken, ""
    joined = ""
    is_dated = _DATED.search(line) is not None
    for count, more in enumerate(lines[at : at + _LONGEST_HEADER], start=1):
        joined = f"{joined} {more.strip(' *|')[:300]}".strip()
        if (
            is_dated
            and _TRAILING.search(joined)
            and (joined.endswith((":", "：")) or _is_quoted(lines, at + count))
        ):
            return count, ""
        found = _INTRODUCES.search(joined)
        if (
            found
            and found.start("start") < len(line.strip(" *|"))
            and _is_introduction(found.group("start"), lines, at + count)
        ):
            return count, joined[: found.start("start")].rstrip(" -")
    return 0, ""


def _is_introduction(start: str, lines: list[str], after: int) -> bool:
    """A date or an address in it, or quoted lines below: a sentence about what somebody wrote is none."""
    has_sign = any(char.isdigit() for char in start) or "@" in start
    ends = start.rstrip().endswith((":", "："))
    return (ends and (has_sign or "," in start)) or _is_quoted(lines, after)


def _is_quoted(lines: list[str], after: int) -> bool:
    """Whether the next line with anything on it is marked as a quotation."""
    return next((line for line in lines[after:] if line.strip()), "").lstrip().startswith(">")


def _fields_at(lines: list[str], at: int) -> int:
    """The length of a block such as From, Sent, To, Subject; 0 where somebody just writes "To:"."""
    fields, has_from, empty = 0, False, 0
    end = min(len(lines), at + 24)
    for index in range(at, end):
        line = lines[index][:200]
        if _FIELD.match(line):
            fields, empty = fields + 1, 0
            has_from = has_from or _FROM.match(line) is not None
        else:
            # A field may be broken over two lines, and a page's paragraphs leave one empty between.
            empty += 1
            if empty > 2:
                end = index
                break
    return end - at if has_from and fields >= 2 else 0


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._as_written = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _UNSEEN:
            self._hidden += 1
        elif tag == "pre":
            self._as_written += 1
            self.parts.append("\n")
        elif tag in ("br", "p", "div", "li", "tr"):
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "pre":
            self._as_written = max(0, self._as_written - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # The source's own line breaks are no more than spaces, but in <pre>.
            self.parts.append(data if self._as_written else _SPACE.sub(" ", data))


def text_of(html: str) -> str:
    """The words of a page, what is quoted and hidden left out."""
    words = _Words()
    words.feed(html[:_LARGEST])
    words.close()
    return "\n".join(line.strip(" ") for line in "".join(words.parts).split("\n"))
