"""The published JSON schema of flows: what the structs say, and what else a schema can say of a document."""

from typing import Any, cast

import msgspec

from tawny.domain.flows import ID, NO_TASK, Flow, forms

Schema = dict[str, Any]
_DURATION = r"^\s*(\d+(\.\d+)?([mM][sS]|[sSmMhHdDwW]))+\s*$"
_DURATIONS = {
    "Step": ("timeout",),
    "WaitEvent": ("timeout",),
    "Approval": ("expires",),
    "Retry": ("base", "cap"),
}

_NUMBERS = {"max": (0, 1000), "factor": (1, 100), "jitter": (0, 1)}


def flow_schema() -> Schema:
    """The schema, as JSON. What an expression means and which kinds there are it cannot say; `flow check` does."""
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Flow)}
    defs = cast("dict[str, Schema]", schema["$defs"])
    for name, fields in _DURATIONS.items():
        for field in fields:
            _narrow(defs[name]["properties"], field, {"pattern": _DURATION})
    for field, (least, most) in _NUMBERS.items():
        defs["Retry"]["properties"][field] |= {"minimum": least, "maximum": most}
    defs["Flow"]["properties"]["steps"]["minItems"] = 1
    defs["Step"]["properties"]["id"]["pattern"] = f"^{ID.pattern}$"
    for name in ("Work", "Step"):
        defs[name]["oneOf"] = [_has(form) for form in forms()]
        # These stand with others alone.
        defs[name]["allOf"] = [
            *({"if": _filled(branch), "then": _has("if")} for branch in ("then", "else")),
            {"if": _has("stdin"), "then": _has("command")},
            {"if": _some("params"), "then": {"anyOf": [_has(form) for form in ("kind", "command", "agent")]}},
        ]
    defs["Step"]["allOf"] += [
        {"if": _has(form), "then": {"properties": {"retry": {"type": "null"}, "timeout": {"type": "null"}}}}
        for form in forms()
        if form in {"if" if name == "choose" else name for name in NO_TASK}
    ]
    return schema


def _has(field: str) -> Schema:
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


def _filled(field: str) -> Schema:
    return {"required": [field], "properties": {field: {"minItems": 1}}}


def _some(field: str) -> Schema:
    return {"required": [field], "properties": {field: {"minProperties": 1}}}


def _narrow(properties: Schema, field: str, more: Schema) -> None:
    """Say more of a text, which may be left out by `null`."""
    found = properties[field]
    for choice in found.get("anyOf", [found]):
        if choice.get("type") == "string":
            choice.update(more)
