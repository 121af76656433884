"""Apprise's own plugins, each against a server that takes what it sends: arrived, refused, or nobody knows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from apprise.plugins.discord import USER_ROLE_DETECTION_RE
from apprise.plugins.slack import NotifySlack

import servers
from fake_http import DROP, HANG, FakeHttp, Request, Response, serving
from tawny.api import AmbiguousSend, ChannelDown, Outgoing, PermanentError, TemporaryError
from tawny.channels.apprise import AppriseChannel, _calling_nobody
from tawny.testing.channel_contract import ChannelContract, Rig, Seen

pytestmark = [
    # The library looks for a module of the standard library that is on its way out.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]


class Sink:
    """A service that takes everything, and the text of what it got."""

    def __init__(self, text: Callable[[Request], str]) -> None:
        self.http = FakeHttp(self.handle)
        self.texts: list[str] = []
        self._text = text

    def handle(self, request: Request) -> Response:
        self.texts.append(self._text(request))
        return Response(200, {"ok": True, "id": 1})


@asynccontextmanager
async def sink(
    text: Callable[[Request], str] = lambda request: request.json()["message"],
) -> AsyncIterator[Sink]:
    made = Sink(text)
    await made.http.start()
    yield made
    await made.http.stop()


class TestApprise(ChannelContract):
    @pytest.fixture
    async def rig(self, house: Any) -> AsyncIterator[Rig]:
        async with sink() as service:
            yield Rig(
                channel=AppriseChannel("all", house, (f"json://127.0.0.1:{service.http.port}/",)),
                seen=lambda: [Seen(text) for text in service.texts],
                refuse=service.http.stop,
                drop=lambda: service.http.behave(DROP),
                hang=lambda: service.http.behave(HANG),
                reject=lambda: service.http.behave(Response(400, b"no")),
                lock_out=lambda: service.http.behave(Response(401, b"no")),
            )


def _in_json(*names: str) -> Callable[[Request], str]:
    def read(request: Request) -> str:
        found = request.json()
        for name in names:
            found = found[name]
        return str(found)

    return read


PLUGINS: dict[str, tuple[str, str, Callable[[Request], str]]] = {
    "json": ("json://127.0.0.1:{port}/hook", "/hook", _in_json("message")),
    "form": ("form://127.0.0.1:{port}/hook", "/hook", lambda request: request.form()["message"]),
    "xml": ("xml://127.0.0.1:{port}/hook", "/hook", lambda request: request.body.decode()),
    "gotify": ("gotify://127.0.0.1:{port}/tokentoken", "/message", _in_json("message")),
    "mattermost": ("mmost://127.0.0.1:{port}/3ccdd113474722377935511fc85d3dd4",
                   "/hooks/3ccdd113474722377935511fc85d3dd4", _in_json("text")),
    "ntfy": ("ntfy://127.0.0.1:{port}/topic", "/", _in_json("message")),
    "signal": ("signal://127.0.0.1:{port}/+15551230000/+15551230001", "/v2/send", _in_json("message")),
    "home assistant": ("hassio://127.0.0.1:{port}/accesstoken",
                       "/api/services/persistent_notification/create", _in_json("message")),
}  # fmt: skip


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_message_arrives_as_the_service_wants_it(house: Any, name: str):
    url, path, text = PLUGINS[name]
    async with sink(text) as service:
        channel = AppriseChannel("all", house, (url.format(port=service.http.port),))
        receipt = await channel.send(Outgoing(key="dlv_1", text="the backup is done", title="Backup"))
    assert receipt.ids == ("dlv_1",)
    assert [request.path for request in service.http.requests] == [path]
    assert "the backup is done" in service.texts[0]


CALLS = ("@everyone", "x@here", "<!channel>", "<!here|here>", "!everyone>", "&lt;!channel&gt;", "<@U0123>", "<@123>",
         "<@&456>", "@ann", "@**all**", "<users/all>")  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_words_are_no_calls(call: str):
    quiet = _calling_nobody(f"said {call} today")
    assert call not in quiet
    assert quiet.replace("\u2060", "") == f"said {call} today"
    # What Apprise makes calls of by itself:
    assert not USER_ROLE_DETECTION_RE.findall(quiet)
    for pattern, name in (
        (NotifySlack._re_channel_support, "channel"),
        (NotifySlack._re_user_id_support, "userid"),
    ):
        assert all(found[name].startswith("\u2060") for found in pattern.finditer(quiet))


@pytest.mark.parametrize("text", ["ann@example.org", "Hurry! a > b | c", "a < b", "1 @ 2", "Wow!"])
def test_what_calls_nobody_stays_as_it_is(text: str):
    assert _calling_nobody(text) == text


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, PermanentError), (401, ChannelDown), (403, PermanentError), (404, PermanentError), (429, TemporaryError),
        (500, AmbiguousSend), (502, AmbiguousSend), (503, TemporaryError),
    ],
)  # fmt: skip
async def test_a_refusal_is_what_it_says(house: Any, name: str, status: int, error: Any):
    url, _, _ = PLUGINS[name]
    async with serving(lambda _request: Response(status)) as server:
        channel = AppriseChannel("all", house, (url.format(port=server.port),))
        with pytest.raises(error, match=f"answered {status}"):
            await channel.send(Outgoing(key="k", text="x"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", PLUGINS)
async def test_who_cannot_be_reached_has_not_got_it_and_who_does_not_answer_may_have(house: Any, name: str):
    url, _, text = PLUGINS[name]
    channel = AppriseChannel("all", house, (url.format(port=servers.free_port()),))
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await channel.send(Outgoing(key="k", text="x"))
    async with sink(text) as service:
        service.http.behave(DROP)
        channel = AppriseChannel("all", house, (url.format(port=service.http.port),))
        with pytest.raises(AmbiguousSend):
            await channel.send(Outgoing(key="k", text="x"))
        assert len(service.texts) == 1


async def test_a_service_that_has_it_does_not_get_it_again_while_another_is_tried_again(house: Any):
    async with sink() as one, sink() as two:
        urls = tuple(f"json://127.0.0.1:{each.http.port}/" for each in (one, two))
        two.http.behave(Response(503))
        with pytest.raises(TemporaryError, match="service 2 "):
            await AppriseChannel("all", house, urls).send(Outgoing(key="dlv_1", text="x"))
        # Another process by now.
        await AppriseChannel("all", house, urls).send(Outgoing(key="dlv_1", text="x"))
        assert (one.texts, two.texts) == (["x"], ["x"])
        two.http.behave(Response(401))
        with pytest.raises(PermanentError) as refused:
            await AppriseChannel("all", house, urls).send(Outgoing(key="dlv_2", text="y"))
        # One service's secret is bad: the others still have theirs.
        assert not isinstance(refused.value, ChannelDown)
        two.http.behave(DROP)
        with pytest.raises(AmbiguousSend):
            await AppriseChannel("all", house, urls).send(Outgoing(key="dlv_3", text="z"))
        assert (one.texts, two.texts) == (["x", "y", "z"], ["x", "z"])


async def test_where_one_of_several_receivers_got_it_it_is_not_sent_again(house: Any):
    answers = iter([Response(200, {}), Response(429)])
    async with serving(lambda _request: next(answers)) as server:
        url = f"mmost://127.0.0.1:{server.port}/3ccdd113474722377935511fc85d3dd4?channels=one,two"
        with pytest.raises(AmbiguousSend):
            await AppriseChannel("all", house, (url,)).send(Outgoing(key="k", text="x"))
    assert len(server.requests) == 2


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
async def test_what_is_secret_is_in_no_log_and_no_error(
    house: Any, caplog: pytest.LogCaptureFixture, level: int
):
    caplog.set_level(level)
    told: list[str] = []
    async with serving(lambda _request: Response(403, b"TOKEN-SECRET is wrong")) as server:
        urls = (
            f"json://user:PASSWORD-SECRET@127.0.0.1:{server.port}/hook/TOKEN-SECRET?+X-Key=HEADER-SECRET",
            f"gotify://127.0.0.1:{server.port}/TOKEN-SECRET",
            f"json://user:PASSWORD-SECRET@127.0.0.1:{servers.free_port()}/TOKEN-SECRET",
        )
        for url in urls:
            with pytest.raises((PermanentError, TemporaryError)) as error:
                await AppriseChannel("all", house, (url,)).send(Outgoing(key="k", text="MESSAGE-SECRET"))
            told.append(f"{error.value} {error.value.__cause__} {error.value.__context__}")
        # Somebody else who uses the library below at the same time is not heard either.
        await asyncio.to_thread(logging.getLogger("urllib3.connectionpool").debug, "POST /TOKEN-SECRET")
    assert "SECRET" not in caplog.text + " ".join(told)


async def test_signal_gets_number_and_receiver_and_whatsapps_address_is_known(house: Any):
    got: list[Any] = []

    def handle(request: Request) -> Response:
        got.append(request.json())
        return Response(201, {"timestamp": "1"})

    async with serving(handle) as server:
        url = f"signal://127.0.0.1:{server.port}/+15551230000/+15551230001"
        await AppriseChannel("phone", house, (url,)).send(Outgoing(key="k", text="x"))
    assert (got[0]["number"], got[0]["recipients"]) == ("+15551230000", ["+15551230001"])
    AppriseChannel("phone", house, ("whatsapp://token@1234567890/15551230001",))


def test_an_apprise_url_nobody_knows_is_refused(house: Any):
    with pytest.raises(PermanentError, match="number 2"):
        AppriseChannel("all", house, ("json://127.0.0.1/", "pigeon://loft"))
