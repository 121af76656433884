"""What a watch may look at, as its document says it; `runners/probing.py` does the looking."""

from collections.abc import Mapping

import msgspec

from tawny.domain.network import parse_url
from tawny.domain.tasks import Json
from tawny.engine.kinds import Kinds
from tawny.engine.submit import check_params, refuse_hopeless
from tawny.errors import InvalidInput

Fields = Mapping[str, Json]


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`http`: a GET within the network list, and what to pick out of the answer."""

    type: str
    url: str
    headers: dict[str, str] = {}
    css: str = ""
    attribute: str = ""
    xpath: str = ""
    jsonpath: str = ""
    ldjson: str = ""
    regex: str = ""
    price: bool = False
    all: bool = False


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`feed` and `calendar`: a configured source; `within` is how far a calendar is looked into."""

    type: str
    name: str
    within: str | int | float = "1d"


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`file`: one in the workspace, or of an absolute path."""

    type: str
    path: str


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`heartbeat`: what stands in the workspace's HEARTBEAT.md and is due, and events of source `system`."""

    type: str
    file: str = "HEARTBEAT.md"


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Any kind of task; `key` names a part of its result (dots go deeper), else its text."""

    type: str
    parameters: dict[str, Json] = {}
    key: str = ""


SHAPES: dict[str, type[msgspec.Struct]] = {
    "http": Page,
    "feed": Named,
    "calendar": Named,
    "file": File,
    "heartbeat": Heartbeat,
}


def check(probe: Fields, kinds: Kinds) -> None:
    """Refuse a probe that could never be looked at.

    Raises:
        InvalidInput: names the field.
    """
    wanted = read(probe)
    if isinstance(wanted, Page):
        parse_url(wanted.url)
    if isinstance(wanted, Work):
        check_params(wanted.type, wanted.parameters, kinds)
        refuse_hopeless(wanted.type, wanted.parameters, kinds)


def read(probe: Fields) -> Page | Named | File | Heartbeat | Work:
    """The probe of a document.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    if "kind" in probe:
        # the words of a task's request mean the same here
        probe = {"type": probe["kind"], "parameters": probe.get("params", {})} | {
            key: value for key, value in probe.items() if key not in ("kind", "params")
        }
        if probe["type"] == "http" and isinstance(probe["parameters"], Mapping):
            probe = {**probe.pop("parameters"), **probe}
    shape = SHAPES.get(str(probe.get("type")), Work)
    try:
        return msgspec.convert(probe, shape)  # pyright: ignore[reportReturnType]
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"watch.probe: {error}",
            hint='for example {"type": "http", "url": "https://example.org/p.json", "jsonpath": "$.price"}',
        ) from error
