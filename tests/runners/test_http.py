"""The kind `http`: within the network list, with a key against repeats."""

from typing import Any

from tests.conftest import Engine
from tests.runners.conftest import Server

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


async def test_a_childs_key_is_its_own_though_its_parent_is_a_retry(listed: Engine, server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    server.answers = [(404, "no"), (200, "made"), (200, "made")]
    posts = [{"id": f"s{n}", "kind": "http", "params": {"url": url, "method": "POST"}} for n in range(2)]
    flow = await listed.submit("flow", params={"document": {"steps": posts}})
    assert (await listed.done(flow.task_id)).status is Status.FAILED
    again = await listed.ledger.write(lambda tx: commands.retry(tx, flow.task_id))
    assert (await listed.done(again.task_id)).status is Status.SUCCEEDED
    sent = {request.lower().partition("idempotency-key: ")[2].split("\r\n")[0] for request in server.requests}
    assert len(sent) == 3
