"""New mail as a source of events."""

from tawny.domain.automations import On
from tawny.errors import PermanentError
from tawny.sources.listening.host import Desk, Listener
from tawny.sources.shelf import Shelf


def mail(shelf: Shelf) -> Listener:
    """Listens to a mailbox of a configured IMAP account (the first one unless `on.account` names another)."""

    async def listen(on: On, desk: Desk) -> None:
        from tawny.sources.listening.imap import Connection  # noqa: PLC0415 - only who listens to mail pays for IMAP

        place = shelf.place("mail", on.account or next(iter(shelf.names("mail")), ""))
        if not place.url.startswith("imap"):
            raise PermanentError(
                f"{place.label} is no IMAP account", hint="listening needs imap:// or imaps://"
            )
        await Connection(on, desk, shelf, place).run()

    return listen
