"""The official Python SDK against `/mcp`: run apart, by `uv run --with mcp`. Arguments: ADDRESS TOKEN."""

# pyright: basic, reportMissingImports=false
# ruff: noqa: T201
import asyncio
import json
import sys

from httpx2 import AsyncClient
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main(address: str, token: str) -> None:
    logs, progress = [], []

    async def on_log(params) -> None:
        logs.append(params.data)

    async def on_progress(current, total, message) -> None:
        progress.append((current, total))

    async with (
        AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as client,
        streamable_http_client(f"{address}/mcp", http_client=client) as streams,
        ClientSession(streams[0], streams[1], logging_callback=on_log) as session,
    ):
        hello = await session.initialize()
        await session.send_ping()
        tools = await session.list_tools()
        ran = await session.call_tool(
            "tasks_run",
            {"kind": "simulate", "params": {"steps": 4, "step_seconds": 0.2}, "wait": True, "title": "Four"},
            progress_callback=on_progress,
        )
        task = json.loads(ran.content[0].text)
        listed = await session.list_resources()
        templates = await session.list_resource_templates()
        read = await session.read_resource(f"tawny://tasks/{task['task_id']}")
        prompts = await session.list_prompts()
        prompt = await session.get_prompt("plan_regularly", {"what": "Look", "when": "daily"})
        refused = await session.call_tool("tasks_get", {"id": "task_none"})
        print(
            json.dumps(
                {
                    "version": hello.protocol_version,
                    "tools": [tool.name for tool in tools.tools],
                    "status": task["status"],
                    "progress": progress,
                    "logs": logs,
                    "resources": [str(entry.uri) for entry in listed.resources],
                    "templates": len(templates.resource_templates),
                    "read": json.loads(read.contents[0].text)["title"],
                    "prompts": [entry.name for entry in prompts.prompts],
                    "prompt": prompt.messages[0].content.text,
                    "refused": refused.is_error,
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
