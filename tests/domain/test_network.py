"""Which places may be reached: tables in both directions, and URLs that could be read two ways."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tawny.domain.ipaddresses import classify
from tawny.domain.network import (
    Target,
    check_address,
    check_target,
    parse_authority,
    parse_entry,
    parse_rules,
    parse_url,
)
from tawny.errors import InvalidInput, Refused

SPECIAL = {
    "loopback": ["127.0.0.1", "127.0.0.53", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1"],
    "private": [
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.0.1",
        "192.168.255.255",
        "fc00::1",
        "fdff:ffff::1",
        "fec0::1",
        "::ffff:10.1.2.3",
        "::ffff:192.168.1.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::172.16.0.1",
        "2002:c0a8:0101::1",
        "2002:0a00:0001::",
    ],
    "link-local": ["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1", "::ffff:169.254.1.1"],
    "metadata": [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::",
    ],
    "shared": ["100.64.0.1", "100.127.255.255", "::ffff:100.64.1.1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "documentation": ["192.0.2.55", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "reserved": [
        "192.0.0.9",
        "192.88.99.1",
        "240.0.0.1",
        "255.255.255.255",
        "100::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1::1",
        "4000::1",
        "5f00::1",
        "8000::1",
        "f000::1",
    ],
}
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2001:4860:4860::8888",
    "2400:cb00::1",
    "::ffff:8.8.8.8",
    "64:ff9b::1.1.1.1",
    "64:ff9b:1::8.8.4.4",
    "2002:0101:0101::",
    "2001:0:0:0:0:0:fefe:fefe",
    "2a00:1450::5efe:8.8.8.8",
    "2a00:1450:1:1:1111:5efe:7f00:1",
]
TUNNELLED_TEREDO_LOOPBACK = "2001:0:4136:e378:8000:63bf:80ff:fffe"


@pytest.mark.parametrize(("address", "kind"), [(a, kind) for kind, group in SPECIAL.items() for a in group])
def test_special_addresses_are_known_by_kind(address: str, kind: str) -> None:
    assert classify(ip_address(address)) == kind


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert classify(ip_address(address)) is None


def test_addresses_hidden_in_teredo_and_isatap_are_found() -> None:
    assert classify(ip_address(TUNNELLED_TEREDO_LOOPBACK)) == "loopback"
    assert classify(ip_address("2a00:1450::5efe:127.0.0.1")) == "loopback"
    assert classify(ip_address("2a00:1450::200:5efe:10.0.0.1")) == "private"


OTHER_SPELLINGS = [
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x/",
    "http://127.0.0.01/",
    "http://127.0.0.1./",
    "http://00000127.0.0.1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.256/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::]/",
    "http://[0000::1]/",
    "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://ⓛocalhost/",
    "http://x.localhost/",
    "http://localhost.localdomain/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:a9fe:a9fe]/",
]


@pytest.mark.parametrize("url", OTHER_SPELLINGS)
def test_no_spelling_of_a_special_address_is_let_through(url: str) -> None:
    everything = parse_rules(["*", "*:8080", "*:443"])
    with pytest.raises(Refused):
        check_target(everything, parse_url(url))


SPLITTING = [
    "http://1.1.1.1 &@127.0.0.1#@x/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com@127.0.0.1/",
    "http://user:password@example.com/",
    "http://example.com:80@127.0.0.1:8080/",
    "http://example.com%2f@127.0.0.1/",
    "http://exam%70le.com/",
    "http://example.com%00.evil.test/",
    "http://example.com\t.evil.test/",
    "http://example.com\n/",
    "http:///example.com/",
    "http:/example.com/",
    "http:example.com/",
    "//example.com/",
    "https://example.com:/\\evil.test/",
    "http://example.com:99999/",
    "http://example.com:0/",
    "http://example.com:8o/",
    "http://example.com:+80/",
    "http://example.com:80:80/",
    "http://example..com/",
    "http://.example.com/",
    "http://example.com../",
    "http://[::1/",
    "http://[::1]x/",
    "http://::1/",
    "http://[1.2.3.4]/",
    "http://-example.com/",
    "http://exa_mple-.com/",
    "http://example.com;evil.test/",
    "http://example.com,evil.test/",
    "http://$(id).example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "ftp://example.com/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "http://" + "a" * 64 + ".com/",
    "http://example.com/" + "a" * 9000,
    "",
    "http://",
]


@pytest.mark.parametrize("url", SPLITTING)
def test_what_can_be_read_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("https://example.com.:443/a?b=c#d", "https://example.com/a?b=c"),
        ("https://example.com:/x", "https://example.com/x"),
        ("http://example.com:8080?q=@127.0.0.1", "http://example.com:8080/?q=@127.0.0.1"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://faß.de/", "http://xn--fa-hia.de/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://[2606:4700:0::1111]:81/", "http://[2606:4700::1111]:81/"),
        ("http://1password.com/", "http://1password.com/"),
        ("http://0x.example.com/", "http://0x.example.com/"),
        ("http://a_b.example.com/", "http://a_b.example.com/"),
    ],
)
def test_an_ordinary_url_has_one_spelling(url: str, canonical: str) -> None:
    assert parse_url(url).url == canonical
    assert parse_url(canonical).url == canonical


def _allowed(allow: list[str], private: list[str], url: str) -> bool:
    try:
        check_target(parse_rules(allow, private), parse_url(url))
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("allow", "url", "expected"),
    [
        (["example.com"], "https://example.com/", True),
        (["example.com"], "http://example.com/", True),
        (["example.com"], "http://example.com:8080/", False),
        (["example.com:8080"], "http://example.com:8080/", True),
        (["example.com:8080"], "http://example.com/", False),
        (["example.com"], "http://www.example.com/", False),
        (["*.example.com"], "http://www.example.com/", True),
        (["*.example.com"], "http://a.b.example.com/", True),
        (["*.example.com"], "http://example.com/", False),
        (["*.example.com"], "http://evilexample.com/", False),
        (["*.example.com:8443"], "https://www.example.com:8443/", True),
        (["example.com"], "http://example.com.evil.test/", False),
        (["EXAMPLE.com."], "http://example.COM/", True),
        (["bücher.example"], "https://xn--bcher-kva.example/", True),
        (["8.8.8.8"], "http://8.8.8.8/", True),
        (["[2606:4700::1111]:443"], "https://[2606:4700::1111]/", True),
        (["2606:4700::1111"], "https://[2606:4700:0:0::1111]/", True),
        (["*"], "https://anything.example/", True),
        (["*"], "https://8.8.8.8/", False),
        (["*"], "http://localhost/", False),
        ([], "https://example.com/", False),
        (["127.0.0.1:8080"], "http://127.0.0.1:8080/", False),
        (["localhost:8080"], "http://localhost:8080/", False),
    ],
)
def test_allow_means_what_it_says(allow: list[str], url: str, *, expected: bool) -> None:
    assert _allowed(allow, [], url) is expected


@pytest.mark.parametrize(
    ("private", "url", "expected"),
    [
        (["127.0.0.1:8080"], "http://127.0.0.1:8080/", True),
        (["127.0.0.1:8080"], "http://127.0.0.1:8081/", False),
        (["127.0.0.1:8080"], "http://localhost:8080/", True),
        (["127.0.0.1:8080"], "http://x.localhost:8080/", True),
        (["127.0.0.1:8080"], "http://2130706433:8080/", False),
        (["127.0.0.1:8080"], "http://127.1:8080/", False),
        (["localhost:8080"], "http://localhost:8080/", True),
        (["localhost:8080"], "http://127.0.0.1:8080/", False),
        (["[::1]:8080"], "http://[::1]:8080/", True),
        (["[::1]:8080"], "http://[0:0::1]:8080/", True),
        (["[::1]:8080"], "http://127.0.0.1:8080/", False),
        (["10.0.0.5"], "http://10.0.0.5/", True),
        (["10.0.0.5"], "http://10.0.0.6/", False),
        (["169.254.169.254"], "http://169.254.169.254/", True),
        (["127.0.0.1"], "http://[::ffff:127.0.0.1]/", False),
    ],
)
def test_a_private_address_needs_its_own_line(private: list[str], url: str, *, expected: bool) -> None:
    assert _allowed([], private, url) is expected


def test_a_listed_name_unlocks_private_addresses_but_never_metadata() -> None:
    rules = parse_rules([], ["nas.example:8080"])
    target = parse_url("http://nas.example:8080/")
    check_target(rules, target)
    check_address(rules, target, ip_address("192.168.1.9"))
    check_address(rules, target, ip_address("1.1.1.1"))
    for address in ("169.254.169.254", "169.254.1.1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254"):
        with pytest.raises(Refused):
            check_address(rules, target, ip_address(address))


def test_an_allowed_name_may_not_resolve_to_a_private_address_listed_for_somebody_else() -> None:
    rules = parse_rules(["example.com"], ["127.0.0.1:80"])
    with pytest.raises(
        Refused, match=r"example\.com:80 resolves to 127\.0\.0\.1, which is a loopback address"
    ):
        check_address(rules, parse_url("http://example.com/"), ip_address("127.0.0.1"))


def test_a_refusal_says_what_would_permit_it() -> None:
    with pytest.raises(Refused) as public:
        check_target(parse_rules([]), parse_url("https://example.com/x"))
    assert "'example.com:443' to [network] allow " in public.value.hint
    with pytest.raises(Refused) as private:
        check_target(parse_rules([]), parse_url("http://[::1]:9/"))
    assert "'[::1]:9' to [network] allow_private" in private.value.hint


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "http://example.com",
        "example.com/",
        "a b",
        "*.1.2.3.4",
        "*.*",
        "127.1",
        "user@host",
        "host:",
        "h:0",
        "h:x",
    ],
)
def test_a_wrong_entry_is_an_error_that_names_it(entry: str) -> None:
    with pytest.raises(InvalidInput, match=r"no entry for \[network\]"):
        parse_entry(entry)


def test_a_star_is_no_private_entry() -> None:
    with pytest.raises(InvalidInput):
        parse_rules([], ["*"])


def test_a_task_may_narrow_the_list_but_not_widen_it() -> None:
    rules = parse_rules(["*.example.com", "api.test:8443", "*"], ["127.0.0.1:8080"])
    narrow = rules.narrowed(["www.example.com", "127.0.0.1:8080"])
    check_target(narrow, parse_url("http://www.example.com/"))
    check_target(narrow, parse_url("http://127.0.0.1:8080/"))
    with pytest.raises(Refused):
        check_target(narrow, parse_url("https://api.test:8443/"))
    for wider in ("127.0.0.1:8081", "api.test:9000", "10.0.0.1"):
        with pytest.raises(Refused, match="may not widen"):
            rules.narrowed([wider])


@pytest.mark.parametrize(
    "text", ["*", "*:8443", "*.example.com", "api.test:8443", "127.0.0.1", "[::1]:9", "[2606:4700::1]"]
)
def test_an_entry_is_written_as_it_was_read(text: str) -> None:
    entry = parse_entry(text)
    assert entry.text == text
    assert parse_entry(entry.text) == entry


def test_an_authority_needs_its_port() -> None:
    assert parse_authority("example.com:443").port == 443
    assert parse_authority("[2606:4700::1]:443").authority == "[2606:4700::1]:443"
    for text in ("example.com", "example.com:", "a@b:1", "::1:443", "127.1:443", "example.com:443/"):
        with pytest.raises(Refused):
            parse_authority(text)


@given(st.text(max_size=60))
def test_any_text_is_refused_or_stays_itself(text: str) -> None:
    try:
        target: Target = parse_url("http://" + text)
    except Refused:
        return
    assert parse_url(target.url) == target


@given(st.ip_addresses())
def test_a_mapped_address_is_as_special_as_the_plain_one(address: object) -> None:
    from ipaddress import IPv4Address, IPv6Address

    if isinstance(address, IPv4Address):
        mapped = IPv6Address(f"::ffff:{address}")
        assert classify(mapped) == classify(address)
