"""Flows as they are handed in: the document against the kinds there are, the same at every door."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tawny.domain.flows import Flow, parse_flow, walk
from tawny.domain.holes import has_holes
from tawny.domain.tasks import Json
from tawny.domain.templates import has_placeholders
from tawny.engine.kinds import Kinds
from tawny.engine.submit import check_params
from tawny.errors import InvalidInput


def check_flow(document: Mapping[str, Any], kinds: Kinds) -> Flow:
    """A checked flow: its steps are of kinds there are and have the parameters these take, as far as they are written.

    Raises:
        InvalidInput: names the place as a path (`steps[2].params`) and the mend.
    """
    flow = parse_flow(document, kinds=kinds)
    for path, _, work in walk(flow.steps, "steps"):
        if work.kind is not None and not has_placeholders(work.params):
            try:
                check_params(work.kind, work.params, kinds)
            except InvalidInput as error:
                raise InvalidInput(f"{path}.params: {error.message}", hint=error.hint) from error
    return flow


def check_order(document: Mapping[str, Json], kinds: Kinds) -> None:
    """Check a flow whose holes are filled when an automation fires: its kinds, and the rest where there are none.

    Raises:
        InvalidInput: like `check_flow`.
    """
    if not has_holes(document):
        check_flow(document, kinds)
        return
    try:
        flow = msgspec.convert(document, Flow)
    except msgspec.ValidationError:
        return  # What it is shows once it is filled in; every run checks it.
    for path, _, work in walk(flow.steps, "steps"):
        if work.kind is not None and work.kind not in kinds and not has_holes(work.kind):
            raise InvalidInput(
                f"{path}: kind: there is no kind {work.kind!r}", hint=f"one of {', '.join(sorted(kinds))}"
            )
