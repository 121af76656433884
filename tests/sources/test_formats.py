"""todo.txt, vCard, feeds, HTML: the smaller formats."""

from datetime import date

import pytest

from tawny.clock import iso
from tawny.errors import PermanentError
from tawny.sources import feeds, todotxt, vcard
from tawny.sources.markup import text_of
from tawny.sources.place import Content, NewTodo, Place

TODO = Place(noun="todo", name="list", url="todo.txt")
CARDS = Place(noun="contacts", name="people", url="people.vcf")
FEED = Place(noun="feed", name="news", url="feed.xml")


def todos(text: str):
    problems: list[str] = []
    return list(todotxt.parse(text.encode(), TODO, problems)), problems


def contacts(text: str):
    problems: list[str] = []
    return list(vcard.parse(text.encode(), CARDS, problems)), problems


def test_todo_line_is_taken_apart():
    (todo,), _ = todos("(A) 2026-03-01 Submit monthly report +work @office due:2026-03-02 rec:1m\n")
    assert (todo.title, todo.priority, todo.due) == ("Submit monthly report", "A", date(2026, 3, 2))
    assert (todo.projects, todo.contexts) == (("work",), ("office",))


def test_finished_todo_is_known_as_done():
    (todo,), _ = todos("x 2026-03-02 2026-03-01 Call Ann pri:B")
    assert todo.done
    assert (todo.title, todo.priority) == ("Call Ann", "B")


def test_impossible_due_date_is_named_with_its_line():
    (first, second), problems = todos("Fine due:2026-03-02\nOdd due:2026-02-30\n")
    assert first.due == date(2026, 3, 2)
    assert (second.title, second.due) == ("Odd", None)
    assert problems == ['todo "list": line 2: due:2026-02-30 is no date; write it like due:2026-03-31']


def test_addresses_and_times_in_a_title_stay():
    (todo,), _ = todos("Read https://example.org/a at 10:30 mail:ann@b.c")
    assert todo.title == "Read https://example.org/a at 10:30 mail:ann@b.c"


def test_written_line_is_read_back():
    new = NewTodo(uid="t1", title="Buy\nmilk", due=date(2026, 3, 2), priority="B", created=date(2026, 3, 1))
    (todo,), _ = todos(todotxt.line(new))
    assert (todo.uid, todo.title, todo.due, todo.priority) == ("t1", "Buy milk", date(2026, 3, 2), "B")


def test_card_of_version_three_and_four_are_read():
    (three, four), _ = contacts(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Zhang;Wei;;;\r\nFN:Zhang Wei\r\nORG:Example\\, Inc.;Board\r\n"
        "item1.EMAIL;TYPE=INTERNET:CEO@example.org\r\nTEL;TYPE=cell:+49 30 1\r\nEND:VCARD\r\n"
        "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ann\r\n  Lee\r\nEMAIL;PREF=1:ann@example.org\r\n"
        'TEL;VALUE=uri;TYPE="voice,home":tel:+49-30-2\r\nEND:VCARD\r\n'
    )
    assert (three.name, three.emails, three.organisation) == (
        "Zhang Wei",
        ("ceo@example.org",),
        "Example, Inc.",
    )
    assert (four.name, four.phones) == ("Ann Lee", ("+49-30-2",))


@pytest.mark.parametrize(
    ("line", "charset"),
    [
        ("FN:Jürgen Groß", "cp1252"),
        ("FN;CHARSET=ISO-8859-1:Jürgen Groß", "iso-8859-1"),
        ("FN;QUOTED-PRINTABLE;CHARSET=UTF-8;TYPE=x:J=C3=BCrgen Gro=C3=9F", "ascii"),
        ("FN:Jürgen Groß", "utf-16"),
    ],
)
def test_name_on_a_card_is_read_however_it_is_written(line: str, charset: str):
    problems: list[str] = []
    data = f"BEGIN:VCARD\r\nVERSION:2.1\r\n{line}\r\nEND:VCARD\r\n".encode(charset)
    (card,) = vcard.parse(data, CARDS, problems)
    assert (card.name, problems) == ("Jürgen Groß", [])


