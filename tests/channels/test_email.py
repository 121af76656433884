import asyncio
import contextlib
import itertools
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_tools.idle import IdleManager

import servers
from passing_mention import PassingMention
from post_office import Post
from tawny.api import (
    AmbiguousSend,
    Attachment,
    Button,
    ChannelDown,
    Inbound,
    Outgoing,
    PermanentError,
    TemporaryError,
)
from tawny.channels.email import EmailSettings
from tawny.channels.email.account import EmailChannel, Server, _hang_up
from tawny.channels.email.words import own_words, text_of
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    made = Post()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(scope="module")
def dovecot() -> Iterator[servers.Imap]:
    # Not below pytest's own folder, which is closed again to the user Dovecot runs as.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.dovecot(Path(folder)) as box,
    ):
        yield box


class Fresh(servers.Imap):
    """Gives each file a name never used before: Dovecot remembers what it once read under a name."""

    def deliver(self, message: bytes, *, name: str, seen: bool = False) -> None:
        super().deliver(message, name=f"{next(_numbers):06d}.{name}", seen=seen)


_numbers = itertools.count(1)


@pytest.fixture
def imap(dovecot: servers.Imap) -> servers.Imap:
    for folder in ("new", "cur"):
        for mail in (dovecot.maildir / folder).iterdir():
            mail.unlink()
    return Fresh(dovecot.port, dovecot.maildir, dovecot.tls_port)


def settings_for(post: Post, **more: Any) -> EmailSettings:
    return EmailSettings(
        name="email",
        sender="Tawny <assistant@example.org>",
        smtp=f"smtp://127.0.0.1:{post.port}",
        to="me@example.org",
        allow=("me@example.org",),
        **more,
    )


@pytest.fixture
async def channel(post: Post, imap: servers.Imap, house: Any) -> AsyncIterator[EmailChannel]:
    made = EmailChannel(
        settings_for(post),
        house,
        smtp=Server("127.0.0.1", post.port, False, "", ""),
        imap=Server("127.0.0.1", imap.port, False, "ann", "pw"),
    )
    yield made
    await made.close()


_count = itertools.count()


def mail_from(sender: str, text: str, **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"] = f"The Owner <{sender}>"
    mail["To"] = "assistant@example.org"
    mail["Date"] = "Mon, 02 Mar 2026 08:00:00 +0000"
    mail["Message-ID"] = headers.pop("message_id", f"<{next(_count)}@client.test>")
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail.as_bytes()


class TestContract(ChannelContract):
    @pytest.fixture
    async def rig(self, post: Post, imap: servers.Imap, channel: EmailChannel, tmp_path: Path) -> Rig:
        def seen() -> list[Seen]:
            return [
                Seen(
                    text=str(mail.get_body(("plain",)).get_content()).rstrip("\n"),  # type: ignore[union-attr]
                    conversation=str(mail["To"]),
                    thread=str(mail["In-Reply-To"] or ""),
                    files=tuple(str(part.get_filename()) for part in mail.iter_attachments()),
                )
                for mail in post.mails
            ]

        def say(text: str, *, sender: str = OWNER, event: int | None = None, **more: Any) -> None:
            who = "me@example.org" if sender == OWNER else "stranger@example.org"
            headers = {"References": more["thread"]} if more.get("thread") else {}
            if event is not None:
                headers["message_id"] = f"<event-{event}@client.test>"
            imap.deliver(mail_from(who, text, **headers), name=f"{next(_count)}.mail")

        def lock_out() -> None:
            channel._smtp = Server("127.0.0.1", post.port, False, "ann", "wrong")

        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=channel,
            seen=seen,
            to="me@example.org",
            thread="<root@client.test>",
            say=say,
            refuse=post.stop,
            drop=lambda: setattr(post, "next", "drop"),
            hang=lambda: setattr(post, "next", "hang"),
            reject=lambda: post.refused.update({"me@example.org": "550 no such user"}),
            lock_out=lock_out,
            reconnect=lambda: [_hang_up(box) for box in list(channel._boxes)],
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=("me@example.org",),
            settle=20,
        )


