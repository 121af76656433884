"""The description is true to the code: schemathesis tries it against a running gateway."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tawny.app import open_app, open_gateway
from tawny.config import Config, Home, Limits
from tawny.engine.submit import parse_request
from tawny.gateway import server
from tawny.gateway.auth import Attempts, owner_token
from tawny.gateway.examples import EXAMPLES
from tawny.gateway.openapi import describe
from tawny.gateway.routes import OPERATIONS
from tawny.ledger.submission import submit

from .conftest import House

# Whatever the schema allows is accepted, but here: what no schema can say is refused when it means nothing.
BEYOND_A_SCHEMA = {
    "POST /v1/tasks": "the parameters of a kind, and other tasks and sessions that it names",
    "POST /v1/automations": "cron expressions, zones, filters, conditions, a kind's parameters, channels",
    "PATCH /v1/automations/{id}": "as above; what is left of the old has to fit the new",
    "POST /v1/automations/dry-run": "as above",
    "POST /v1/automations/preview": "cron expressions and zones",
    "POST /v1/automations/parse": "words that are a time",
    "POST /v1/sessions/{key}/messages": "a key of printable characters, in any script",
    "POST /v1/events/{source}": "names of sources and keys, and a time that is one",
    "POST /v1/chat/completions": "a last message by the user with words in it",
    "GET /v1/stats": "a duration of any number of parts, a year at most together",
    "GET /v1/calendar": "an end that is after the start, by 62 days at most",
    "PATCH /v1/config": "keys that exist, each with a value of its own type",
}
CONFIG = """
[parameters]
id = "{task_id}"

[generation]
allow-x00 = false
max-examples = {examples}

[[operations]]
include-name = [{beyond}]
checks.positive_data_acceptance.enabled = false
"""


def test_every_operation_is_described() -> None:
    document = describe(OPERATIONS)
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == {(entry.path, entry.method) for entry in OPERATIONS}
    assert set(BEYOND_A_SCHEMA) <= {f"{entry.method} {entry.path}" for entry in OPERATIONS}
    names = [entry.name for entry in OPERATIONS]
    assert len(names) == len(set(names))


def test_generators_of_clients_can_read_the_description() -> None:
    """What openapi-python-client, openapi-typescript, Redocly's and Spectral's linters stumbled over."""
    document = describe(OPERATIONS)
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert all("security" in one and one["description"] and one["tags"] for one in operations)
    assert {tag for one in operations for tag in one["tags"]} == {tag["name"] for tag in document["tags"]}
    assert document["servers"] == [{"url": "/"}]
    text = json.dumps(document)
    named = document["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) == set(named)
    assert not [name for name in named if "." in name], "two components of one name"
    for bare in ('{"type": "array"}', '{"type": "object"}'):
        assert bare not in text


async def test_a_task_takes_the_defaults_that_are_described(house: House) -> None:
    """Some clients send them."""
    fields = (await house.client.get("/openapi.json")).json()["components"]["schemas"]["TaskRequest"][
        "properties"
    ]
    given = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert len(given) > 10
    answer = await house.client.post(
        "/v1/tasks", json=given | {"kind": "simulate", "params": {"steps": 1, "step_seconds": 0}}
    )
    assert answer.status_code == 202, answer.text


async def test_what_a_schema_cannot_say_is_shown_by_an_example_that_is_right(house: House) -> None:
    """Each of them as the description has it, sent as any program would."""
    document = (await house.client.get("/openapi.json")).json()
    assert {f"{entry.method} {entry.path}" for entry in OPERATIONS if entry.name in EXAMPLES} == set(
        BEYOND_A_SCHEMA
    )
    (automation,) = [
        (await house.client.post("/v1/automations", json=EXAMPLES["automations.add"].body)).json()["id"]
    ]
    for name in BEYOND_A_SCHEMA:
        method, path = name.split()
        described = document["paths"][path][method.lower()]
        given = {one["name"]: one["example"] for one in described["parameters"] if "example" in one}
        body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        where = path.format(**{"id": automation} | given)
        query = {key: value for key, value in given.items() if f"{{{key}}}" not in path}
        assert body is not None or query, f"{name} has no example"
        answer = await house.client.request(method, where, json=body, params=query)
        expected = [status for status in described["responses"] if status.startswith("2")]
        assert str(answer.status_code) in expected, f"{name}: {answer.status_code} {answer.text}"


def test_an_answer_that_may_be_streamed_says_so() -> None:
    answers = describe(OPERATIONS)["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(answers) == {"application/json", "text/event-stream"}


async def test_a_claimed_key_is_what_the_description_says(house: House) -> None:
    schema = (await house.client.get("/openapi.json")).json()["components"]["schemas"]["Claim"]
    pattern = schema["properties"]["public_key"]["pattern"]
    for key in (
        "A" * 43,
        "A" * 43 + "=",
        "_-+/" * 10 + "AAA",
        "A" * 42,
        "A" * 44,
        "A" * 42 + "!",
        "A" * 43 + "==",
        "=",
    ):
        answer = await house.client.post(
            "/v1/pairing/claim", json={"code": "0000-0000-0000", "public_key": key}
        )
        assert (answer.status_code in (401, 429)) == bool(re.search(pattern, key)), key


@pytest.mark.skipif(
    os.environ.get("TAWNY_TEST_PROFILE") != "long", reason="two minutes: TAWNY_TEST_PROFILE=long"
)
@pytest.mark.timeout(900)
async def test_schemathesis_finds_nothing(home: Home, tmp_path: Path) -> None:
    runner = shutil.which("uv")
    if runner is None:
        pytest.skip("uv is needed to run schemathesis apart from our own packages")
    probe = await asyncio.create_subprocess_exec(
        runner, "tool", "run", "-q", "schemathesis", "--version", stdout=-3, stderr=-3
    )
    if await probe.wait() != 0:
        pytest.skip("schemathesis cannot be fetched")
    config = Config(limits=Limits(max_queued_per_owner=100_000))
    async with open_app(home, config) as app, open_gateway(app) as gateway:
        made: Any = parse_request(
            {"kind": "simulate", "params": {"steps": 3, "step_seconds": 0}},
            kinds=app.kinds,
            now=app.clock.now(),
        )
        task = await app.ledger.write(lambda tx: submit(tx, made))
        settings = tmp_path / "schemathesis.toml"
        beyond = ", ".join(f'"{name}"' for name in BEYOND_A_SCHEMA)
        settings.write_text(CONFIG.format(task_id=task.task_id, examples=4, beyond=beyond))
        gateway.site.keyring.attempts = Attempts(
            app.clock, limit=100_000
        )  # wrong tokens are part of the trial
        async with gateway.serving(server.listen("127.0.0.1", 0)) as address:
            command = [runner, "tool", "run", "-q", "schemathesis", "--config-file", str(settings), "run"]
            command += [
                f"{address}/openapi.json",
                "-H",
                f"Authorization: Bearer {owner_token(home.token_file)}",
            ]
            command += ["--phases", "examples,coverage,fuzzing"]  # all checks are on unless told otherwise
            command += ["--exclude-path", "/v1/stream", "--exclude-path", "/v1/tokens/rotate"]
            process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-2, cwd=tmp_path)
            output, _ = await process.communicate()
    if process.returncode != 0:
        pytest.fail(output.decode()[-8000:], pytrace=False)
