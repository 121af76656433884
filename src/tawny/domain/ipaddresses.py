"""What kind of address an IP address is. The table is ours: `ipaddress.is_private` lets through a third of these.

Sources: the IANA special-purpose registries (RFC 6890 and successors), RFC 4291, 4380, 5214, 6052, 8215, and the
addresses under which clouds serve their metadata.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# Addresses that answer a cloud's machines with credentials; named first, as some lie in a wider range or look public.
_METADATA = {
    IPv4Address("169.254.169.254"): "metadata",
    IPv4Address("169.254.170.2"): "metadata",
    IPv4Address("169.254.170.23"): "metadata",
    IPv4Address("100.100.100.200"): "metadata",
    IPv4Address("168.63.129.16"): "metadata",
    IPv4Address("192.0.0.192"): "metadata",
    IPv6Address("fd00:ec2::254"): "metadata",
    IPv6Address("fd00:ec2::23"): "metadata",
    IPv6Address("fd20:ce::254"): "metadata",
    IPv6Address("fd00:42::42"): "metadata",
}

_V4 = [
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]

# Only 2000::/3 is unicast that the world can reach; what is special inside it comes below.
_V6_GLOBAL = IPv6Network("2000::/3")
_V6 = [
    (IPv6Network(network), name)
    for network, name in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("2001:2::/48", "benchmarking"),
        ("2001::/23", "reserved"),
    )
]
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")

_LOW32 = (1 << 32) - 1


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address end up at, `None` where there is none."""
    number = int(address)
    low = IPv4Address(number & _LOW32)
    if address in _COMPATIBLE and number > 1:
        return low
    if address in _MAPPED or address in _TRANSLATED or any(address in network for network in _NAT64):
        return low
    if address in _SIX_TO_FOUR:
        return IPv4Address((number >> 80) & _LOW32)
    if address in _TEREDO:
        return IPv4Address((number & _LOW32) ^ _LOW32)
    # ISATAP: an interface identifier 0000:5efe or 0200:5efe, then the IPv4 address.
    if (number >> 32) & 0xFDFFFFFF == 0x00005EFE:
        return low
    return None


def classify(address: Address) -> str | None:
    """Why an address is not the public internet (`loopback`, `metadata`, …); `None` for a public one.

    Never narrower than the truth: an IPv6 address that carries an IPv4 one is as special as either of them.
    """
    if address in _METADATA:
        return _METADATA[address]
    if isinstance(address, IPv4Address):
        return next((name for network, name in _V4 if address in network), None)
    inner = embedded(address)
    if inner is not None and (kind := classify(inner)) is not None:
        return kind
    if inner is not None and not _is_native(address):
        return None
    special = next((name for network, name in _V6 if address in network), None)
    if special is None and address not in _V6_GLOBAL:
        return "reserved"
    return special


def _is_native(address: IPv6Address) -> bool:
    """Whether the address is also an ordinary IPv6 one beside the IPv4 address it carries (ISATAP)."""
    wrappers = (_MAPPED, _COMPATIBLE, _TRANSLATED, *_NAT64, _SIX_TO_FOUR, _TEREDO)
    return not any(address in network for network in wrappers)
