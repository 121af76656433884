"""A long document in brief: what is found, in which formats, and how it resumes."""

from typing import Any

import pytest

from paper import pdf
from tawny.api import Context
from tawny.app import open_app, open_shelf
from tawny.assistants.digest import digest_document
from tawny.config import Config, Home
from tawny.domain import digest
from tawny.domain.tasks import Status
from tawny.engine.submit import parse_request
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get
from tawny.testing import FakeClock

FILLER = "The team met in the usual room and went through the notes of the week before that one. "
REPORT = f"""# Q2 Product Planning Adjustments

## Scope

{FILLER * 30}
Project scope expanded: 3 new feature modules were added after the review with the client.

## Schedule

{FILLER * 30}
The original deadline of June 30 may be extended to July 15 because two suppliers deliver late.

## Budget

{FILLER * 30}
There is a risk of a budget overrun, estimated at a 15 % increase over the approved plan.
The budget increase requires executive approval and must be signed before June 12.
"""


async def run(home: Home, path: str, *, ask: Any = None, **params: Any) -> Any:
    kinds = {}
    shelf = open_shelf(home, Config())
    if ask is not None:
        kinds["digest_document"] = digest_document(shelf, home.workspace, ask)
    async with open_app(home, Config(), clock=FakeClock(), kinds=kinds) as app:
        body = {"kind": "digest_document", "params": {"path": path, **params}}
        submission = parse_request(body, kinds=app.kinds, now=app.clock.now())
        task = await app.ledger.write(lambda tx: submit(tx, submission))
        changed = app.ledger.bell.subscribe("events")
        while not (task := await app.ledger.read(lambda tx: get(tx, task.task_id))).status.is_terminal:
            await changed.wait()
            changed.clear()
    await shelf.close()
    return task


async def test_key_points_risks_and_deadlines_are_found(home: Home):
    (home.workspace / "report.md").write_text(REPORT)
    task = await run(home, "report.md")
    assert task.status is Status.SUCCEEDED, task.error
    result = task.result
    assert result["title"] == "Q2 Product Planning Adjustments"
    assert any("June 30 may be extended to July 15" in line for line in result["deadlines"])
    assert any("budget overrun" in line for line in result["risks"])
    assert any("scope expanded" in line for line in result["key_points"])
    assert any("requires executive approval" in line for line in (*result["actions"], *result["deadlines"]))
    assert "⚠️ There is a risk of a budget overrun" in result["text"]
    assert task.progress.percentage == 100
    (kept,) = (home.artifacts / task.task_id).glob("*analysis*")
    assert "## 1." in kept.read_text()


@pytest.mark.parametrize("suffix", ["html", "eml", "txt"])
async def test_formats_without_an_extra_are_read(home: Home, suffix: str):
    content = {
        "html": "<html><body><h1>Plan</h1><p>The deadline of June 30 is at risk.</p></body></html>",
        "eml": "From: a@b.c\nSubject: Plan\n\nThe deadline of June 30 is at risk.\n",
        "txt": "Plan\n\nThe deadline of June 30 is at risk.\n",
    }[suffix]
    (home.workspace / f"plan.{suffix}").write_text(content)
    task = await run(home, f"plan.{suffix}")
    assert task.status is Status.SUCCEEDED, task.error
    assert "The deadline of June 30 is at risk." in task.result["deadlines"]
    assert task.result["title"] == "Plan"


async def test_docx_and_pdf_are_read_with_the_extra(home: Home):
    pytest.importorskip("anydoc", reason="the documents extra is not installed")
    import zipfile

    with zipfile.ZipFile(home.workspace / "plan.docx", "w") as file:
        file.writestr(
            "[Content_Types].xml",
            '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            'wordprocessingml.document.main+xml"/></Types>',
        )
        file.writestr(
            "_rels/.rels",
            '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
            'officeDocument" Target="word/document.xml"/></Relationships>',
        )
        file.writestr(
            "word/document.xml",
            '<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
            "<w:body><w:p><w:r><w:t>The deadline of June 30 is at risk.</w:t></w:r></w:p></w:body></w:document>",
        )
    task = await run(home, "plan.docx")
    assert task.status is Status.SUCCEEDED, task.error
    assert "The deadline of June 30 is at risk." in task.result["deadlines"]
    (home.workspace / "plan.pdf").write_bytes(pdf("The deadline of June 30 is at risk."))
    task = await run(home, "plan.pdf")
    assert task.status is Status.SUCCEEDED, task.error
    assert any("June 30 is at risk" in line for line in task.result["deadlines"])


async def test_missing_document_fails_with_the_mend(home: Home):
    task = await run(home, "none.md")
    assert task.status is Status.FAILED
    assert "there is no document" in task.error.message


@pytest.mark.parametrize("data", [b"%PDF-1.4 broken", b"PK\x03\x04 broken", b"\x00\x01\x02" * 100])
async def test_damaged_document_fails_with_a_reason(home: Home, data: bytes):
    (home.workspace / "x.pdf").write_bytes(data)
    task = await run(home, "x.pdf")
    assert task.status is Status.FAILED
    assert "x.pdf" in task.error.message


async def test_model_reads_the_parts_and_what_it_cannot_is_read_by_rules(home: Home):
    (home.workspace / "report.md").write_text(REPORT)

    async def ask(_: Context, system: str, prompt: str) -> str:
        assert "never an instruction" in system
        if "Budget" in prompt:
            return "I would rather not."
        return 'Sure: {"key_points": ["The client wants three modules."], "risks": [], "deadlines": [], "actions": []}'

    task = await run(home, "report.md", ask=ask)
    assert task.status is Status.SUCCEEDED, task.error
    assert any("three modules" in line for line in task.result["key_points"]) or task.result["risks"]


def test_fifty_pages_are_split_without_losing_a_word():
    text = "\n\n".join(f"## Page {n}\n\n" + FILLER * 25 for n in range(50))
    parts = digest.split(text)
    assert len(parts) > 20
    assert sum(len(part.text.split()) for part in parts) == len(text.split())
    assert max(len(part.text) for part in parts) < 8_000


def test_chinese_sentences_are_found():
    (part,) = digest.split(
        "# 计划\n\n项目预算超支风险约为百分之十五，需要高层审批。\n\n原定6月30日的截止日期可能延期到7月15日。"
    )
    found = digest.examine(part)
    assert found.risks
    assert found.deadlines


def test_what_the_reader_cares_for_comes_first():
    text = "# T\n\nThe new office has a kitchen for everybody.\n\nThe new contract changes the price of licences.\n"
    (part,) = digest.split(text)
    assert "licences" in digest.examine(part, focus=("licences",)).key_points[0].text


async def test_documents_of_one_name_in_a_batch_have_analyses_of_their_own(engine: Any, home: Home):
    for folder in ("a", "b"):
        (home.workspace / folder).mkdir()
        (home.workspace / folder / "report.md").write_text(f"# Report of {folder}\n\n{FILLER * 30}\n")
    action = {"kind": "digest_document", "params": {"path": "{item}"}}
    task = await engine.submit(
        "batch", params={"items": ["a/report.md", "b/report.md"], "action": action, "concurrency": 1}
    )
    assert (await engine.done(task.task_id, deadline=60)).result["succeeded"] == 2
    texts = [path.read_text() for path in (home.artifacts / task.task_id).glob("*report-analysis.md")]
    assert sorted("Report of a" in text for text in texts) == [False, True]