def test_only_line_ends_end_a_line():
    (card,), _ = contacts("BEGIN:VCARD\nVERSION:4.0\nFN:Ann\u2028Lee\x0c\nEND:VCARD\n")
    assert card.name == "Ann\u2028Lee"
    (todo,), _ = todos("Ann\x0bLee due:2026-03-02\r\n")
    assert todo.due == date(2026, 3, 2)


def test_page_with_an_open_head_has_words():
    page = "<!doctype html><head><title>T</title><meta name=a><style>b{}</style><body><h1>Words</h1>more"
    assert text_of(page) == "# Words\n\nmore"


def test_quoted_printable_card_is_read():
    (card,), _ = contacts(
        "BEGIN:VCARD\nVERSION:2.1\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=E5=BC=A0=\n=E6=80=BB\nEND:VCARD"
    )
    assert card.name == "张总"


def test_card_without_end_costs_only_itself():
    found, problems = contacts("BEGIN:VCARD\nFN:Lost\nBEGIN:VCARD\nFN:Kept\nEND:VCARD\n")
    assert [card.name for card in found] == ["Kept"]
    assert "line 1" in problems[0]


def test_file_without_a_card_is_refused_with_the_mend():
    with pytest.raises(PermanentError, match="no vCard file"):
        contacts("hello")


RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News &amp; more</title>
<item><title>One</title><link>https://e.org/1</link><guid>g1</guid><pubDate>Mon, 02 Mar 2026 07:00:00 GMT</pubDate>
<description>&lt;p&gt;Hello &lt;b&gt;you&lt;/b&gt;&lt;/p&gt;</description></item>
<item><title>Two</title><link>https://e.org/2</link></item></channel></rss>"""


def test_feed_entries_are_read():
    title, (one, two), problems = feeds.parse(Content(RSS), FEED)
    assert (title, problems) == ("News & more", [])
    assert (one.id, one.title, one.summary, iso(one.time or 0)) == (
        "g1",
        "One",
        "Hello you",
        "2026-03-02T07:00:00.000Z",
    )
    assert (two.id, two.time) == ("https://e.org/2", None)


