"""Which letters bytes stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.domain.charsets import decoded, decoded_page

GERMAN = "Grüße aus Köln, schöne Tage in Österreich"
CHINESE = "会议改期到明天上午"


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "iso-8859-1"])
def test_european_text_is_read_without_being_told_how(charset: str):
    assert decoded(GERMAN.encode(charset)) == GERMAN


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "gb18030", "gb2312"])
def test_chinese_text_is_read_without_being_told_how(charset: str):
    assert decoded(CHINESE.encode(charset)) == CHINESE


def test_chinese_words_among_keywords_are_read():
    assert CHINESE in decoded(
        f"BEGIN:VEVENT\nDTSTART:20260302T090000Z\nSUMMARY:{CHINESE}\n".encode("gb18030")
    )


@pytest.mark.parametrize("named", ["shift_jis", "euc-kr", "koi8-r", "windows-1251", "big5"])
def test_named_charset_counts(named: str):
    words = {"shift_jis": "会議", "euc-kr": "회의", "big5": "會議"}.get(named, "Встреча")
    assert decoded(words.encode(named), named) == words


def test_wrong_or_unknown_name_is_no_obstacle():
    assert decoded(GERMAN.encode(), "x-klingon") == GERMAN
    assert decoded(CHINESE.encode("gb18030"), "utf-8") == CHINESE


def test_one_bad_byte_or_a_cut_end_changes_no_charset():
    data = (GERMAN * 3).encode()
    assert decoded(data[:40] + b"\xff" + data[40:]).count("ö") == GERMAN.count("ö") * 3
    assert decoded(data[:-30].rstrip() + "Ö".encode()[:1]).startswith(GERMAN)


@pytest.mark.parametrize(
    ("head", "charset"),
    [
        ('<meta charset="shift_jis">', "shift_jis"),
        ("<meta http-equiv=content-type content='text/html; charset=Shift_JIS'>", "shift_jis"),
        ("<meta charset=utf-16>", "utf-8"),
        ("<meta charset=gb2312>", "utf-8"),
        ("", "utf-8"),
    ],
)
def test_page_says_its_charset_itself(head: str, charset: str):
    page = f"<html><head>{head}<title>会議</title>"
    assert decoded_page(page.encode(charset)) == page


def test_servers_word_counts_before_the_pages():
    page = "<meta charset=iso-8859-1><p>Grüße</p>"
    assert decoded_page(page.encode(), "utf-8") == page
    assert decoded_page("<meta charset=iso-8859-1>“Grüße” €".encode("cp1252")).endswith("“Grüße” €")


@given(
    st.binary(max_size=300),
    st.sampled_from([None, "utf-8", "gb18030", "utf-16", "idna", "rot13", "hex", "\x00"]),
)
def test_any_bytes_are_some_text(data: bytes, charset: str | None):
    assert isinstance(decoded(data, charset), str)
    assert isinstance(decoded_page(data, charset), str)
