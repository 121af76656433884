"""Web Push: a question, or an end, reaches a browser that is not open. Nothing of the content goes along."""

import asyncio
import base64
import hashlib
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from tawny.clock import HOUR, SECOND, Clock
from tawny.config import Network
from tawny.domain.network import Rules, parse_rules, parse_url
from tawny.domain.tasks import Notify
from tawny.errors import InvalidInput, NotFound, PermanentError, Refused, TawnyError, TemporaryError
from tawny.gateway import pushtexts
from tawny.gateway.auth import OWNER_ID, Keyring
from tawny.gateway.devicekey import unbase64
from tawny.gateway.errors import HttpError
from tawny.gateway.feed import Feed, Filter, Frame
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.ledger import events, push, tasks
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.push import Subscription
from tawny.log import Log

if TYPE_CHECKING:
    from tawny.sandbox.egress import Egress

SERVICES = (
    "fcm.googleapis.com",
    "*.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""The push services of the browsers; others must stand in `[network] allow`."""
TOPICS = frozenset(
    {"approval.requested", "task.succeeded", "task.failed", "task.timed_out", "task.lost", "system.push_test"}
)
_LASTS = 4 * HOUR
_encode = msgspec.json.Encoder().encode
_log = Log("gateway.push")


class Keys(msgspec.Struct, frozen=True):
    p256dh: Annotated[str, msgspec.Meta(max_length=200)]
    auth: Annotated[str, msgspec.Meta(max_length=100)]


class Subscribe(msgspec.Struct, frozen=True):
    """`PushSubscription.toJSON()`, a name, and the language to be told in: the browser's own unless said."""

    endpoint: Annotated[str, msgspec.Meta(min_length=8, max_length=2000)]
    keys: Keys
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    language: Literal["en", "zh"] | None = None


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: Annotated[str, msgspec.Meta(min_length=8, max_length=2000)]


class PublicKey(msgspec.Struct):
    """What `pushManager.subscribe` wants as `applicationServerKey`."""

    public_key: str


class Counted(msgspec.Struct):
    subscriptions: int


class Pusher:
    """Reads the log and tells the browsers; it goes on where it was after a restart."""

    def __init__(
        self, ledger: Ledger, clock: Clock, feed: Feed, *, network: Network, keyring: Keyring
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._feed = feed
        self._keyring = keyring
        self.rules: Rules = parse_rules((*SERVICES, *network.allow), network.allow_private)

    @cached_property
    def _egress(self) -> "Egress":
        from tawny.sandbox.egress import Egress  # noqa: PLC0415 - an HTTP client; only who pushes pays for it

        return Egress(self.rules)

    async def run(self) -> None:
        """Run until cancelled; while nobody has subscribed, nothing is read or written."""
        bell = self._ledger.bell.subscribe("push")
        await self._bind()
        while True:
            bell.clear()
            if await self._ledger.read(push.subscriptions):
                await self._follow(bell)
            else:
                await bell.wait()

    async def _bind(self) -> None:
        """What an older build kept for the owner ends with the token that holds now, as what this one keeps does."""
        kept = await self._ledger.read(push.subscriptions)
        if any(subscription.credential_id in (OWNER_ID, None) for subscription in kept):
            await self._ledger.write(lambda tx: push.bind(tx, OWNER_ID, self._keyring.bond))

    async def _follow(self, bell: asyncio.Event) -> None:
        after = await self._ledger.read(push.told)
        async with self._feed.device(after=after, filter=Filter(TOPICS)) as device:
            while not device.closed and not bell.is_set():
                frames = [frame for frame in await device.frames() if frame.seq and frame.type in TOPICS]
                for frame in frames:
                    await self._tell(frame)
                    await self._ledger.write(lambda tx, seq=frame.seq: push.tell(tx, seq))
            if device.closed:
                await bell.wait()

    async def _tell(self, frame: Frame) -> None:
        for subscription in await self._ledger.read(push.subscriptions):
            language = subscription.language
            payload = await self._ledger.read(lambda tx, language=language: payload_of(tx, frame, language))
            if payload is None:
                return
            if subscription.credential_id is not None and self._keyring.stands(subscription.credential_id):
                await self._send(subscription, payload)
            else:
                await self._drop(subscription)

    async def _drop(self, subscription: Subscription) -> None:
        """Who asked for it may look no more, for good: what is revoked or rotated does not come back."""
        _log.info("push subscription has outlived its grant", service=_service(subscription.endpoint))
        await self._ledger.write(lambda tx: push.unsubscribe(tx, subscription.endpoint))

    async def _send(self, subscription: Subscription, payload: dict[str, Any]) -> None:
        endpoint = subscription.endpoint
        try:
            key = await self._ledger.read(push.private_key)
            assert key is not None
            body, headers = await asyncio.to_thread(
                sealed,
                subscription,
                _encode(payload),
                key,
                now=self._clock.now(),
                topic=topic(payload["tag"]),
            )
            answer = await self._egress.fetch(
                "POST", endpoint, headers=headers, body=body, timeout=15, follow=False, max_body=1000
            )
        except (TemporaryError, PermanentError, HttpError) as error:
            _log.warning("push failed", service=_service(endpoint), error=error.message)
            await self._ledger.write(lambda tx: push.failed(tx, endpoint))
            return
        if answer.status in (404, 410):
            _log.info("push subscription has ended", service=_service(endpoint))
            await self._ledger.write(lambda tx: push.unsubscribe(tx, endpoint))
        elif answer.status >= 400:
            _log.warning("push refused", service=_service(endpoint), status=answer.status)
            await self._ledger.write(lambda tx: push.failed(tx, endpoint))
        elif subscription.failures:
            await self._ledger.write(lambda tx: push.arrived(tx, endpoint))


def payload_of(tx: Tx, frame: Frame, language: str) -> dict[str, Any] | None:
    """What the browser is shown: that something is there, and where; `None` for what nobody wants to be told."""
    data = msgspec.json.decode(frame.json)["data"]
    if frame.type == "system.push_test":
        return pushtexts.test(language)
    if frame.type == "approval.requested":
        return pushtexts.question(language, data)
    try:
        task = tasks.get(tx, frame.task_id or "")
    except NotFound:
        return None
    good = frame.type == "task.succeeded"
    if task.notify is Notify.SILENT or (task.notify is Notify.ON_FAILURE and good) or task.parent_id:
        return None
    return pushtexts.end(language, task, good=good)


def topic(tag: str) -> str:
    """What the push service is told two messages are about, without being told what: the later replaces the earlier.

    We tell first and record then, so a crash in between tells twice. Where the first has not been fetched yet, the
    second takes its place at the service; where it is shown already, the browser does the same by `tag`.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(tag.encode()).digest())[:32].decode()


def sealed(
    subscription: Subscription, payload: bytes, private_key: str, *, now: int, topic: str
) -> tuple[bytes, dict[str, str]]:
    """The payload encrypted for the browser alone (RFC 8291), and the headers that show who sends (RFC 8292).

    Raises:
        HttpError: 501, the extra is not installed.
        PermanentError: the browser's keys are none.
    """
    webpush, vapid = _library()
    keys = {"p256dh": subscription.p256dh, "auth": subscription.auth}
    try:
        pusher = webpush.WebPusher({"endpoint": subscription.endpoint, "keys": keys})
        body = pusher.encode(payload, content_encoding="aes128gcm")["body"]
    except Exception as error:
        raise PermanentError(f"the subscription's keys are unusable: {error}") from error
    target = parse_url(subscription.endpoint)
    claims = {
        "aud": f"{target.scheme}://{target.authority}",
        "exp": now // SECOND + _LASTS // SECOND,
        "sub": "mailto:owner@localhost",
    }
    signed = vapid.Vapid02.from_string(private_key).sign(claims)
    headers = {
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": str(_LASTS // SECOND),
        "urgency": "high",
        "topic": topic,
        "authorization": signed["Authorization"],
    }
    return bytes(body), headers


def new_key() -> str:
    """A new VAPID key: its 32 private bytes in URL-safe base64."""
    _, vapid = _library()
    made = vapid.Vapid02()
    made.generate_keys()
    number = made.private_key.private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def public_key(private: str) -> str:
    """The public half, as browsers want it: 65 bytes in URL-safe base64."""
    _, vapid = _library()
    numbers = vapid.Vapid02.from_string(private).public_key.public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def _library() -> tuple[Any, Any]:
    try:
        vapid = import_module("py_vapid")  # heavy, and only for pushes
        webpush = import_module("pywebpush")
    except ImportError as error:
        raise HttpError(
            501, "not_installed", "pushes need the extra 'push'", hint="pip install 'tawny[push]'"
        ) from error
    return webpush, vapid


def _service(endpoint: str) -> str:
    """The service's name: the rest of the address is a secret of the browser's."""
    try:
        return parse_url(endpoint).host
    except TawnyError:
        return "unknown"


async def _private(ledger: Ledger) -> str:
    """Our key, made at the first need."""
    private = await ledger.read(push.private_key)
    if private is None:
        fresh = await asyncio.to_thread(new_key)
        private = await ledger.write(lambda tx: push.keep_private_key(tx, fresh))
    return private


async def key(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    private = await _private(call.site.ledger)
    return {"public_key": await asyncio.to_thread(public_key, private)}


async def subscribe(call: Call[Nothing, Subscribe]) -> dict[str, Any]:
    """Keep a browser's mailbox, if it is at a push service we may reach."""
    await _private(call.site.ledger)
    body, asking = call.body, call.principal
    target = parse_url(body.endpoint)
    if not any(entry.covers(target) for entry in call.site.push_rules.allow):
        raise Refused(
            f"{target.host} is no push service that may be reached",
            hint="add it to [network] allow, if it is one",
        )
    try:
        if len(unbase64(body.keys.p256dh)) != 65 or len(unbase64(body.keys.auth)) != 16:
            raise ValueError
    except ValueError:
        raise InvalidInput("keys: p256dh of 65 bytes and auth of 16 are expected, in base64") from None

    def keep(tx: Tx) -> int:
        made = Subscription(
            endpoint=body.endpoint,
            p256dh=body.keys.p256dh,
            auth=body.keys.auth,
            name=body.name or asking.name,
            credential_id=call.site.keyring.bound_to(asking),
            language=body.language or pushtexts.preferred(call.languages),
            created_at=tx.now,
        )
        push.subscribe(tx, made)
        if push.told(tx) is None:
            push.tell(tx, call.site.feed.last_seq)
        return len(push.subscriptions(tx))

    return {"subscriptions": await call.site.ledger.write(keep)}


def unsubscribe(tx: Tx, call: Call[Nothing, Endpoint]) -> None:
    push.unsubscribe(tx, call.body.endpoint)


def try_out(tx: Tx, _: Call[Nothing, Nothing]) -> dict[str, Any]:
    """Tell every browser that pushes work."""
    found = push.subscriptions(tx)
    if not found:
        raise NotFound("no browser has asked for pushes", hint="switch them on in the panel's settings")
    events.append(tx, "system.push_test", {"subscriptions": len(found)})
    return {"subscriptions": len(found)}


OPERATIONS = (
    Operation(
        name="push.key",
        method="GET",
        path="/v1/push/key",
        scope=READ,
        summary="The key a browser subscribes with",
        answer=PublicKey,
        errors=(501,),
        act=key,
    ),
    Operation(
        name="push.subscribe",
        method="POST",
        path="/v1/push/subscriptions",
        scope=READ,
        summary="Have this browser told of questions and ends",
        body=Subscribe,
        answer=Counted,
        status=201,
        errors=(501,),
        act=subscribe,
        speaks=True,
    ),
    Operation(
        name="push.unsubscribe",
        method="POST",
        path="/v1/push/unsubscribe",
        scope=READ,
        summary="Have it told no more",
        body=Endpoint,
        answer=None,
        status=204,
        change=unsubscribe,
    ),
    Operation(
        name="push.test",
        method="POST",
        path="/v1/push/test",
        scope=READ,
        summary="Tell every browser that pushes work",
        answer=Counted,
        status=202,
        errors=(404,),
        change=try_out,
    ),
)
