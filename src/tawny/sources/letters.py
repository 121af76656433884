"""The messages of a mailbox that fit, out of the bytes that were found there. Runs in the child that parses."""

from tawny.domain.mail import Address, Mail
from tawny.sources.mime import mail_of
from tawny.sources.place import Handful, Letters, MailQuery, MessageQuery, Place, folder_of


def read(place: Place, query: MailQuery, found: Letters) -> Handful:
    """Those of a handful that fit, in the order they came in; a message that cannot be read costs itself."""
    problems = list(found.problems)
    fitting: list[Mail] = []
    for letter in found.letters:
        try:
            mail = mail_of(
                letter.data,
                account=place.name,
                folder=folder_of(place, query),
                unread=letter.unread,
                flagged=letter.flagged,
                answered=letter.answered,
            )
        except Exception as error:  # noqa: BLE001 - the mail package on a stranger's bytes: one message costs itself
            problems.append(f"{place.label}: one message cannot be read ({type(error).__name__})")
            continue
        if _fits(mail, query):
            fitting.append(mail)
    return Handful(fitting, problems, found.next)


def parse(place: Place, query: MessageQuery) -> Mail:
    """A message that has been fetched already; one that cannot be read is a mail without words."""
    try:
        return mail_of(query.body, account=place.name, folder="", unread=True, flagged=False, answered=False)
    except Exception as error:  # noqa: BLE001 - the mail package on a stranger's bytes
        return Mail(message_id="", sender=Address(""), subject=f"(unreadable: {type(error).__name__})")


def _fits(mail: Mail, query: MailQuery) -> bool:
    if query.unread and not mail.unread:
        return False
    if query.since is not None and mail.time is not None and mail.time < query.since:
        return False
    if query.text:
        wanted = query.text.casefold()
        return any(
            wanted in part.casefold()
            for part in (mail.subject, mail.sender.name, mail.sender.address, mail.text)
        )
    return True
