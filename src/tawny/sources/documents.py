"""Documents to text: plain text, Markdown and HTML here; PDF, DOCX and the rest with the extra. For who parses."""

import io
from collections.abc import Callable
from pathlib import Path

from tawny.domain.charsets import decoded, decoded_page
from tawny.errors import PermanentError
from tawny.sources.markup import text_of
from tawny.sources.mime import mail_of
from tawny.sources.place import Content, DocumentQuery, Place, split

_EXTRA = "install the documents extra: pip install 'tawny[documents]'"


def read(place: Place, query: DocumentQuery, content: Content) -> str:
    """The document's text, headings as `#`.

    Raises:
        PermanentError: it cannot be read, or the library for it is not installed; the hint says which.
    """
    data = content.data
    name = Path(split(place).path).name
    text = _reader(data, name)(data, place, name)
    if not text.strip():
        raise PermanentError(f"{place.label}: {name} has no text", hint="a scanned document needs OCR first")
    return text.replace("\x00", "")[: query.limit]


def _reader(data: bytes, name: str) -> Callable[[bytes, Place, str], str]:
    """By what the bytes are; the name decides only where they do not tell."""
    head = data[:1024].lstrip().lower()
    suffix = Path(name).suffix.lower()
    if head.startswith(b"%pdf"):
        return _pdf
    if head.startswith((b"pk\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf")):
        return _office
    if head.startswith((b"<!doctype html", b"<html")) or suffix in (".html", ".htm", ".xhtml"):
        return _html
    if suffix == ".eml":
        return _letter
    if b"\x00" in data[:4096]:
        return _office
    return _plain


def _plain(data: bytes, _: Place, __: str) -> str:
    return decoded(data)


def _html(data: bytes, _: Place, __: str) -> str:
    return text_of(decoded_page(data))


def _letter(data: bytes, place: Place, _: str) -> str:
    mail = mail_of(data, account=place.name)
    return f"# {mail.subject}\n\nFrom: {mail.sender.shown}\n\n{mail.text}"


def _pdf(data: bytes, place: Place, name: str) -> str:
    try:
        return _office(data, place, name)
    except PermanentError as first:
        try:
            from pypdf import PdfReader  # noqa: PLC0415 - an extra
            from pypdf.errors import PyPdfError  # noqa: PLC0415 - an extra
        except ImportError:
            raise first from None
        try:
            pages = PdfReader(io.BytesIO(data)).pages
            return "\n\n".join(page.extract_text() for page in pages)
        except (PyPdfError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise PermanentError(
                f"{place.label}: {name} cannot be read: {error}",
                hint="is it damaged or protected by a password?",
            ) from error


def _office(data: bytes, place: Place, name: str) -> str:
    try:
        import anydoc  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise PermanentError(
            f"{place.label}: {name} needs a library that is not installed", hint=_EXTRA
        ) from error
    try:
        return anydoc.to_markdown_bytes(data)
    except anydoc.EncryptedError as error:
        raise PermanentError(
            f"{place.label}: {name} is protected by a password", hint="save it without one"
        ) from error
    except anydoc.NeedsOcrError as error:
        raise PermanentError(
            f"{place.label}: {name} holds pictures of text", hint="run an OCR program over it first"
        ) from error
    except anydoc.ConvertError as error:
        raise PermanentError(
            f"{place.label}: {name} cannot be read: {error}", hint="is it damaged?"
        ) from error
