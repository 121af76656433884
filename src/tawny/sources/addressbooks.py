"""Contacts: where their vCards come from, files and CardDAV. Runs in the child that fetches."""

from tawny.sources import carddav
from tawny.sources.fetch import fetch
from tawny.sources.place import ContactQuery, Place


def collect(place: Place, _: ContactQuery) -> list[bytes]:
    """The vCards of the place.

    Raises:
        TawnyError: the place does not answer, or lets nobody in.
    """
    return carddav.cards(place) if carddav.speaks(place) else [fetch(place)]
