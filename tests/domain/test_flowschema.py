"""The published JSON schema says of a flow what `flow check` says, as far as a schema can."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tawny.domain.flows import parse_flow
from tawny.domain.flowschema import flow_schema
from tawny.errors import InvalidInput

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema.Draft202012Validator(flow_schema())


def documents() -> dict[str, Any]:
    """Every flow that a page or an example shows."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("examples/*.yaml")):
        found[path.name] = yaml.safe_load(path.read_text())
    for path in sorted(ROOT.glob("examples/*.json")):
        document = json.loads(path.read_text())
        if "steps" in document:
            found[path.name] = document
    for page in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]:
        text = page.read_text()
        for n, block in enumerate(re.findall(r"<<'YAML'\n(.*?)^YAML$", text, re.DOTALL | re.MULTILINE)):
            found[f"{page.name}, YAML {n}"] = yaml.safe_load(block)
        for n, given_params in enumerate(re.findall(r'--kind flow --params "(.*?[^\\])" ', text)):
            found[f"{page.name}, params {n}"] = json.loads(given_params.replace('\\"', '"'))["document"]
    return {name: document for name, document in found.items() if "steps" in document}


DOCUMENTS = documents()


def accepts(document: Any) -> bool:
    return SCHEMA.is_valid(document)


def is_good(document: Any) -> bool:
    try:
        parse_flow(document)
    except InvalidInput:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(flow_schema())


def test_what_is_shown_is_found() -> None:
    assert {"weekly-report.yaml", "flows.md, YAML 0", "flows.md, params 0"} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_flow_that_is_shown_is_good(name: str) -> None:
    SCHEMA.validate(DOCUMENTS[name])
    parse_flow(DOCUMENTS[name])


WORK = {"id": "a", "kind": "remind"}
WRONG: list[Any] = [
    {"steps": []},
    {},
    {"steps": [WORK], "stpes": []},
    {"steps": [{"kind": "remind"}]},
    {"steps": [{"id": "1a", "kind": "remind"}]},
    {"steps": [{"id": "a"}]},
    {"steps": [{**WORK, "command": ["ls"]}]},
    {"steps": [{**WORK, "kidn": "x"}]},
    {"steps": [{**WORK, "on_error": "stop"}]},
    {"steps": [{**WORK, "timeout": "soon"}]},
    {"steps": [{**WORK, "timeout": 5}]},
    {"steps": [{**WORK, "retry": {"base": "soon"}}]},
    {"steps": [{**WORK, "retry": {"max": -1}}]},
    {"steps": [{**WORK, "retry": {"jitter": 2}}]},
    {"steps": [{**WORK, "then": [WORK]}]},
    {"steps": [{**WORK, "stdin": "x"}]},
    {"steps": [{**WORK, "compensate": {"kind": "remind", "agent": "x"}}]},
    {"steps": [{"id": "a", "wait_until": "1h", "timeout": "5s"}]},
    {"steps": [{"id": "a", "wait_until": "1h", "params": {"x": 1}}]},
    {"steps": [{"id": "a", "sequence": [WORK | {"id": "b"}], "retry": {"max": 1}}]},
    {"steps": [{"id": "a", "sequence": [{"id": "b"}]}]},
    {"steps": [{"id": "a", "if": "true", "then": [{"id": "b"}]}]},
    {"steps": [{"id": "a", "approval": {"reason": "r", "on_deny": "stop"}}]},
    {"steps": [{"id": "a", "approval": {"reason": "r", "expires": "soonish"}}]},
    {"steps": [{"id": "a", "wait_event": {"source": "x", "timeout": "soon"}}]},
    {"steps": [{"id": "a", "wait_event": {"filter": "x"}}]},
    {"steps": [{"id": "a", "map": {"items": "args.a", "concurrency": 0, "do": {"kind": "remind"}}}]},
    {"steps": [{"id": "a", "map": {"items": "args.a", "max_failures": -1, "do": {"kind": "remind"}}}]},
    {"steps": [{"id": "a", "map": {"items": "args.a", "do": {}}}]},
]


@pytest.mark.parametrize("document", WRONG, ids=json.dumps)
def test_what_the_check_refuses_the_schema_refuses(document: Any) -> None:
    assert not is_good(document)
    assert not accepts(document)


BEYOND: list[Any] = [
    {"steps": [WORK, WORK]},
    {"steps": [{**WORK, "when": "args.x >"}]},
    {"steps": [{**WORK, "params": {"text": "{nobody.knows}"}}]},
    {"steps": [{"id": "a", "wait_event": {"source": "x", "filter": "subject =="}}]},
]


@pytest.mark.parametrize("document", BEYOND, ids=json.dumps)
def test_what_a_schema_cannot_say_the_check_does(document: Any) -> None:
    assert not is_good(document)
    assert accepts(document)


durations = st.sampled_from(["5s", "1h30m", "0.5s", "2D", "", "soon", "5", "s5", None])
retries = st.fixed_dictionaries(
    {},
    optional={
        "max": st.integers(-1, 1001),
        "base": durations.filter(lambda value: value is not None),
        "factor": st.integers(0, 101),
        "jitter": st.integers(-1, 2),
        "on": st.just(["temporary"]),
        "often": st.just(1),
    },
)


def works(steps: Any) -> Any:
    """Every field of a step, alone and with others, right and wrong; expressions and names are good ones."""
    inside: dict[str, Any] = {
        "kind": st.sampled_from(["remind", None, 1]),
        "params": st.sampled_from([{}, {"text": "{args.a}"}, []]),
        "command": st.sampled_from([["ls"], None, "ls"]),
        "stdin": st.sampled_from(["x", None]),
        "agent": st.sampled_from(["look", None]),
        "sequence": steps,
        "parallel": steps,
        "if": st.sampled_from(["true", None]),
        "then": steps,
        "else": steps,
        "wait_until": st.sampled_from(["1h", None]),
        "wait_event": st.fixed_dictionaries({"source": st.just("bell")}, optional={"timeout": durations}),
        "approval": st.fixed_dictionaries(
            {"reason": st.just("r")},
            optional={"expires": durations, "on_deny": st.sampled_from(["fail", "skip", "stop"])},
        ),
    }
    one = st.sampled_from(sorted(inside)).flatmap(lambda name: st.fixed_dictionaries({name: inside[name]}))
    return st.one_of(one, one, st.fixed_dictionaries({}, optional=inside))


def with_id(work: Any) -> Any:
    extra = st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("N"),
            "when": st.sampled_from(["true", None]),
            "timeout": durations,
            "retry": st.one_of(st.none(), retries),
            "on_error": st.sampled_from(["fail", "continue", "stop"]),
        },
    )
    return st.builds(lambda inner, more: {"id": "?", **inner, **more}, work, extra)


nested = st.recursive(
    st.just([]), lambda steps: st.lists(with_id(works(steps)), min_size=1, max_size=2), max_leaves=4
)


def name_all(document: Any, count: list[int]) -> Any:
    """Give every step an id of its own."""
    if isinstance(document, dict):
        made = {key: name_all(value, count) for key, value in document.items()}
        if made.get("id") == "?":
            count[0] += 1
            made["id"] = f"s{count[0]}"
        return made
    return [name_all(entry, count) for entry in document] if isinstance(document, list) else document


# How fast documents are made says nothing of them on a busy machine.
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(nested)
def test_schema_and_check_agree(steps: list[Any]) -> None:
    document = {"args": {"a": {}}, "steps": name_all(steps, [0])}
    assert accepts(document) == is_good(document)