async def take(channel: EmailChannel, count: int) -> list[Inbound]:
    heard: list[Inbound] = []
    enough = asyncio.Event()

    async def accept(inbound: Inbound) -> None:
        heard.append(inbound)
        if len(heard) >= count:
            enough.set()

    task = asyncio.create_task(channel.listen(accept))
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait({task, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    assert enough.is_set(), heard
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return heard


async def test_the_message_id_is_the_same_for_every_resend(post: Post, channel: EmailChannel):
    message = Outgoing(key="dlv_1", text="hello", to="me@example.org")
    first = await channel.send(message)
    assert first == await channel.send(message)
    assert [mail["Message-ID"] for mail in post.mails] == ["<dlv_1@example.org>"] * 2


@pytest.mark.parametrize("code", ["451 try later", "554 spam"])
async def test_a_refusal_of_the_text_is_what_it_says(post: Post, channel: EmailChannel, code: str):
    post.next = code
    with pytest.raises(
        PermanentError if code.startswith("5") else TemporaryError, match="refuses the message"
    ):
        await channel.send(Outgoing(key="k", text="x"))
    assert post.mails == []


@pytest.mark.parametrize(
    ("answer", "errors"),
    [
        ("421 closing down", TemporaryError),
        ("452 mailbox full", TemporaryError),
        ("say welcome", AmbiguousSend),
        ("say <html>portal</html>", AmbiguousSend),
        ("say 99 what", AmbiguousSend),
    ],
)
async def test_a_mail_server_in_trouble_refuses_nothing_for_good(
    post: Post, channel: EmailChannel, answer: str, errors: Any
):
    post.next = answer
    with pytest.raises(errors):
        await channel.send(Outgoing(key="k", text="x"))
    await channel.send(Outgoing(key="k2", text="It works again"))
    assert "It works again" in post.mails[-1].get_content()


@pytest.mark.parametrize("to", ["me@example.org\nBcc: all@example.org", "a@x.test, b@x.test", "nobody"])
async def test_an_address_cannot_smuggle_headers(post: Post, channel: EmailChannel, to: str):
    with pytest.raises(PermanentError, match="no mail address"):
        await channel.send(Outgoing(key="k", text="x", to=to))
    assert post.mails == []


async def test_a_title_cannot_smuggle_headers(post: Post, channel: EmailChannel):
    await channel.send(Outgoing(key="k", text="x", title="Hi\r\nBcc: all@example.org"))
    assert post.mails[0]["Bcc"] is None


async def test_machines_are_not_obeyed_and_malformed_mail_stops_nothing(
    channel: EmailChannel, imap: servers.Imap
):
    me = "me@example.org"
    bad = [
        mail_from(me, "away", Auto_Submitted="auto-replied"),
        mail_from(me, "news", List_Id="<list.test>"),
        mail_from(me, "bulk", Precedence="bulk"),
        mail_from("assistant@example.org", "from itself"),
        b"",
        b"\xff\xfe\x00 no mail at all",
        b"From: me@example.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\n"
        b"Content-Type: text/plain; charset=nope\n\n\xff\n",
        b"From: =?utf-8?q?broken?= <\nSubject: x\n\nbody",
        b"Content-Transfer-Encoding: base64\nFrom: me@example.org\nContent-Type: text/plain\n\n!!!!not base64",
        b"From: me@example.org\nDate: never\nSubject: =?utf-16?B?//8=?=\n\ntext",
    ]
    for number, raw in enumerate(bad):
        imap.deliver(raw, name=f"0{number}.bad")
    imap.deliver(mail_from(me, "the real one", Subject="Hello"), name="99.good")
    heard: list[Inbound] = []
    count = 1
    while not any("the real one" in inbound.text for inbound in heard):
        heard += await take(channel, count)
    assert all(inbound.sender == me for inbound in heard)
    assert not {"away", "news", "bulk", "from itself"} & {inbound.text for inbound in heard}
    assert heard[-1].text == "Hello\n\nthe real one"


async def test_a_reply_to_ours_points_at_the_question(channel: EmailChannel, imap: servers.Imap, post: Post):
    receipt = await channel.send(
        Outgoing(key="dlv_42", text="May I?\n\n1. Yes", buttons=(Button("Yes", "yes"),), to="me@example.org")
    )
    raw = mail_from(
        "me@example.org",
        "1\n\nOn Monday Tawny wrote:\n> May I?",
        In_Reply_To=receipt.ids[0],
        References=receipt.ids[0],
    )
    imap.deliver(raw, name="1.reply")
    (inbound,) = await take(channel, 1)
    assert (inbound.text, inbound.reply_to, inbound.thread) == ("1", receipt.ids[0], "")


async def test_a_bare_number_out_of_the_blue_is_another_thread(channel: EmailChannel, imap: servers.Imap):
    imap.deliver(mail_from("me@example.org", "1"), name="1.forged")
    (inbound,) = await take(channel, 1)
    assert inbound.thread != ""


@pytest.mark.parametrize(
    ("results", "believed"),
    [
        ("mx.example.org; dmarc=pass header.from=example.org", True),
        ("mx.example.org; dmarc=fail", False),
        ("evil.test; dmarc=pass", False),
        (None, False),
    ],
)
async def test_where_the_server_vouches_only_its_own_word_counts(
    post: Post, house: Any, imap: servers.Imap, results: str | None, believed: bool
):
    channel = EmailChannel(
        settings_for(post, authenticated_by="mx.example.org"),
        house,
        smtp=Server("127.0.0.1", post.port, False, "", ""),
        imap=Server("127.0.0.1", imap.port, False, "ann", "pw"),
    )
    headers = {} if results is None else {"Authentication_Results": results}
    imap.deliver(mail_from("me@example.org", "first", **headers), name="1.a")
    good = "mx.example.org; dmarc=pass"
    imap.deliver(mail_from("me@example.org", "last", Authentication_Results=good), name="2.b")
    heard = await take(channel, 2 if believed else 1)
    assert [inbound.text for inbound in heard] == (["first", "last"] if believed else ["last"])
    await channel.close()


@pytest.mark.parametrize("during", ["STORE", "SEARCH"])
async def test_mail_that_is_told_of_in_passing_does_not_wait_for_the_next(house: Any, during: str):
    first, second = (
        mail_from("me@example.org", text, message_id=f"<{text}@example.org>") for text in ("first", "second")
    )
    async with PassingMention(first, second, during=during).listening() as server:
        channel = EmailChannel(
            EmailSettings(name="email", sender="a@example.org", smtp="smtp://x", allow=("me@example.org",)),
            house,
            smtp=Server("127.0.0.1", 1, tls=False, user="", password=""),
            imap=Server("127.0.0.1", server.port, tls=False, user="me", password="x"),
        )
        assert [inbound.text for inbound in await take(channel, 2)] == ["first", "second"]
        await channel.close()


async def test_what_lies_in_the_sent_folder_has_arrived(channel: EmailChannel, imap: servers.Imap):
    channel._settings = msgspec.structs.replace(channel._settings, sent_folder="INBOX")
    imap.deliver(
        mail_from("x@example.org", "copy", message_id="<dlv_7@example.org>"), name="1.sent", seen=True
    )
    receipt = await channel.reconcile(Outgoing(key="dlv_7", text="x"))
    assert receipt is not None
    with pytest.raises(AmbiguousSend):
        await channel.reconcile(Outgoing(key="dlv_8", text="x"))


async def test_the_sent_folder_is_looked_into_while_the_account_waits_for_mail(
    channel: EmailChannel, imap: servers.Imap, monkeypatch: pytest.MonkeyPatch
):
    channel._settings = msgspec.structs.replace(channel._settings, sent_folder="INBOX")
    copy = mail_from("x@example.org", "copy", message_id="<dlv_7@example.org>")
    imap.deliver(copy, name="1.sent", seen=True)
    waits = threading.Event()
    start = IdleManager.start

    def noted(idle: IdleManager) -> Any:
        answer = start(idle)
        waits.set()
        return answer

    monkeypatch.setattr(IdleManager, "start", noted)

    async def accept(inbound: Inbound) -> None:
        raise AssertionError(inbound)

    listening = asyncio.create_task(channel.listen(accept))
    assert await asyncio.to_thread(waits.wait, 60)
    async with asyncio.timeout(60):
        assert await channel.reconcile(Outgoing(key="dlv_7", text="x")) is not None
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("yes\n\nOn Mon, Ann wrote:\n> may I?", "yes"),
        ("> quoted\nmy words", "my words"),
        ("words\n-- \nAnn", "words"),
        ("one\r\ntwo", "one\ntwo"),
        ("ja\n\nAm 3.11.2026 um 10:12 schrieb Ann <ann@example.org>:\n> darf ich?", "ja"),
        ("oui\n\nLe mar. 3 nov. 2026 à 10:12, Ann <ann@example.org> a écrit :\n> puis-je ?", "oui"),
        ("sí\n\nEl mar, 3 nov 2026 a las 10:12, Ann (<ann@example.org>) escribió:\n\n> ¿puedo?", "sí"),
        ("好\n\n2026年11月3日 10:12，Ann <ann@example.org> 写道：\n> 可以吗", "好"),
        (
            "yes\n\nOn Tue, Nov 3, 2026 at 10:12 AM Ann\n<ann.with.a.long.address@example.org> wrote:\n> ?",
            "yes",
        ),
        ("yes\n\n-----Original Message-----\nFrom: Ann\n\nmay I?", "yes"),
        ("yes\n\n-----Ursprüngliche Nachricht-----\nVon: Ann", "yes"),
        ("yes\n\nFrom: Ann <ann@example.org>\nSent: Tuesday\nTo: Bob\nSubject: May I?\n\nmay I?", "yes"),
        ("yes\n\nVon: Ann\nGesendet: Dienstag\nAn: Bob\nBetreff: Darf ich?\n\nDarf ich?", "yes"),
        ("yes\n________________________________\nFrom: Ann", "yes"),
        ("yes On Wed, Apr 4, 2026 at 3:59 PM, ann@example.org wrote:\n> hi", "yes"),
        (
            "above\n\nOn Tue, 3 Nov 2026, Ann wrote:\n> one?\nbetween\n> two?\nbelow",
            "above\n\nbetween\nbelow",
        ),
        # What only looks like a quotation, or is what the mail is about, stays.
        (
            "On Monday somebody wrote me a letter.\nPlease answer it.",
            "On Monday somebody wrote me a letter.\nPlease answer it.",
        ),
        (
            "Write a mail\nTo: Bob\nSubject: Lunch\n\nAt noon?",
            "Write a mail\nTo: Bob\nSubject: Lunch\n\nAt noon?",
        ),
        ("Date: Tuesday\nTime: 7:00\nPlease book it.", "Date: Tuesday\nTime: 7:00\nPlease book it."),
        (
            "Look\n\n---------- Forwarded message ---------\nFrom: Ann\nDate: today\n\n> old\nthe text",
            "Look\n\n---------- Forwarded message ---------\nFrom: Ann\nDate: today\n\n> old\nthe text",
        ),
        ("Meet at 10:30 with ann@example.org", "Meet at 10:30 with ann@example.org"),
    ],
)
def test_only_ones_own_words_count(text: str, own: str):
    assert own_words(text) == own


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="abc xyz,.!?äß漢😀", max_size=60), max_size=20))
def test_words_that_quote_nothing_stay_as_they_are(lines: list[str]):
    text = "\n".join(lines).strip()
    assert own_words(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "On 1 wrote\n" * 20_000,
        "12:00 a@b\n" * 20_000,
        "12:00 " + "a@" * 90_000,
        "On Jan 1, " + "y" * 199_000,
        "From: a\n" * 25_000,
        ">" * 200_000,
        "- " * 100_000,
    ],
)
def test_a_mail_made_to_be_slow_is_not(text: str):
    began = time.process_time()
    own_words(text)
    assert time.process_time() - began < 1


