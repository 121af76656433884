"""vCard 2.1, 3 and 4 (RFC 6350), as far as names, addresses and numbers go."""

import base64
import binascii
import quopri
import re
from collections.abc import Iterator

from tawny.domain.charsets import decoded
from tawny.domain.contacts import Contact
from tawny.errors import PermanentError
from tawny.sources.place import ContactQuery, Place, Reading

_MOST = 50_000
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_SPLIT = re.compile(r"(?<!\\);")


class _Line:
    """One unfolded line: `group.NAME;PARAM=value:value`."""

    __slots__ = ("name", "number", "params", "value")

    def __init__(self, number: int, text: str) -> None:
        head, _, value = _divide(text)
        name, *params = head.split(";")
        self.number = number
        self.name = name.rpartition(".")[2].strip().upper()
        self.params = {
            (key.strip().upper() if equals else _meaning(key)): (worth if equals else key).strip('" ').upper()
            for key, equals, worth in (param.partition("=") for param in params)
        }
        self.value = self._decoded(value)

    def _decoded(self, value: str) -> str:
        encoding = self.params.get("ENCODING", "")
        charset = self.params.get("CHARSET", "utf-8")
        try:
            if encoding == "QUOTED-PRINTABLE":
                return quopri.decodestring(value.encode("utf-8", "surrogateescape")).decode(
                    charset, "replace"
                )
            if encoding in ("B", "BASE64") and self.name in ("FN", "N", "ORG", "NOTE"):
                return base64.b64decode(value).decode(charset, "replace")
        except (LookupError, ValueError, binascii.Error):
            return value
        return value


def read(place: Place, _: ContactQuery, cards: list[bytes]) -> Reading[Contact]:
    """All contacts of the place.

    Raises:
        PermanentError: there is no card.
    """
    problems: list[str] = []
    found = tuple(contact for card in cards for contact in parse(card, place, problems))
    return Reading(place.name, found, tuple(problems[:20]))


def parse(data: bytes, place: Place, problems: list[str]) -> Iterator[Contact]:
    """The cards of a file; a damaged one becomes a problem with its line.

    Raises:
        PermanentError: there is no card in it.
    """
    text = decoded(data)
    card: list[_Line] | None = None
    began = 0
    seen = 0
    for number, line in _unfolded(text):
        upper = line.strip().upper()
        if upper == "BEGIN:VCARD":
            if card is not None:
                problems.append(f"{place.label}: line {began}: this card has no END:VCARD and is left out")
            card, began, seen = [], number, seen + 1
        elif upper == "END:VCARD" and card is not None:
            if (contact := _contact(card)) is not None:
                yield contact
            else:
                problems.append(f"{place.label}: line {began}: this card has neither name nor address")
            card = None
        elif card is not None and ":" in line:
            card.append(_Line(number, line))
        if seen > _MOST:
            problems.append(f"{place.label}: only the first {_MOST} cards are read")
            return
    if card is not None:
        problems.append(f"{place.label}: line {began}: this card has no END:VCARD and is left out")
    if not seen and text.strip():
        raise PermanentError(
            f"{place.label}: this is no vCard file (it has no BEGIN:VCARD)",
            hint="export the contacts as .vcf",
        )


def _meaning(bare: str) -> str:
    """What a parameter without a name is about: vCard 2.1 writes encodings and types alike."""
    return "ENCODING" if bare.strip().upper() in ("QUOTED-PRINTABLE", "BASE64", "B", "8BIT") else "TYPE"


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Lines put together again: a continuation begins with white space, or follows `=` in quoted-printable."""
    current, began = "", 1
    for number, line in enumerate(_NEWLINE.split(text), start=1):
        if line[:1] in (" ", "\t"):
            current += line[1:]
        elif current.endswith("=") and "QUOTED-PRINTABLE" in current.upper():
            current = current[:-1] + line
        else:
            if current:
                yield began, current
            current, began = line, number
    if current:
        yield began, current


def _divide(text: str) -> tuple[str, str, str]:
    """At the first colon outside of quotes."""
    quoted = False
    for position, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif letter == ":" and not quoted:
            return text[:position], ":", text[position + 1 :]
    return text.partition(":")


def _plain(value: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value).strip()


def _contact(lines: list[_Line]) -> Contact | None:
    def values(name: str) -> list[str]:
        return [plain for line in lines if line.name == name and (plain := _plain(line.value))]

    emails = tuple(dict.fromkeys(email.removeprefix("mailto:").lower() for email in values("EMAIL")))
    name = next(iter(values("FN")), "") or _structured(lines) or next(iter(values("ORG")), "")
    if not name and not emails:
        return None
    organisation = next((line.value for line in lines if line.name == "ORG"), "")
    return Contact(
        name=(name or emails[0])[:200],
        emails=emails,
        phones=tuple(dict.fromkeys(phone.removeprefix("tel:") for phone in values("TEL"))),
        organisation=_plain(_SPLIT.split(organisation)[0]),
        title=next(iter(values("TITLE")), ""),
        birthday=next(iter(values("BDAY")), ""),
        categories=tuple(part.strip() for value in values("CATEGORIES") for part in value.split(",")),
    )


def _structured(lines: list[_Line]) -> str:
    """The name out of N: family;given;additional;prefix;suffix."""
    value = next((line.value for line in lines if line.name == "N"), "")
    parts = [_plain(part) for part in _SPLIT.split(value)] + [""] * 5
    family, given, additional = parts[:3]
    return " ".join(part for part in (given, additional, family) if part)
