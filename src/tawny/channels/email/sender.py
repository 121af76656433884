"""Who wrote a mail, read strictly: what two readers could take for two senders has none."""

import re
from collections.abc import Sequence

_ADDRESS = re.compile(r"[^\s<>()\[\]:;@\\,\"]+@[^\s<>()\[\]:;@\\,\"=?]+")
_VOUCHES = re.compile(r"\s*dmarc\s*(?:/\s*\d+\s*)?=\s*(\w+)", re.IGNORECASE)
_FROM = re.compile(r"\bheader\.from\s*=\s*([^\s;]+)", re.IGNORECASE)
_UPPER = str.maketrans({char: char.lower() for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})


def lower(address: str) -> str:
    """The address in lower case; letters of other scripts stay, as some of them become ours (the Kelvin sign a k)."""
    return address.translate(_UPPER)


def sender_of(headers: Sequence[str]) -> str:
    """The address in a mail's From headers, empty where that is not one certain address.

    One header, one mailbox: no list, no group, no route, nothing encoded in the address, and no second address in the
    name where a person or another program may take it for the sender.
    """
    if len(headers) != 1:
        return ""
    text = _without_asides(re.sub(r"\r?\n(?=[ \t])", "", headers[0]))
    if text is None or any(ord(char) < 32 and char != "\t" for char in text):
        return ""
    name, angle, rest = text.partition("<")
    if not angle:
        address = text.strip()
    else:
        address, closed, after = rest.partition(">")
        if not closed or after.strip() or any(sign in name for sign in "@:;<>"):
            return ""
    address = address.strip()
    is_plain = _ADDRESS.fullmatch(address) and "=?" not in address and "\ufffd" not in address
    return lower(address) if is_plain else ""


def is_vouched_for(results: Sequence[str], *, by: str, sender: str) -> bool:
    """Whether the server named vouches for the sender in its Authentication-Results (RFC 8601): DMARC has passed.

    The topmost of them is the receiving server's own; those below it anybody may have written. What stands in quotes or
    comments is the sender's to choose, and says nothing.
    """
    text = _without_asides(results[0].replace("\r", " ").replace("\n", " ")) if results else None
    if text is None:
        return False
    name, *methods = text.split(";")
    if not name.split() or lower(name.split()[0]) != lower(by):
        return False
    found = [(match.group(1), method) for method in methods if (match := _VOUCHES.match(method))]
    if not found or any(lower(result) != "pass" for result, _ in found):
        return False
    domain = sender.rpartition("@")[2]
    named = [lower(each).rpartition("@")[2] for _, method in found for each in _FROM.findall(method)]
    return all(each == domain for each in named)


def _without_asides(text: str) -> str | None:
    """The text without comments and with quoted words blanked; `None` where one of them does not end."""
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\" and (quoted or depth):
            escaped = True
        elif quoted:
            quoted = char != '"'
        elif char == '"' and not depth:
            quoted = True
            kept.append('"')
        elif char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(char)
    return None if depth or quoted or escaped else "".join(kept)