def test_atom_feed_is_read():
    atom = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><entry><id>i</id><title>E</title>
    <link href="https://e.org/e"/><updated>2026-03-02T08:00:00+01:00</updated></entry></feed>"""
    _, (entry,), _ = feeds.parse(Content(atom), FEED)
    assert (entry.id, entry.link, iso(entry.time or 0)) == (
        "i",
        "https://e.org/e",
        "2026-03-02T07:00:00.000Z",
    )


def test_broken_feed_is_read_as_far_as_it_goes():
    broken = RSS[: RSS.index(b"<item><title>Two")] + b"<item><title>T & T</tit"
    said = ['feed "news": the feed is malformed in line 4 and was read as far as it goes']
    for data in (broken, broken.removeprefix(b'<?xml version="1.0"?>')):
        _, entries, problems = feeds.parse(Content(data), FEED)
        assert entries[0].title == "One"
        assert problems == said


@pytest.mark.parametrize(
    ("prolog", "media_type", "charset"),
    [
        ('<?xml version="1.0" encoding="shift_jis"?>', "application/rss+xml", "shift_jis"),
        ('<?xml version="1.0"?>', "text/xml; charset=euc-jp", "euc-jp"),
        ('<?xml version="1.0" encoding="koi8-r"?>', "", "koi8-r"),
        ("", "application/xml; charset=gb2312", "gb2312"),
        ('<?xml version="1.0" encoding="utf-8"?>', "application/rss+xml; charset=utf-8", "utf-8"),
    ],
)
def test_feed_is_read_in_the_charset_that_it_or_its_server_names(prolog: str, media_type: str, charset: str):
    word = "новости" if charset == "koi8-r" else "今日"
    text = f"{prolog}<rss version='2.0'><channel><title>x</title><item><title>{word}</title></item></channel></rss>"
    _, (entry,), problems = feeds.parse(Content(text.encode(charset), media_type), FEED)
    assert (entry.title, problems) == (word, [])


def test_links_of_a_feed_are_followed_from_its_own_address_or_its_base():
    item = "<rss version='2.0'{}><channel><title>x</title><item><title>y</title><link>{}</link></item></channel></rss>"
    base = ' xml:base="https://other.org/b/"'
    found = [
        feeds.parse(Content(text.encode(), "", "https://e.org/a/feed.xml"), FEED)[1][0].link
        for text in (item.format("", "1.html"), item.format(base, "1.html"), item.format("", "http://[x"))
    ]
    assert found == ["https://e.org/a/1.html", "https://other.org/b/1.html", ""]
    guid = item.format("", "").replace("<link>", "<guid>").replace("</link>", "https://e.org/g</guid>")
    assert feeds.parse(Content(guid.encode()), FEED)[1][0].link == "https://e.org/g"


@pytest.mark.parametrize("old", ["rss090", "entity"])
def test_entries_that_the_fast_parser_passes_over_are_read(old: str):
    rss090 = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://my.netscape.com/rdf/simple/0.9/">
    <channel><title>t</title></channel><item><title>one</title></item></rdf:RDF>"""
    entity = (
        b"<rss version='2.0'><channel><title>t</title><item><title>&#X6F;ne</title></item></channel></rss>"
    )
    _, (entry,), _ = feeds.parse(Content({"rss090": rss090}.get(old, entity)), FEED)
    assert entry.title == "one"


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("<title>caf&eacute; &mdash; news</title>", "café — news"),
        ("<title>R&D for all</title>", "R&D for all"),
        ("<title>don&#146;t</title>", "don’t"),
        ("<title>don\x92t</title>", "don’t"),
        (
            '<title type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">Over <b>all</b></div></title>',
            "Over all",
        ),
        ('<title mode="base64">T3ZlciBhbGw=</title>', "Over all"),
        ("<title><b>Over</b> all</title>", "Over all"),
        ("<title><![CDATA[Over all]]></title>", "Over all"),
    ],
)
def test_title_is_read_whole_however_it_is_written(title: str, shown: str):
    text = f'<feed xmlns="http://www.w3.org/2005/Atom">{title}<entry>{title}<id>i</id></entry></feed>'
    name, (entry,), _ = feeds.parse(Content(text.encode()), FEED)
    assert (name, entry.title) == (shown, shown)


def test_entry_without_summary_shows_its_text():
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title>'
        '<entry><id>i</id><content type="html">&lt;p&gt;all of it&lt;/p&gt;</content></entry></feed>'
    )
    rss = (
        '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>A</title>'
        "<item><title>i</title><content:encoded><![CDATA[<p>all of it</p>]]></content:encoded></item></channel></rss>"
    )
    for text in (atom, rss):
        assert feeds.parse(Content(text.encode()), FEED)[1][0].summary == "all of it"


def test_feed_in_json_is_read():
    text = (
        '{"version": "https://jsonfeed.org/version/1.1", "title": "Q&A", "items": '
        '[{"id": "1", "url": "https://e.org/1", "title": "R&D", "content_text": "both"}]}'
    )
    name, (entry,), problems = feeds.parse(Content(text.encode(), "application/feed+json"), FEED)
    assert (name, entry.title, entry.link, problems) == ("Q&A", "R&D", "https://e.org/1", [])


def test_feed_with_nothing_in_it_is_no_mistake():
    text = '<?xml version="1.0"?><rss version="2.0"><channel><title>Caf&eacute;</title></channel></rss>'
    name, entries, problems = feeds.parse(Content(text.encode()), FEED)
    assert (name, entries) == ("Café", [])
    assert len(problems) == 1


@pytest.mark.parametrize("data", [b"", b"<html><body>sign in</body></html>", b"\x00\x01", b"{}"])
def test_page_that_is_no_feed_is_refused(data: bytes):
    with pytest.raises(PermanentError, match="no RSS or Atom feed"):
        feeds.parse(Content(data), FEED)


def test_html_becomes_readable_text():
    html = "<head><title>x</title></head><h2>Risks</h2><p>A&nbsp;b<br>c</p><ul><li>one<li>two</ul><script>no()</script>"
    assert text_of(html) == "## Risks\n\nA b\nc\n\n- one\n- two"
