"""`GET /openapi.json`: made of the operations and structs that serve the requests, so it cannot stray from them."""

import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from tawny import __version__
from tawny.gateway import documents
from tawny.gateway.examples import EXAMPLES, Example
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ

_REF = "#/components/schemas/{name}"
_REFERENCE = re.compile(r'"\$ref":"([^"]+)"')
_encode = msgspec.json.Encoder().encode
_PATH_NAMES = re.compile(r"\{(\w+)\}")
_ALWAYS = {
    "400": "The request is malformed",
    "403": "The Origin is foreign, or a scope is missing",
    "413": "The body is over 10 MB",
    "421": "The Host is not one of this gateway's",
    "422": "Something given is wrong; the message names it",
    "500": "A mistake of ours",
    "503": "Not now; trying again helps",
}
_CLOSED = {"401": "A valid token is needed", "429": "Too much at once; trying again later helps"}
_ALTERING = {
    "408": "The body came too slowly",
    "409": "The state does not allow it",
    "415": "The body must be JSON",
}
_KNOWN = {"404": "There is none of that id", "501": "An extra is not installed"} | _CLOSED
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body gives the same answer and happens once, also after a restart.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The description of these operations, OpenAPI 3.1."""
    listed = list(operations)
    types: list[Any] = [documents.Error]
    for entry in listed:
        types += [entry.query, _body(entry)]
        if entry.answer is not None and not entry.media:
            types.append(entry.answer)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = {id(type): schema for type, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for entry in listed:
        paths.setdefault(entry.path, {})[entry.method.lower()] = _operation(entry, by_type, components)
    tags = {tag: None for methods in paths.values() for one in methods.values() for tag in one["tags"]}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Tawny",
            "version": __version__,
            "description": "Tasks, automations, approvals and live events of one assistant.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": _used(components, by=paths),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "tawny_session"},
            },
        },
    }
    return _open(document)


def _used(components: dict[str, Any], *, by: Any) -> dict[str, Any]:
    """Those that the paths refer to, and those that these refer to. A query's fields stand in its parameters.

    Two queries of one name would also be told apart by their modules' names, which are nobody's business.
    """
    found: dict[str, Any] = {}
    open_now = _names(by)
    while open_now:
        name = open_now.pop()
        found[name] = components[name]
        open_now |= _names(components[name]) - found.keys()
    return {name: found[name] for name in components if name in found}


def _names(document: Any) -> set[str]:
    """The components that a part of the description refers to."""
    return {name.rpartition("/")[2] for name in _REFERENCE.findall(_encode(document).decode())}


def _open(schema: Any) -> Any:
    """The same, each array and object saying that it may hold anything, where it may: generators of clients insist."""
    if isinstance(schema, list):
        return [_open(entry) for entry in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    whole = {name: value if name == "example" else _open(value) for name, value in fields.items()}
    if whole.get("type") == "array" and not whole.keys() & {"items", "prefixItems"}:
        whole["items"] = {}
    if whole.get("type") == "object" and not whole.keys() & {"properties", "additionalProperties"}:
        whole["additionalProperties"] = True
    return whole


def _body(entry: Operation) -> Any:
    return entry.body if entry.described_by is None else entry.described_by


def _operation(entry: Operation, schemas: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PATH_NAMES.findall(entry.path)
    ]
    parameters += _query(schemas[id(entry.query)], components)
    example = EXAMPLES.get(entry.name, Example())
    for parameter in parameters:
        given = example.path if parameter["in"] == "path" else example.query
        if parameter["name"] in given:
            parameter["example"] = given[parameter["name"]]
    described: dict[str, Any] = {
        "operationId": entry.name,
        "summary": entry.summary,
        "tags": [entry.path.removeprefix("/v1").strip("/").partition("/")[0]],
        "description": "Needs no token.",
        "security": [],
        "parameters": parameters,
        "responses": _responses(entry, schemas),
    }
    if entry.scope is not None:
        described["description"] = f"Needs the scope `{entry.scope}`."
        described["security"] = [{"token": []}, {"cookie": []}]
    if entry.alters and entry.scope is not None:
        parameters.append(_KEY)
    if entry.has_body:
        schema = schemas[id(_body(entry))]
        content = {"schema": schema} | ({} if example.body is None else {"example": example.body})
        described["requestBody"] = {
            "required": bool(_resolved(schema, components).get("required")),
            "content": {"application/json": content},
        }
    return described


def _query(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    whole = _resolved(schema, components)
    required = whole.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(field)}
        for name, field in whole.get("properties", {}).items()
    ]


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return components[reference.rpartition("/")[2]] if reference else schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query cannot say null: it leaves the parameter out, or empty."""
    choices = [entry for entry in schema.get("anyOf", []) if entry.get("type") != "null"]
    plain = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    whole = plain | (choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {})
    return whole if whole == {"type": "string"} else {"anyOf": [whole, {"const": ""}]}


def _responses(entry: Operation, schemas: dict[int, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done"}
    if entry.media:
        good["content"] = {media: {"schema": {"type": "string"}} for media in entry.media}
    elif entry.answer is not None:
        good["content"] = {"application/json": {"schema": schemas[id(entry.answer)]}}
        if entry.streams:
            good["content"]["text/event-stream"] = {}
    error = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}
    texts = dict(_ALWAYS)
    if entry.scope is not None:
        texts |= _CLOSED
    if entry.alters:
        texts |= _ALTERING
    texts |= {
        str(status): _KNOWN.get(str(status), "Refused") for status in entry.errors if str(status) not in texts
    }
    answers = {status: {"description": text, "content": error} for status, text in sorted(texts.items())}
    shown = {str(status): good for status in (entry.status, *entry.also)}
    if "204" in shown:
        shown["204"] = {"description": "Done"}
    return shown | answers


async def openapi(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    return call.site.describe()


OPERATION = Operation(
    name="openapi",
    method="GET",
    path="/openapi.json",
    scope=READ,
    summary="This description",
    answer=dict[str, Any],
    act=openapi,
)
