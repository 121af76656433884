"""The commands a person answers and checks with; JSON for scripts, nothing hidden in the text."""

import json
import re

import pytest

from tawny.cli.main import main
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.approvals import Question
from tawny.domain.tasks import Origin, Submission
from tawny.ledger import approvals
from tawny.ledger.database import write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import submit


@pytest.fixture
def tawny(home, capsys):
    def run(*arguments, expect=0):
        code = main(["--home", str(home.root), *arguments])
        out, err = capsys.readouterr()
        assert code == expect, (out, err)
        return json.loads(out) if "--json" in arguments and out else out + err

    store = SqliteStore(home.database)
    migrate(store, SystemClock())
    return run


def asked(home: Home, **fields) -> str:
    question = Question(
        **{
            "tool": "mail_send",
            "operation": "mail.send",
            "arguments": {"to": "eve@x.org"},
            "level": 3,
            "reason": "why",
        }
        | fields
    )

    def ask(tx):
        task = submit(tx, Submission(kind="remind", params={"text": "x"}, title="T"))
        return approvals.request(tx, task_id=task.task_id, key="k", question=question).approval_id

    return write_now(SqliteStore(home.database), SystemClock(), ask)


def test_nothing_waits_at_first(tawny):
    assert "nothing waits for you" in tawny("approvals", "list")
    assert tawny("approvals", "list", "--json") == {"items": [], "next_cursor": None}


def test_a_question_is_listed_shown_and_answered(tawny, home):
    approval_id = asked(home)
    (item,) = tawny("approvals", "list", "--json")["items"]
    assert (item["approval_id"], item["status"], item["arguments"]) == (
        approval_id,
        "pending",
        {"to": "eve@x.org"},
    )
    assert "May I do this? mail.send with mail_send" in tawny("approvals", "show", approval_id)
    assert tawny("approvals", "approve", approval_id[:-3], "--json", "--note", "ok")["status"] == "approved"
    assert "is approved by owner already" in tawny("approvals", "deny", approval_id, expect=1)


def test_edited_arguments_must_be_an_object(tawny, home):
    approval_id = asked(home)
    for wrong in ("{", "7", "[1]"):
        assert "--edit is no JSON object" in tawny(
            "approvals", "approve", approval_id, "--edit", wrong, expect=2
        )
    done = tawny("approvals", "approve", approval_id, "--edit", '{"to": "bob@x.org"}', "--json")
    assert done["answered_arguments"] == {"to": "bob@x.org"}


def test_a_standing_yes_is_listed_and_taken_back(tawny, home):
    approval_id = asked(home)
    tawny("approvals", "approve", approval_id, "--always")
    (grant,) = tawny("approvals", "grants", "--json")["items"]
    assert grant["uses_left"] == 100
    tawny("approvals", "revoke", grant["grant_id"])
    assert tawny("approvals", "grants", "--json")["items"] == []


def test_nothing_hides_in_what_is_shown(tawny, home):
    origin = Origin(trusted=False, detail={"read": [{"what": "page\u202e", "trust": "untrusted"}]})
    approval_id = asked(home, arguments={"command": "ls \x1b[2K\u200b;id"}, origin=origin)
    for text in (tawny("approvals", "list"), tawny("approvals", "show", approval_id)):
        assert not re.search("[\x1b\u200b\u202e]", text)
        assert "\\x1b[2K\\u200b;id" in text or "\\u001b" in text


def test_rules_are_listed_and_mistakes_named(tawny, home):
    assert "no rules in" in tawny("approvals", "rules")
    home.policy_file.write_text('approval_rules:\n  - condition: "amount > $100"\n    action: deny\n')
    assert "1. if amount > $100: deny  (line 2)" in tawny("approvals", "rules")
    home.policy_file.write_text('approval_rules:\n  - condition: "amount > "\n    action: deny\n')
    assert "policy.yaml:2: rule 1" in tawny("approvals", "rules", expect=2)


def test_rules_test_shows_what_would_decide_a_call(tawny, home):
    home.policy_file.write_text(
        'approval_rules:\n  - {condition: "recipient not in contacts", action: require_approval}\n'
    )
    said = tawny("approvals", "rules", "test", "--operation", "mail.send", "--to", "eve@x.org")
    assert said.startswith("ASK\n")
    assert "rule 1 (recipient not in contacts: require_approval) applies" in said
    known = tawny(
        "approvals",
        "rules",
        "test",
        "--operation",
        "mail.send",
        "--to",
        "a@x.org",
        "--contact",
        "a@x.org",
        "--json",
    )
    assert known["verdict"] == "notify"
    tainted = tawny(
        "approvals",
        "rules",
        "test",
        "--operation",
        "mail.send",
        "--to",
        "a@x.org",
        "--contact",
        "a@x.org",
        "--untrusted",
    )
    assert "your own words do not name" in tainted
    assert "not in the table" in tawny("approvals", "rules", "test", "--operation", "new.thing")
    assert "needs --operation" in tawny("approvals", "rules", "test", expect=2)


def test_rules_test_takes_the_names_of_a_condition(tawny, home):
    home.policy_file.write_text(
        'approval_rules:\n  - {condition: "amount > $100", action: require_approval}\n'
        '  - {condition: "operation == delete", action: require_confirmation}\n'
    )
    said = tawny("approvals", "rules", "test", "operation=delete", "--json")
    assert (said["verdict"], said["rule"], said["confirmation"]) == ("ask", 2, True)
    assert "rule 1" in tawny("approvals", "rules", "test", "amount=$250", "tool=pay")
    assert "no rule applies; level 2 decides" in tawny("approvals", "rules", "test", "amount=50")
    assert "is no NAME=VALUE" in tawny("approvals", "rules", "test", "amuont=50", expect=2)


def test_the_audit_trail_is_listed_exported_and_verified(tawny, home):
    asked(home)
    items = tawny("audit", "list", "--json")["items"]
    assert {"task.create", "approval.request"} <= {item["action"] for item in items}
    assert set(items[0]) == {
        "seq", "time", "actor", "action", "task_id", "detail", "usage", "decision", "hash", "previous"
    }  # fmt: skip
    exported = tawny("audit", "export")
    (head,) = re.findall(r"^head ([0-9a-f]{64})$", exported, re.MULTILINE)
    assert head in tawny("audit", "verify", "--head", head)
    lines = tawny("audit", "export", "--format", "csv").splitlines()
    assert lines[0].startswith("seq,time,actor")
    assert tawny("audit", "list", "--what", "approval.request", "--json")["items"][0]["decision"] == "ask"


def test_a_broken_link_exits_1(tawny, home):
    asked(home)
    write_now(
        SqliteStore(home.database),
        SystemClock(),
        lambda tx: tx.execute("UPDATE audit SET actor = 'x' WHERE seq = 1"),
    )
    assert "broken at row 1: row 1 was changed" in tawny("audit", "verify", expect=1)
    assert tawny("audit", "verify", "--json", expect=1)["broken_at"] == 1


def test_a_new_owners_token_is_in_the_trail(tawny):
    tawny("gateway", "rotate")
    (row,) = tawny("audit", "list", "--what", "credential.rotate", "--json")["items"]
    assert row["actor"] == "owner"
