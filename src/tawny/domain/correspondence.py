"""Which mail matters: from people the owner knows, or asking for something; never newsletters."""

import re
from collections.abc import Iterable

import msgspec

from tawny.domain.contacts import Contact, addresses
from tawny.domain.mail import Mail

_ASKS = re.compile(
    r"""
    \b(?: please | pls | could\ you | can\ you | would\ you | will\ you | may\ i | could\ we | can\ we | shall\ we
        | let\ me\ know | need(?:s|ed)?\ (?:your|you\ to|a\ reply|an\ answer)
        | your\ (?:approval|feedback|decision|reply|input|ok)
        | awaiting\ your | waiting\ for\ your | get\ back\ to | reply\ (?:by|before|needed|requested) | rsvp
        | approv(?:e|al) | sign[- ]off | confirm | deadline | due\ (?:by|on|today|tomorrow)
        | asap | urgent | action\ required
        | bitte
        | könn(?:en|test|ten)\ (?:sie|du|wir) | kannst\ du | würden\ sie | freigabe | bestätig | rückmeldung | dringend
        | frist | bis\ (?:spätestens|morgen|heute|montag|dienstag|mittwoch|donnerstag|freitag)
    )
    | 请 | 麻烦 | 能否 | 可否 | 是否可以 | 审批 | 确认 | 批准 | 回复 | 答复 | 尽快 | 截止 | 紧急 | 吗[？?]
    | お願い | ご確認 | ください | 承認 | 至急 | ご返信 | 締切 | でしょうか
    | 부탁 | 확인\ ?(?:부탁|바랍) | 승인 | 회신
    | \?(?=\s|$) | ？
    """,
    re.IGNORECASE | re.VERBOSE,
)
_URGENT = re.compile(
    r"\b(?:urgent|asap|immediately|high priority|today|deadline|dringend|sofort|eilig)\b|紧急|尽快|今天|至急|本日|긴급",
    re.IGNORECASE,
)
_FOOTER = re.compile(
    r"unsubscribe|view (?:it |this email )?in (?:your )?browser|manage (?:your )?(?:preferences|subscription)"
    r"|email preferences|abmelden|abbestellen|newsletter|退订|取消订阅|配信停止|수신거부",
    re.IGNORECASE,
)
_MASS_SENDER = re.compile(
    r"^(?:newsletters?|news|marketing|promo(?:tions?)?|offers?|deals?|digest|updates?|info-?mail|mailing|campaigns?)[@+.-]"
)
_QUOTE = re.compile(
    r"^(?:>|On .{5,120} wrote:|Am .{5,120} schrieb|-{2,}\s*Original|在.{3,80}写道|_{10,}).*", re.MULTILINE
)
_LOOKED_AT = 4_000
_FOOT = 800


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that matters, and why. `score` orders: higher first."""

    mail: Mail
    score: int
    from_contact: bool
    asks: bool
    is_urgent: bool
    sender: str


def is_newsletter(mail: Mail, *, known: bool = False) -> bool:
    """Whether it went to many: by its headers, by who sends it, or by the foot of its text."""
    if mail.bulk or _MASS_SENDER.match(mail.sender.address):
        return True
    return not known and bool(_FOOTER.search(mail.text[-_FOOT:]))


def own_words(text: str) -> str:
    """The text without what it quotes and without its signature."""
    cut = _QUOTE.search(text)
    plain = text[: cut.start()] if cut else text
    return plain.split("\n-- \n", 1)[0][:_LOOKED_AT]


def asks(mail: Mail) -> bool:
    """Whether the sender wants something: an answer, a decision, a deed."""
    return bool(_ASKS.search(mail.subject) or _ASKS.search(own_words(mail.text)))


def weigh(mail: Mail, contacts: Iterable[Contact], *, known: frozenset[str] | None = None) -> Letter | None:
    """The mail as a letter that matters; `None` where it does not."""
    people = list(contacts)
    everybody = addresses(people) if known is None else known
    from_contact = mail.sender.address in everybody
    if is_newsletter(mail, known=from_contact) or mail.answered:
        return None
    wants = asks(mail)
    if mail.automatic and not from_contact:
        # A machine asks for nothing unless the subject itself does.
        wants = bool(_ASKS.search(mail.subject))
    if not (from_contact or wants):
        return None
    urgent = mail.importance == "high" or (wants and bool(_URGENT.search(mail.subject)))
    score = (
        4 * urgent + 3 * from_contact + 2 * wants + mail.flagged - (mail.importance == "low") - mail.automatic
    )
    return Letter(
        mail=mail,
        score=score,
        from_contact=from_contact,
        asks=wants,
        is_urgent=urgent,
        sender=_name(mail, people),
    )


def _name(mail: Mail, contacts: list[Contact]) -> str:
    """The name the owner knows a person by, else what the sender calls himself: it decides nothing, but reads well."""
    for contact in contacts:
        if mail.sender.address in contact.emails:
            return contact.name
    return mail.sender.shown


def rank(mails: Iterable[Mail], contacts: Iterable[Contact]) -> tuple[Letter, ...]:
    """What matters, most important first; of equals the newest. The same mail in two accounts appears once."""
    people = list(contacts)
    known = addresses(people)
    seen: set[str] = set()
    letters: list[Letter] = []
    for mail in mails:
        key = mail.message_id or f"{mail.account}/{mail.sender.address}/{mail.subject}/{mail.time}"
        if key in seen:
            continue
        seen.add(key)
        if (letter := weigh(mail, people, known=known)) is not None:
            letters.append(letter)
    return tuple(
        sorted(letters, key=lambda letter: (-letter.score, -(letter.mail.time or 0), letter.mail.subject))
    )
