"""Markdown as the assistant writes it, turned into the few HTML tags Telegram understands."""

import html
import re

_FENCE = re.compile(
    r"^ {0,3}(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.M | re.S
)
_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
# A link to tg://user would call that person.
_LINK = re.compile(r"\[([^\]\n]+)\]\((https?://[^\s)]+|mailto:[^\s)]+)\)")
_INLINE = (
    (re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", re.S), r"<b>\1</b>"),
    (re.compile(r"__(?=\S)(.+?)(?<=\S)__", re.S), r"<b>\1</b>"),
    (re.compile(r"~~(?=\S)(.+?)(?<=\S)~~", re.S), r"<s>\1</s>"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])"), r"<i>\1</i>"),
    (re.compile(r"(?<![\w_])_(?=[^\s_])([^_\n]+?)(?<=\S)_(?![\w_])"), r"<i>\1</i>"),
)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$", re.M)
_BULLET = re.compile(r"^([ \t]*)[-*+][ \t]+", re.M)
_HOLE = "\x00{}\x00"


_NAME = re.compile(r"(?<!\w)@(?=\w)")


def calling_nobody(text: str) -> str:
    """The text as it is seen, with a joiner of no width in each @name: Telegram calls whoever of a group is named."""
    return _NAME.sub("@\u2060", text)


def to_html(markdown: str) -> str:
    """The markdown as Telegram's HTML; everything it does not know stays as written, escaped."""
    kept: list[str] = []

    def keep(piece: str) -> str:
        kept.append(piece)
        return _HOLE.format(len(kept) - 1)

    def fence(match: re.Match[str]) -> str:
        language, code = match.group(2), html.escape(match.group(3).rstrip("\n"), quote=False)
        inner = f'<code class="language-{html.escape(language)}">{code}</code>' if language else code
        return keep(f"<pre>{inner}</pre>") + "\n"

    def link(match: re.Match[str]) -> str:
        return keep(f'<a href="{html.escape(match.group(2))}">') + match.group(1) + keep("</a>")

    text = markdown.replace("\x00", "")
    text = _FENCE.sub(fence, text)
    text = _CODE.sub(lambda match: keep(f"<code>{html.escape(match.group(2), quote=False)}</code>"), text)
    text = _LINK.sub(link, text)
    text = html.escape(text, quote=False)
    text = _BULLET.sub(r"\1• ", text)
    text = _HEADING.sub(r"<b>\1</b>", text)
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    while "\x00" in text:
        filled = re.sub(r"\x00(\d+)\x00", lambda match: kept[int(match.group(1))], text)
        if filled == text:
            break
        text = filled
    return text.strip("\n")
