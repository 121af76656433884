"""Messages: encoded words, odd charsets, multipart, and what is malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.clock import iso
from tawny.sources.mime import mail_of


def read(text: bytes | str):
    return mail_of(text.encode() if isinstance(text, str) else text, account="me")


def test_encoded_words_are_decoded():
    mail = read("From: =?utf-8?B?5byg5oC7?= <Ceo@Example.org>\nSubject: =?gb2312?B?1KTL48nzxfo=?= Q2\n\nx")
    assert (mail.sender.name, mail.sender.address) == ("张总", "ceo@example.org")
    assert mail.subject == "预算审批 Q2"


@pytest.mark.parametrize("charset", ["gb18030", "utf-8", "big5"])
def test_raw_eight_bit_headers_are_read(charset: str):
    subject = read(b"Subject: " + "会議".encode(charset, "replace") + b"\n\nx").subject
    assert subject if charset == "big5" else subject == "会議"


@pytest.mark.parametrize(
    ("text", "charset", "head"),
    [
        ("Formação e Campanha Final de Verão", "cp1252", ""),
        ("Grüße aus Köln", "iso-8859-1", ""),
        ("Встреча завтра", "koi8-r", "Content-Type: text/plain; charset=koi8-r\n"),
        ("會議改期", "big5", "Content-Type: text/plain; charset=big5\n"),
        ("Vše nejlepší", "iso-8859-2", "Content-Type: text/plain; charset=iso-8859-2\n"),
        ("Größe", "utf-8", "Content-Type: text/plain; charset=iso-8859-1\n"),
    ],
)
def test_raw_headers_are_read_in_the_charset_of_the_body_or_the_likeliest(text: str, charset: str, head: str):
    data = (
        head.encode()
        + b"Subject: "
        + text.encode(charset)
        + b"\nFrom: "
        + text.encode(charset)
        + b" <a@b.c>\n\nx"
    )
    mail = read(data)
    assert (mail.subject, mail.sender.name) == (text, text)


def test_space_before_a_folded_encoded_word_stays():
    assert read("Subject: Re: TEST\n \n\t=?utf-8?B?44OG44K544OI?=\n\nx").subject == "Re: TEST テスト"


def test_text_with_a_file_name_is_the_text_when_it_is_all_there_is():
    part = '--b\nContent-Type: text/plain\nContent-Disposition: {}; filename="msg.txt"\n\nwords\n'
    whole = 'Content-Type: multipart/mixed; boundary="b"\n\n{}--b--\n'
    assert read(whole.format(part.format("inline"))).text == "words"
    assert read(whole.format(part.format("attachment"))).text == ""


def test_unknown_charset_is_no_obstacle():
    mail = read("Content-Type: text/plain; charset=x-klingon\nSubject: =?x-klingon?Q?hi?=\n\nhello")
    assert (mail.subject, mail.text) == ("hi", "hello")


def test_plain_part_wins_and_html_is_the_fallback():
    both = (
        'Content-Type: multipart/alternative; boundary="b"\n\n--b\nContent-Type: text/plain\n\nplain\n'
        "--b\nContent-Type: text/html\n\n<p>rich</p>\n--b--\n"
    )
    assert read(both).text.strip() == "plain"
    only = "Content-Type: text/html; charset=utf-8\n\n<style>p{}</style><p>Dear <b>Ann</b></p><p>Bye</p>"
    assert read(only).text == "Dear Ann\n\nBye"


def test_attachments_are_listed_not_read_as_text():
    mail = read(
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nSee report\n--b\n'
        "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''%E6%8A%A5%E5%91%8A.pdf\n"
        "Content-Transfer-Encoding: base64\n\nJVBERi0=\n--b--\n"
    )
    assert [(a.name, a.media_type, a.size) for a in mail.attachments] == [("报告.pdf", "application/pdf", 5)]
    assert mail.text.strip() == "See report"


def test_time_is_read_with_its_zone_and_falls_back_to_received():
    assert iso(read("Date: Mon, 2 Mar 2026 09:00:00 +0100\n\nx").time or 0) == "2026-03-02T08:00:00.000Z"
    late = "Received: from a by b; Mon, 2 Mar 2026 08:00:00 +0000\nDate: yesterday\n\nx"
    assert iso(read(late).time or 0) == "2026-03-02T08:00:00.000Z"
    assert read("Date: Mon, 2 Mar 20266 09:00:00\n\nx").time is None


@pytest.mark.parametrize("head", ["List-Unsubscribe: <mailto:x>", "Precedence: bulk", "List-Id: <x.y>"])
def test_newsletters_and_lists_are_bulk(head: str):
    assert read(f"{head}\n\nx").bulk


def test_importance_is_what_the_sender_says():
    assert read("Importance: high\n\nx").importance == "high"
    assert read("X-Priority: 1 (Highest)\n\nx").importance == "high"
    assert read("X-Priority: 5\n\nx").importance == "low"


def test_header_with_a_line_break_inside_stays_one_line():
    assert read("Subject: a\n b\r\n\tc\n\nx").subject == "a b c"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff\xfe",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n--b\n--b',
        b'Content-Type: text/plain; charset="\n\nx',
        b"Content-Transfer-Encoding: base64\n\n!!!not base64!!!",
        b'From: <<<>>>,,,;;;@@\nTo: "unterminated <a@b\n\nx',
        b"Subject: =?utf-8?b?broken\n\nx",
        b"Subject: =?utf-8?q?=ZZ=?=\nFrom: =?utf-8?b?////?= <a@b>\n\nx",
        b"Content-Disposition: attachment; filename*=utf-8''%FF%FE\nContent-Type: text/plain\n\nx",
        b"Content-Type: message/rfc822\n\nSubject: inner\n\ninner text",
    ],
)
def test_malformed_message_never_fails(data: bytes):
    assert read(data).subject


@given(st.binary(max_size=400))
def test_any_bytes_are_some_message(data: bytes):
    assert mail_of(b"Subject: x\nFrom: " + data, account="me").account == "me"
