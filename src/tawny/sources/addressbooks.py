"""Contacts: vCard files and CardDAV. Runs in the child process."""

from tawny.domain.contacts import Contact
from tawny.sources import carddav
from tawny.sources.fetch import fetch
from tawny.sources.place import ContactQuery, Place, Reading
from tawny.sources.vcard import parse


def read(place: Place, _: ContactQuery) -> Reading[Contact]:
    """All contacts of the place.

    Raises:
        TawnyError: the place does not answer, or holds no vCards.
    """
    problems: list[str] = []
    cards = carddav.cards(place) if carddav.speaks(place) else [fetch(place)]
    found = tuple(contact for card in cards for contact in parse(card, place, problems))
    return Reading(place.name, found, tuple(problems[:20]))
