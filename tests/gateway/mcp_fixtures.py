"""What the MCP conformance suite expects to find: tools, prompts and resources of its own, on our machinery."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from tawny.errors import PermanentError
from tawny.gateway.feed import Frame
from tawny.gateway.mcp.caller import NO_RESOURCE, Caller, Fault, Json
from tawny.gateway.mcp.endpoint import Offer
from tawny.gateway.mcp.prompts import Argument, Prompt
from tawny.gateway.mcp.tools import Tool
from tawny.gateway.principal import READ

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
        "53de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
).decode()
SILENCE = base64.b64encode(
    b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
).decode()
IMAGE: Json = {"type": "image", "data": PIXEL, "mimeType": "image/png"}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def embedded(uri: str, media_type: str, words: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": media_type, "text": words}}


def says(*blocks: Json) -> Callable[[Caller, Json], Awaitable[Json]]:
    async def act(_: Caller, __: Json) -> Json:
        return {"content": list(blocks)}

    return act


async def fails(_: Caller, __: Json) -> Json:
    raise PermanentError("This tool intentionally returns an error for testing")


async def logs(caller: Caller, _: Json) -> Json:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await caller.log("info", line)
        await asyncio.sleep(0.05)  # the suite wants them apart
    return {"content": [text("logged")]}


async def moves(caller: Caller, _: Json) -> Json:
    for current in (0, 50, 100):
        await caller.progress(current, 100)
        await asyncio.sleep(0.05)
    return {"content": [text("moved")]}


def asks(method: str, params: Callable[[Json], Json]) -> Callable[[Caller, Json], Awaitable[Json]]:
    """Asks the client, and tells what it said."""

    async def act(caller: Caller, given: Json) -> Json:
        said = await caller.ask("question-1", method, params(given))
        return {"content": [text(f"The client said: {said.get('result')}")]}

    return act


def elicits(
    properties: Json, message: str = "Please fill this in"
) -> Callable[[Caller, Json], Awaitable[Json]]:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    return asks(
        "elicitation/create",
        lambda given: {"message": given.get("message", message), "requestedSchema": schema},
    )


async def opens(caller: Caller, _: Json) -> Json:
    """Its stream begins before it has anything to say."""
    await caller.open()
    await asyncio.sleep(0.05)
    return {"content": [text("still here")]}


def titled(*names: str) -> list[Json]:
    return [{"const": name, "title": name.title()} for name in names]


def tool(name: str, act: Callable[[Caller, Json], Awaitable[Json]], **more: Any) -> Tool:
    return Tool(name=name, title=name, description=name, scope=READ, act=act, **more)


class Showing(Prompt, frozen=True, kw_only=True):
    """A prompt with something to look at before its words."""

    blocks: Callable[[Json], Json]

    def messages(self, given: Json) -> list[Json]:
        return [{"role": "user", "content": self.blocks(given)}, *super().messages(given)]


class Static:
    """Two resources and a template."""

    async def page(self, caller: Caller, cursor: str | None) -> tuple[list[Json], str | None]:
        del caller, cursor
        return [
            {"uri": "test://static-text", "name": "Text", "description": "a text", "mimeType": "text/plain"},
            {
                "uri": "test://static-binary",
                "name": "Pixel",
                "description": "a pixel",
                "mimeType": "image/png",
            },
        ], None

    def templates(self) -> list[Json]:
        return [
            {
                "uriTemplate": "test://template/{id}/data",
                "name": "Data",
                "description": "data of an id",
                "mimeType": "application/json",
            }
        ]

    async def read(self, caller: Caller, uri: str) -> list[Json]:
        del caller
        if uri == "test://static-text":
            words = "This is the content of the static text resource."
            return [{"uri": uri, "mimeType": "text/plain", "text": words}]
        if uri == "test://static-binary":
            return [{"uri": uri, "mimeType": "image/png", "blob": PIXEL}]
        if uri.startswith("test://template/"):
            id = uri.split("/")[3]
            words = f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'
            return [{"uri": uri, "mimeType": "application/json", "text": words}]
        raise Fault(NO_RESOURCE, f"there is no resource {uri!r}")

    async def exists(self, caller: Caller, uri: str) -> bool:
        del caller
        return uri.startswith("test://")

    def touched(self, frame: Frame) -> list[str]:
        del frame
        return []

    async def complete(self, caller: Caller, template: str, argument: str, begun: str) -> list[str]:
        del caller, template, argument, begun
        return []


TOOLS = (
    tool("test_simple_text", says(text("This is a simple text response for testing."))),
    tool("test_image_content", says(IMAGE)),
    tool("test_audio_content", says({"type": "audio", "data": SILENCE, "mimeType": "audio/wav"})),
    tool(
        "test_embedded_resource",
        says(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")),
    ),
    tool(
        "test_multiple_content_types",
        says(
            text("Multiple content types test:"),
            IMAGE,
            embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
        ),
    ),
    tool("test_error_handling", fails),
    tool("test_tool_with_logging", logs),
    tool("test_tool_with_progress", moves),
    tool(
        "test_sampling",
        asks(
            "sampling/createMessage",
            lambda given: {
                "messages": [{"role": "user", "content": text(given["prompt"])}],
                "maxTokens": 100,
            },
        ),
        properties={"prompt": {"type": "string"}},
    ),
    tool(
        "test_elicitation",
        elicits({"username": {"type": "string"}, "email": {"type": "string"}}),
        properties={"message": {"type": "string"}},
    ),
    tool(
        "test_elicitation_sep1034_defaults",
        elicits(
            {
                "name": {"type": "string", "default": "John Doe"},
                "age": {"type": "integer", "default": 30},
                "score": {"type": "number", "default": 95.5},
                "status": {
                    "type": "string",
                    "enum": ["active", "inactive", "pending"],
                    "default": "active",
                },
                "verified": {"type": "boolean", "default": True},
            }
        ),
    ),
    tool(
        "test_elicitation_sep1330_enums",
        elicits(
            {
                "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
                "titledSingle": {"type": "string", "oneOf": titled("value1", "value2", "value3")},
                "legacyEnum": {
                    "type": "string",
                    "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"],
                },
                "untitledMulti": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
                },
                "titledMulti": {"type": "array", "items": {"anyOf": titled("value1", "value2", "value3")}},
            }
        ),
    ),
    tool("test_reconnection", opens),
    tool(
        "json_schema_2020_12_tool",
        says(text("valid")),
        properties={"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        extra={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {
                "address": {
                    "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                }
            },
        },
    ),
)
PROMPTS = (
    Prompt(
        name="test_simple_prompt",
        title="Simple",
        description="A simple prompt",
        text="This is a simple prompt for testing.",
    ),
    Prompt(
        name="test_prompt_with_arguments",
        title="Arguments",
        description="A prompt with arguments",
        text="Prompt with arguments: arg1='{arg1}', arg2='{arg2}'",
        arguments=(
            Argument(name="arg1", description="first", required=True, choices=("paris", "park", "party")),
            Argument(name="arg2", description="second", required=True),
        ),
    ),
    Showing(
        name="test_prompt_with_embedded_resource",
        title="Resource",
        description="A prompt with a resource",
        text="Please process the embedded resource above.",
        arguments=(Argument(name="resourceUri", description="which", required=True),),
        blocks=lambda given: embedded(
            given["resourceUri"], "text/plain", "Embedded resource content for testing."
        ),
    ),
    Showing(
        name="test_prompt_with_image",
        title="Image",
        description="A prompt with an image",
        text="Please analyze the image above.",
        blocks=lambda _: IMAGE,
    ),
)
FIXTURES = Offer(tools=TOOLS, prompts=PROMPTS, resources=Static())
