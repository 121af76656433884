"""Mail as it is read: who wrote what to whom, and what kind of letter it is."""

import msgspec

from tawny.clock import Instant


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mailbox: `address` in lower case, `name` as it was given."""

    address: str
    name: str = ""

    @property
    def shown(self) -> str:
        """The name where there is one, else the address."""
        return self.name or self.address


class MailAttachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that came along; `size` in bytes."""

    name: str
    media_type: str = "application/octet-stream"
    size: int = 0


class Mail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message. `text` is its readable part, cut at 20,000 characters; `time` when it was sent or arrived.

    `bulk` marks newsletters, lists and other mail to many; `automatic` what no person wrote. `importance` is what
    the sender says: high, normal or low. `account` is the name of the source.
    """

    message_id: str
    sender: Address
    subject: str
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    time: Instant | None = None
    text: str = ""
    unread: bool = True
    flagged: bool = False
    answered: bool = False
    bulk: bool = False
    automatic: bool = False
    importance: str = "normal"
    attachments: tuple[MailAttachment, ...] = ()
    in_reply_to: str = ""
    folder: str = ""
    account: str = ""
