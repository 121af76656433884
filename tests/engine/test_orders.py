"""Standing orders follow their files."""

import pytest

from tawny.engine import automations as commands
from tawny.engine.orders import sync
from tawny.errors import InvalidInput
from tawny.ledger import automations

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
    [("{allow: [web.fetch]}", "{allows: []}", 2), ("schedule:", "sometimes:", 3), ("action:", "acts:", 5)],
)
async def test_a_mistake_names_its_line_and_changes_nothing(ledger, tmp_path, old, new, line):
    (tmp_path / "a.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(InvalidInput) as caught:
        await _sync(ledger, tmp_path)
    assert f"a.yaml:{line}:" in caught.value.message
