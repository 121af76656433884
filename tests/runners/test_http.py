"""The kind `http`: within the network list, with a key against repeats."""

from typing import Any

import pytest
from tests.conftest import Engine
from tests.runners.conftest import NEVER, Server

from tawny.domain.tasks import Status
from tawny.engine import commands


async def test_a_get_gives_status_headers_and_body(listed: Engine, server: Server) -> None:
    task = await listed.submit(
        "http", params={"url": f"http://127.0.0.1:{server.port}/x", "headers": {"A": "1"}}
    )
    done = await listed.done(task.task_id)
    assert done.result is not None
    assert (done.result["status"], done.result["body"], done.result["headers"]["x-a"]) == (200, "fine", "b")
    assert "idempotency-key" not in server.requests[0].lower()


async def test_a_post_carries_the_key_of_task_and_step_in_every_attempt(
    listed: Engine, server: Server
) -> None:
    server.answers = [(503, "later"), (200, "made")]
    body: dict[str, Any] = {"url": f"http://127.0.0.1:{server.port}/", "method": "POST", "body": {"a": 1}}
    task = await listed.submit("http", params=body, retry={"base": "10ms"})
    done = await listed.done(task.task_id)
    assert done.status is Status.SUCCEEDED
    assert len(server.requests) == 2
    for request in server.requests:
        assert f"idempotency-key: {task.task_id}:request" in request.lower()
        assert request.endswith('{"a":1}')


async def test_an_unlisted_address_is_refused_with_the_mend(listed: Engine) -> None:
    task = await listed.submit("http", params={"url": "http://169.254.169.254/latest/meta-data/"})
    done = await listed.done(task.task_id)
    assert done.error is not None
    assert (done.status, done.error.kind) == (Status.FAILED, "refused")
    assert "metadata address" in done.error.message


async def test_an_answer_of_404_is_a_failure_that_shows_it(listed: Engine, server: Server) -> None:
    server.answers = [(404, "not here")]
    task = await listed.submit("http", params={"url": f"http://127.0.0.1:{server.port}/"})
    done = await listed.done(task.task_id)
    assert done.status is Status.FAILED
    assert done.result is not None
    assert (done.result["status"], done.result["body"]) == (404, "not here")
    assert done.origin.detail["read"] == [
        {"what": f"what 127.0.0.1:{server.port} answered", "trust": "untrusted"}
    ]


async def test_the_simulated_tasks_effect_passes_the_same_list(listed: Engine, server: Server) -> None:
    params = {"steps": 2, "step_seconds": 0, "effect_url": f"http://127.0.0.1:{server.port}/"}
    task = await listed.submit("simulate", params=params)
    assert (await listed.done(task.task_id)).status is Status.SUCCEEDED
    assert [f"{task.task_id}:step-{n}" in request for n, request in enumerate(server.requests, 1)] == [
        True,
        True,
    ]
    refused = await listed.submit("simulate", params={**params, "effect_url": "http://127.0.0.1:1/"})
    done = await listed.done(refused.task_id)
    assert done.error is not None
    assert done.error.kind == "refused"


async def test_a_persons_retry_asks_again(listed: Engine, server: Server) -> None:
    server.answers = [(404, "not here"), (200, "there now")]
    failed = await listed.submit("http", params={"url": f"http://127.0.0.1:{server.port}/"})
    assert (await listed.done(failed.task_id)).status is Status.FAILED
    again = await listed.ledger.write(lambda tx: commands.retry(tx, failed.task_id))
    done = await listed.done(again.task_id)
    assert done.result is not None
    assert (done.status, done.result["body"]) == (Status.SUCCEEDED, "there now")


