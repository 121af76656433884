"""People the owner knows."""

from collections.abc import Iterable

import msgspec


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person: `emails` in lower case, in the card's order."""

    name: str
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    organisation: str = ""
    title: str = ""
    birthday: str = ""
    categories: tuple[str, ...] = ()


def addresses(contacts: Iterable[Contact]) -> frozenset[str]:
    """Every e-mail address of the contacts."""
    return frozenset(email for contact in contacts for email in contact.emails)


def find(contacts: Iterable[Contact], text: str) -> Contact | None:
    """The contact with this address, or else with this name (whatever the case)."""
    wanted = text.strip().casefold()
    known = list(contacts)
    for contact in known:
        if wanted in contact.emails:
            return contact
    return next((contact for contact in known if contact.name.casefold() == wanted), None)
