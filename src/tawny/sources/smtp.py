"""Sending a mail over SMTP, telling apart what certainly was not sent from what nobody can know."""

import email.message
import email.utils
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec

from tawny.errors import InvalidInput, PermanentError, TemporaryError
from tawny.sources.place import NewMail, Uncertain

_TIMEOUT = 30.0


def compose(new: NewMail) -> email.message.EmailMessage:
    """The message in RFC 5322 form.

    Raises:
        InvalidInput: an address is none.
    """
    message = email.message.EmailMessage()
    try:
        message["From"] = _one_line(new.sender)
        message["To"] = ", ".join(_one_line(address) for address in new.to)
        message["Subject"] = _one_line(new.subject)
    except (ValueError, IndexError) as error:
        raise InvalidInput(
            f"an address of the mail is none: {error}", hint="write it like ann@example.org"
        ) from error
    if not new.to or not all("@" in address for address in (*new.to, new.sender)):
        raise InvalidInput(
            "a mail needs sender and recipient addresses", hint="write them like ann@example.org"
        )
    message["Message-ID"] = f"<{_one_line(new.message_id)}>"
    if new.time is not None:
        message["Date"] = email.utils.format_datetime(new.time)
    if new.in_reply_to:
        message["In-Reply-To"] = message["References"] = f"<{_one_line(new.in_reply_to)}>"
    message.set_content(new.body)
    return message


async def send(new: NewMail, server: str, *, password: str = "") -> str:
    """Send through `smtp://` (STARTTLS where offered) or `smtps://` (TLS). Returns the Message-ID.

    Raises:
        TemporaryError: certainly not sent, trying again may help.
        PermanentError: certainly not sent, and never will be.
        Uncertain: nobody can know.
    """
    parts = urlsplit(server)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise PermanentError(
            f"{parts.scheme}://{parts.hostname or ''} is no SMTP server", hint="use smtps://user@host"
        )
    user = unquote(parts.username or "")
    if user and "@" not in user and not new.sender:
        new = msgspec.structs.replace(new, sender=f"{user}@{parts.hostname}")
    elif not new.sender:
        new = msgspec.structs.replace(new, sender=user or f"tawny@{parts.hostname}")
    message = compose(new)
    client = aiosmtplib.SMTP(
        hostname=parts.hostname,
        port=parts.port or (465 if parts.scheme == "smtps" else 587),
        use_tls=parts.scheme == "smtps",
        timeout=_TIMEOUT,
    )
    handed_over = False
    try:
        async with client:
            if user and password:
                await client.login(user, password)
            handed_over = True
            await client.send_message(message)
            handed_over = False
    except aiosmtplib.SMTPAuthenticationError as error:
        raise PermanentError(
            f"{parts.hostname} does not let {user} in", hint="check the account's password"
        ) from error
    except aiosmtplib.SMTPRecipientsRefused as error:
        said = "; ".join(f"{one.recipient}: {one.message}" for one in error.recipients)
        raise PermanentError(
            f"{parts.hostname} refuses the recipients: {said}", hint="check the addresses"
        ) from error
    except aiosmtplib.SMTPResponseException as error:
        words = f"{parts.hostname} answers {error.code} {error.message}"
        raise (TemporaryError if 400 <= error.code < 500 else PermanentError)(words) from error
    except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPConnectTimeoutError) as error:
        raise TemporaryError(
            f"{parts.hostname} does not answer: {error}", hint="it may be back later"
        ) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        if handed_over:
            raise Uncertain(
                f"the connection to {parts.hostname} broke while the mail was handed over"
            ) from error
        raise TemporaryError(
            f"{parts.hostname} does not answer: {error}", hint="it may be back later"
        ) from error
    return new.message_id


def _one_line(text: str) -> str:
    return " ".join(text.split())
