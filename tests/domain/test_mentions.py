"""What a text names, and what only looks like it."""

import pytest

from tawny.domain.display import visible
from tawny.domain.mentions import Mentions, links_in

WORDS = (
    "Read www.informations.com, post to our website www.our-company.com.They know. Mail 'janeLong@google.com', ask Bob,"
    " see https://docs.example.org/team/plan, call +49 170 1234567 and add an event 'Dinner at {restaurant_name}'."
)


@pytest.mark.parametrize(
    "target",
    [
        "www.informations.com",
        "https://informations.com/article?id=1",
        "http://www.our-company.com",
        "JaneLong@google.com",
        "Jane <janelong@google.com>",
        "Bob",
        "@bob",
        "https://docs.example.org/team/plan/page",
        "+491701234567",
    ],
)
def test_named(target):
    assert Mentions([WORDS]).names(target)


@pytest.mark.parametrize(
    "target",
    [
        "www.true-informations.com",
        "informations.com.evil.org",
        "https://informations.com@evil.org",
        "https://informations.com:8443@evil.org/",
        "https://docs.example.org/team/planet",
        "https://docs.example.org/other",
        "https://docs.example.org",
        "janelong@google.com.evil.org",
        "xjanelong@google.com",
        "Bobby",
        "Alice",
        "",
        "49170123456",
        "https://informatións.com",
    ],
)
def test_not_named(target):
    assert not Mentions([WORDS]).names(target)


def test_a_title_is_described_word_by_word_or_by_a_quoted_pattern():
    mentions = Mentions([WORDS])
    assert mentions.describes("Dinner at New Israeli Restaurant")
    assert mentions.describes("our website")
    assert not mentions.describes("Lunch at New Israeli Restaurant")
    assert not mentions.describes("Booking a room at the Riverside View Hotel")


def test_an_apostrophe_opens_no_quotation():
    words = "I'm off; set the restaurant's address, title 'Dinner at {restaurant}', and that's it"
    assert Mentions([words]).describes("Dinner at Le Baratin")
    assert not Mentions([words]).describes("Booking a room")


def test_links_are_found_with_and_without_a_scheme():
    text = "see www.a.org/x, (https://b.org/y?z=1). Or evil.sh; not bob@c.org nor 1.5 nor e.g"
    assert links_in(text) == ["www.a.org/x", "https://b.org/y?z=1", "evil.sh"]


def test_nothing_hides_in_what_is_shown():
    assert visible("a\x1b[2Kb\u202ec\u200bd\re") == "a\\x1b[2Kb\\u202ec\\u200bd\\re"
    assert visible("zwölf\nZeilen 日本") == "zwölf\nZeilen 日本"
    assert visible("a\nb", keep_lines=False) == "a\\nb"
