"""Bytes of unknown origin to text: what is named, what marks itself, else the likeliest of a few."""

import codecs
import re

_MOSTLY_LATIN = ("cp1252", "latin-1")
_MOSTLY_FOREIGN = ("gb18030", "cp1252", "latin-1")
_UNNAMED = frozenset({"unknown-8bit", "8bit", "binary"})
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
# A page may say latin-1 and mean what Windows made of it; browsers read these so.
_AS_BROWSERS_DO = {
    "iso-8859-1": "cp1252",
    "latin-1": "cp1252",
    "us-ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_PROLOGUE = 4_096
_SAMPLE = 65_536


def decoded(data: bytes, charset: str | None = None) -> str:
    """The bytes as text: in the charset named, else in the first of a few common ones that fits. Never fails."""
    named = charset if charset and charset.lower() not in _UNNAMED else None
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    for name in (named, marked, "utf-8"):
        if name and (text := _read_as(data, name)) is not None:
            return text
    for name in _MOSTLY_LATIN if _is_mostly_latin(data[:_SAMPLE]) else _MOSTLY_FOREIGN:
        if (text := _read_as(data, name)) is not None:
            return text
    return data.decode("latin-1")


def decoded_page(data: bytes, charset: str | None = None) -> str:
    """An HTML page as text: the server's word on its charset counts first, then the page's own."""
    name = (charset or "").lower()
    if not name and (said := _META.search(data[:_PROLOGUE])):
        name = said[1].decode("ascii").lower()
        if name.startswith("utf-16") or is_utf8(data):
            name = "utf-8"  # a page that was saved anew keeps the old word
    return decoded(data, _AS_BROWSERS_DO.get(name, name))


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8, which nothing else is by chance."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_as(data: bytes, charset: str) -> str | None:
    """In that charset, with a few damaged letters replaced; `None` where it is another one, or none at all."""
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        pass
    except (LookupError, ValueError):
        return None
    try:
        text = data.decode(charset, "replace")
    except ValueError:  # IDNA and Punycode replace nothing
        return None
    # An end that was cut off, or one bad byte, does not make a text one of another charset.
    damaged = text.count("\ufffd")
    return text if damaged <= 1 + _foreign(data) // 20 and damaged * 4 <= _foreign(data) else None


def _foreign(data: bytes) -> int:
    return len(data) - len(data.translate(None, bytes(range(0x80, 0x100))))


def _is_mostly_latin(data: bytes) -> bool:
    """Few letters beyond ASCII among many: words of a European language, not of a Chinese one."""
    letters = foreign = 0
    for line in data.splitlines():
        if not line.isascii():
            letters += sum(1 for byte in line if 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A)
            foreign += _foreign(line)
    return letters > 2 * foreign
