"""Who wrote a mail: nobody is taken for somebody else, whatever stands in the headers."""

import email.message
import email.policy
import email.utils
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_tools import MailMessage

from tawny.channels.email import EmailSettings
from tawny.channels.email.letter import understand
from tawny.channels.email.sender import is_vouched_for, sender_of

ME = "me@example.org"


@pytest.mark.parametrize(
    "header",
    [
        ME,
        f"<{ME}>",
        f"Ann Lee <{ME}>",
        f'"Lee, Ann" <{ME}>',
        f"Lee, Ann <{ME}>",
        f"Ann (at (the) office) <{ME}>",
        f"(Ann) {ME} (at home)",
        f"=?utf-8?q?Ann_L=C3=A9e?= <{ME}>",
        f"=?utf-8?q?evil=40evil=2Etest=2C?= <{ME}>",
        f'"evil@evil.test" <{ME}>',
        f"Ann Lee\r\n\t<{ME}>",
        "Me@EXAMPLE.org",
    ],
)
def test_one_certain_address_is_the_sender(header: str):
    assert sender_of([header]) == ME


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [ME, "evil@evil.test"],
        ["evil@evil.test", ME],
        [ME, ME],
        [""],
        ["Ann"],
        [f"{ME}, evil@evil.test"],
        [f"evil@evil.test, {ME}"],
        [f"{ME} <evil@evil.test>"],
        [f"evil@evil.test <{ME}>"],
        [f"<{ME}> <evil@evil.test>"],
        [f"<evil@evil.test>, <{ME}>"],
        [f"friends: {ME};"],
        [f"friends: <{ME}>;"],
        [f"undisclosed-recipients:; <{ME}>"],
        [f"<@evil.test:{ME}>"],
        [f"<{ME}"],
        [f"{ME}>"],
        [f"<{ME}> evil@evil.test"],
        ["=?utf-8?q?me=40example=2Eorg?="],
        ["<=?utf-8?q?me=40example=2Eorg?=>"],
        ["me@=?utf-8?q?example=2Eorg?="],
        [f"({ME}"],
        [f'"{ME}'],
        ["me@example.org@evil.test"],
        ["me@evil.test@example.org"],
        ["me @example.org"],
        ["me@exam\x00ple.org"],
        ["me@exam(x)ple.org\x01"],
        [f"evil@evil.test\n{ME}"],
        ['"me"@example.org'],
        ["me@[127.0.0.1]"],
    ],
)
def test_what_could_be_taken_for_two_senders_has_none(headers: list[str]):
    assert sender_of(headers) == ""


def test_letters_that_become_ours_in_lower_case_are_others():
    assert sender_of(["mi\u212ae@example.org"]) != "mike@example.org"


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet='ab@.<>()",;: \\=?\t', max_size=40))
def test_a_sender_is_the_one_address_that_other_readers_find_too(text: str):
    found = sender_of([text])
    if found:
        assert email.utils.parseaddr(text)[1].lower() == found
        assert [address.lower() for _, address in email.utils.getaddresses([text]) if "@" in address] == [
            found
        ]


@pytest.mark.parametrize(
    ("results", "vouched"),
    [
        ("mx.example.org; dmarc=pass", True),
        (
            "MX.example.org 1; spf=pass smtp.mailfrom=x@y.test; dmarc=pass (p=none) header.from=example.org",
            True,
        ),
        ("mx.example.org;\r\n\tdkim=fail;\r\n\tDMARC=Pass header.from=Example.org", True),
        ("mx.example.org; dmarc/1 = pass header.from=example.org", True),
        ("(first) mx.example.org; dmarc=pass", True),
        ("mx.example.org; dmarc=fail", False),
        ("mx.example.org; dmarc=fail; dmarc=pass", False),
        ("mx.example.org; none", False),
        ("mx.example.org", False),
        ("", False),
        # What is the sender's to choose.
        ("mx.example.org; spf=pass smtp.mailfrom=dmarc=pass@evil.test; dmarc=fail", False),
        ('mx.example.org; spf=pass smtp.mailfrom="x; dmarc=pass"@evil.test', False),
        ("mx.example.org; dmarc=fail (; dmarc=pass)", False),
        ('mx.example.org; spf=pass reason="; dmarc=pass"', False),
        ("mx.example.org; xdmarc=pass", False),
        ("mx.example.org; dmarc=passed", False),
        ("mx.example.org; dmarc=pass header.from=evil.test", False),
        ("mx.example.org.evil.test; dmarc=pass", False),
        ("evil.test; mx.example.org; dmarc=pass", False),
        ("mx.example.org; dmarc=pass (", False),
    ],
)
def test_only_a_result_of_the_servers_own_counts(results: str, vouched: bool):
    assert is_vouched_for([results], by="mx.example.org", sender=ME) is vouched


def test_the_topmost_results_alone_are_the_servers():
    assert not is_vouched_for([], by="mx.example.org", sender=ME)
    below = ["mx.example.org; dmarc=fail", "mx.example.org; dmarc=pass"]
    assert not is_vouched_for(below, by="mx.example.org", sender=ME)
    assert is_vouched_for(below[::-1], by="mx.example.org", sender=ME)


def read(house: Any, raw: bytes, **table: Any) -> Any:
    parsed = msgspec.convert({"from": "a@example.org", "smtp": "smtp://x", **table}, EmailSettings)
    mail = MailMessage([(b"1 (UID 7 RFC822 {1}", raw)])
    return understand(mail, "7", settings=parsed, host=house)


def test_a_sender_header_or_an_answer_to_makes_nobody_the_sender(house: Any):
    raw = b"From: evil@evil.test\nSender: me@example.org\nReply-To: me@example.org\nMessage-ID: <1@x>\n\nhi"
    inbound = read(house, raw)
    assert (inbound.sender, inbound.conversation) == ("evil@evil.test", "evil@evil.test")


def test_allow_is_compared_whatever_its_case_and_holds_addresses(house: Any):
    raw = b"From: Me@Example.org\nMessage-ID: <1@x>\n\nhi"
    parsed = msgspec.convert(
        {"from": "a@example.org", "smtp": "smtp://x", "allow": ["ME@example.ORG"]}, EmailSettings
    )
    assert read(house, raw).sender in parsed.allow
    for entry in ("Ann", "a@b, c@d", 7, ""):
        with pytest.raises(msgspec.ValidationError, match="no mail address"):
            msgspec.convert({"from": "a@example.org", "smtp": "smtp://x", "allow": [entry]}, EmailSettings)


def test_a_mail_in_utf8_all_over_is_read(house: Any):
    raw = "From: Jörg <jörg@mächine.test>\nMessage-ID: <ä@x>\nReferences: <ö@x>\nSubject: Grüße\n\nhällo".encode()
    inbound = read(house, raw)
    assert (inbound.sender, inbound.thread) == ("jörg@mächine.test", "<ö@x>")
    assert "hällo" in inbound.text
    assert read(house, raw.replace("jörg".encode(), b"j\xf6rg")) is None
    # Bytes of no certain script cost the mail nothing but themselves.
    for name in (b"Subject", b"In-Reply-To", b"Date", b"Auto-Submitted"):
        odd = b"From: me@example.org\nMessage-ID: <1@x>\n" + name + b": \xff\xfe <\x80@x>\n\nhi"
        found = read(house, odd)
        assert (found is None) == (name == b"Auto-Submitted")
