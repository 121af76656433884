"""E-mail: out by SMTP with stable Message-IDs and threads, in by IMAP IDLE; a reply acts.

A sender's address can be forged. Where the mail server checks (`authenticated_by` is its name in
Authentication-Results), only mail it vouches for counts; a numbered answer counts only as a reply to our own mail.
"""

import importlib
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tawny.api import Channel, ChannelHost, ChatSettings, channel
from tawny.channels.email.sender import sender_of


class EmailSettings(
    ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}
):
    """`[[channels.email]]`. `smtp` and `imap` are like `smtps://user@host:465`; the password a reference.

    `to` is where messages go by default; `allow` holds the addresses that may speak, `to` among them.
    """

    sender: str
    smtp: str
    to: str = ""
    password: str = ""
    imap: str = ""
    imap_password: str = ""
    folder: str = "INBOX"
    sent_folder: str = "Sent"
    authenticated_by: str = ""
    pairing: bool = False

    def __post_init__(self) -> None:
        for name, address in (("from", self.sender), ("to", self.to)):
            if address and ("@" not in address or any(char in address for char in "\r\n")):
                raise ValueError(f"{name}: {address!r} is no mail address")
        for entry in self.allow:
            if sender_of([str(entry)]) == "":
                raise ValueError(f"allow: {entry!r} is no mail address")
        # Senders are compared in lower case.
        msgspec.structs.force_setattr(self, "allow", tuple(sender_of([str(entry)]) for entry in self.allow))
        if urlsplit(self.smtp).scheme not in ("smtp", "smtps"):
            raise ValueError("smtp: it must begin with smtp:// or smtps://")
        if self.imap and urlsplit(self.imap).scheme not in ("imap", "imaps"):
            raise ValueError("imap: it must begin with imap:// or imaps://")


@channel("email", settings=EmailSettings, description="Mail out by SMTP, in by IMAP; a reply acts.")
def mail(settings: Any, host: ChannelHost) -> Channel:
    password = host.secret(settings.password) if settings.password else ""
    imap_password = host.secret(settings.imap_password) if settings.imap_password else password
    account = importlib.import_module("tawny.channels.email.account")
    return account.EmailChannel(
        settings,
        host,
        smtp=account.Server.parse(settings.smtp, password),
        imap=account.Server.parse(settings.imap, imap_password) if settings.imap else None,
    )


CHANNELS = {"email": mail}
