"""Standing orders follow their files."""

import pytest

from tawny.engine import automations as commands
from tawny.engine import settlement
from tawny.engine.orders import sync
from tawny.errors import InvalidInput
from tawny.ledger import audit, automations, outbox

TEXT = """name: Papers
scope: {allow: [web.fetch]}
triggers:
  - schedule: {type: cron, expression: "0 8 * * *"}
action: {type: remind, parameters: {text: read}}
"""


async def _sync(ledger, folder):
    return await ledger.write(lambda tx: sync(tx, folder, kinds=None, timezone="UTC"))


async def test_a_file_is_added_then_updated_then_disabled_then_back(ledger, tmp_path):
    folder = tmp_path / "orders"
    folder.mkdir()
    file = folder / "papers.yaml"
    file.write_text(TEXT)
    assert await _sync(ledger, folder) == [("added", "order-papers-0")]
    file.write_text(TEXT.replace("web.fetch", "file.read"))
    await _sync(ledger, folder)
    one = await ledger.read(lambda tx: automations.get(tx, "order-papers-0"))
    assert one.spec.policy.scope.allow == ("file.read",)
    task = await ledger.write(lambda tx: commands.run_now(tx, "order-papers-0"))
    assert task.origin.detail["scopes"] == [{"allow": ["file.read"]}]
    file.unlink()
    assert await _sync(ledger, folder) == [("disabled", "order-papers-0")]
    file.write_text(TEXT)
    await _sync(ledger, folder)
    one = await ledger.read(lambda tx: automations.get(tx, "order-papers-0"))
    assert one.status == "active"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("{allow: [web.fetch]}", "{allows: []}", 2),
        ("schedule:", "sometimes:", 3),
        ("action:", "acts:", 5),
        ("action:", "escalation: {after: 1}\naction:", 5),
    ],
)
async def test_a_mistake_names_its_line_and_changes_nothing(ledger, tmp_path, old, new, line):
    (tmp_path / "a.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(InvalidInput) as caught:
        await _sync(ledger, tmp_path)
    assert f"a.yaml:{line}:" in caught.value.message


async def _told(ledger):
    lines = await ledger.read(lambda tx: outbox.page(tx, limit=50))
    return [(line.target, line.message.text) for line in lines if line.fallback_of is None]


async def test_an_order_escalates_what_failed_and_what_was_denied(ledger, tmp_path):
    text = TEXT + "escalation: {to: [inbox, telegram], after: 2}\n"
    (tmp_path / "papers.yaml").write_text(text)
    await _sync(ledger, tmp_path)
    one = await ledger.read(lambda tx: automations.get(tx, "order-papers-0"))
    assert one.spec.delivery.failures_to == ("inbox", "telegram")
    assert (one.spec.policy.alert_after, one.spec.policy.tell_denied) == (2, True)

    def ended(tx, status, denied=()):
        task = commands.run_now(tx, "order-papers-0")
        for operation in denied:
            audit.append(
                tx,
                "tool.call",
                actor="x",
                task_id=task.task_id,
                detail={"operation": operation},
                decision="deny",
            )
        tx.execute(
            "UPDATE tasks SET status = :s, ended_at = :n WHERE task_id = :i",
            s=status,
            n=tx.now,
            i=task.task_id,
        )
        return settlement.settle_all(tx, changed=lambda path: None)

    await ledger.write(lambda tx: ended(tx, "failed"))
    assert await _told(ledger) == []
    await ledger.write(lambda tx: ended(tx, "failed"))
    assert sorted(target for target, _ in await _told(ledger)) == ["inbox", "telegram"]
    await ledger.write(lambda tx: ended(tx, "succeeded", ("mail.send", "mail.send", "pay")))
    told = [text for target, text in await _told(ledger) if target == "inbox" and "denied" in text]
    assert len(told) == 1
    assert "it was denied mail.send, pay" in told[0]


async def test_without_escalation_nobody_is_told_what_was_denied(ledger, tmp_path):
    (tmp_path / "papers.yaml").write_text(TEXT)
    await _sync(ledger, tmp_path)
    one = await ledger.read(lambda tx: automations.get(tx, "order-papers-0"))
    assert one.spec.policy.tell_denied is False