async def test_a_persons_retry_sends_the_key_that_was_sent(listed: Engine, server: Server) -> None:
    """What timed out may have had its effect: under the same key the other side knows it again."""
    server.answers = [(503, "later"), (503, "later"), (200, "made"), (200, "made again")]
    body = {"url": f"http://127.0.0.1:{server.port}/", "method": "POST"}
    first = await listed.submit("http", params=body, retry={"max": 0})
    task = await listed.done(first.task_id)
    for _ in range(2):
        assert task.status is Status.FAILED
        failed = task.task_id
        again = await listed.ledger.write(lambda tx, failed=failed: commands.retry(tx, failed))
        task = await listed.done(again.task_id)
    assert task.status is Status.SUCCEEDED
    last = task.task_id
    fresh = await listed.ledger.write(lambda tx: commands.retry(tx, last, fresh=True))
    assert (await listed.done(fresh.task_id)).status is Status.SUCCEEDED
    sent = [request.lower().partition("idempotency-key: ")[2].split("\r\n")[0] for request in server.requests]
    assert sent == [f"{first.task_id}:request"] * 3 + [f"{fresh.task_id}:request"]


def keys(server: Server) -> list[str]:
    return [
        request.lower().partition("idempotency-key: ")[2].split("\r\n")[0]
        for request in server.requests
        if request.startswith("POST")
    ]


async def test_a_childs_key_is_its_own_and_stays_so_when_its_parent_is_retried(
    listed: Engine, server: Server
) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    server.answers = [(404, "no"), (200, "made"), (200, "made")]
    posts = [{"id": f"s{n}", "kind": "http", "params": {"url": url, "method": "POST"}} for n in range(2)]
    flow = await listed.submit("flow", params={"document": {"steps": posts}})
    assert (await listed.done(flow.task_id)).status is Status.FAILED
    again = await listed.ledger.write(lambda tx: commands.retry(tx, flow.task_id))
    assert (await listed.done(again.task_id)).status is Status.SUCCEEDED
    first, second, third = keys(server)
    assert first == second
    assert len({first, third}) == 2
    assert not {first, third} & {f"{task.task_id}:request" for task in (flow, again)}


@pytest.mark.parametrize("form", ["step", "map"])
async def test_a_post_that_timed_out_after_its_effect_is_sent_again_under_its_key(
    listed: Engine, server: Server, form: str
) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    post = {"kind": "http", "params": {"url": url, "method": "POST", "body": "pay"}}
    look = {
        "id": "look",
        "kind": "http",
        "params": {"url": url},
    }  # so that the way out is open when the time runs
    pay: dict[str, Any] = {"id": "pay", "timeout": "2s"}
    pay |= post if form == "step" else {"map": {"items": "args.who", "do": post}}
    server.answers = [(200, "here"), (NEVER, "")]
    document = {"args": {"who": {"default": ["Ann"]}}, "steps": [look, pay]}
    flow = await listed.submit("flow", params={"document": document})
    ended = await listed.done(flow.task_id, deadline=60)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert "longer than the 2 s" in ended.error.message

    again = await listed.ledger.write(lambda tx: commands.retry(tx, flow.task_id))
    assert (await listed.done(again.task_id, deadline=60)).status is Status.SUCCEEDED
    first, second = keys(server)
    assert first == second


async def test_a_batch_sends_an_item_whose_answer_was_lost_under_its_key(
    listed: Engine, server: Server
) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    action = {"kind": "http", "params": {"url": url + "{item}", "method": "POST"}}
    server.answers = [(200, "made"), (503, "made, and nobody was told")]
    params = {"items": ["a", "b"], "action": action, "concurrency": 1, "retry": {"max": 0}}
    batch = await listed.submit("batch", params=params)
    assert (await _report(listed, batch.task_id)) == (1, 1)
    again = await listed.ledger.write(lambda tx: commands.retry(tx, batch.task_id))
    assert (await _report(listed, again.task_id)) == (2, 0)
    a, b, b_again = keys(server)
    assert b == b_again != a


async def _report(listed: Engine, task_id: str) -> tuple[Any, Any]:
    result = (await listed.done(task_id)).result
    assert result is not None
    return result["succeeded"], result["failed"]