def test_a_pages_quotation_and_layout_are_left_out():
    page = (
        "<html><head><style>p {}</style></head><body><p>Yes,\n   do   it</p><pre>a  b</pre>"
        "<div>On Tue, 3 Nov 2026, Ann wrote:</div><blockquote>may I?</blockquote></body></html>"
    )
    assert own_words(text_of(page)) == "Yes, do it\na  b"


@pytest.mark.parametrize(
    ("answer", "error"), [("[UNAVAILABLE] later", TemporaryError), ("[AUTHENTICATIONFAILED] no", ChannelDown)]
)
async def test_only_a_refused_password_takes_the_account_down(
    house: Any, answer: str, error: type[Exception]
):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK IMAP4rev1\r\n")
        while line := await reader.readline():
            tag, command = line.decode().split()[:2]
            said = f"NO {answer}" if command.upper() == "LOGIN" else "OK done"
            capability = "* CAPABILITY IMAP4rev1\r\n" if command.upper() == "CAPABILITY" else ""
            writer.write(f"{capability}{tag} {said}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = EmailChannel(
        EmailSettings(name="email", sender="a@example.org", smtp="smtp://x"),
        house,
        smtp=Server("127.0.0.1", 1, tls=False, user="", password=""),
        imap=Server("127.0.0.1", port, tls=False, user="me", password="x"),
    )

    async def accept(inbound: Inbound) -> None:
        raise AssertionError(inbound)

    with pytest.raises(error):
        await channel.listen(accept)
    await channel.close()
    server.close()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"from": "nobody", "smtp": "smtp://x"}, "no mail address"),
        ({"from": "a@b.c", "smtp": "http://x"}, "smtp://"),
        ({"from": "a@b.c", "smtp": "smtp://x", "imap": "pop://x"}, "imap://"),
    ],
)
def test_wrong_settings_are_refused(table: dict[str, str], says: str):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(table, EmailSettings)
