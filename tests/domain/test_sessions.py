"""Which conversation a message belongs to, and how messages queue."""

import pytest

from tawny.domain.messages import Inbound
from tawny.domain.sessions import Queueing, parse_queueing, session_key

LINKS = {"ann": ("telegram:42", "email:ann@example.org")}


def said(channel: str = "telegram", sender: str = "42", *, group: bool = False, thread: str = "") -> Inbound:
    conversation = "-100" if group else sender
    return Inbound(
        channel=channel,
        event_id="1",
        sender=sender,
        conversation=conversation,
        thread=thread,
        group=group,
        text="hi",
    )


@pytest.mark.parametrize(
    ("scope", "inbound", "key"),
    [
        ("main", said(), "main"),
        ("per-peer", said(sender="7"), "peer:telegram:7"),
        ("per-channel-peer", said(sender="7"), "telegram:7"),
        ("main", said(group=True), "telegram:group:-100"),
        ("main", said(group=True, thread="5"), "telegram:group:-100#5"),
        ("per-peer", said(sender="7", thread="5"), "peer:telegram:7#5"),
        ("per-peer", said(channel="http", sender="owner"), "main"),
    ],
)
def test_a_session_is_of_a_channel_a_peer_a_group_a_thread(scope: str, inbound: Inbound, key: str) -> None:
    assert session_key(inbound, scope=scope, links=LINKS) == key
    assert session_key(inbound, scope=scope, links=LINKS, agent="chef") == f"agent:chef:{key}"


def test_linked_identities_are_one_person_and_share_a_session() -> None:
    over_telegram = session_key(said(), scope="per-peer", links=LINKS)
    over_mail = session_key(said("email", "ann@example.org"), scope="per-peer", links=LINKS)
    assert over_telegram == over_mail == "peer:ann"
    assert session_key(said("email", "bob@example.org"), scope="per-peer", links=LINKS) != over_mail
    # Where channels are kept apart they stay apart, linked or not.
    assert session_key(said(), scope="per-channel-peer", links=LINKS) == "telegram:42"


def test_queueing_is_set_word_by_word_over_what_holds() -> None:
    now = parse_queueing("collect debounce:2s cap:5 drop:summarize", Queueing())
    assert now == Queueing(mode="collect", debounce=2_000_000, cap=5, drop="summarize")
    assert parse_queueing("followup", now) == Queueing(
        mode="followup", debounce=2_000_000, cap=5, drop="summarize"
    )


@pytest.mark.parametrize("word", ["never", "cap:0", "cap:x", "drop:all", "debounce:soon", "debounce:"])
def test_a_word_that_is_none_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_queueing(word, Queueing())
