"""Automations over HTTP."""

import json
from typing import Any

import pytest
from tests.engine.storm import three_crashes

from tawny.budgets import Budgets, BudgetScope
from tawny.clock import MINUTE, SECOND
from tawny.config import Config, Home, Model
from tawny.ledger import standing
from tawny.ledger.database import Tx
from tawny.testing import ScriptedModel

from .conftest import House, open_house

BRIEF = {
    "name": "Morning",
    "type": "scheduled",
    "schedule": {"type": "cron", "expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"},
    "action": {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0}},
}


async def add(house: House, **changes: Any) -> dict[str, Any]:
    answer = await house.client.post("/v1/automations", json={**BRIEF, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_automation_is_added_shown_changed_and_taken_away(house: House) -> None:
    made = await add(house)
    id = made["id"]
    assert id.startswith("auto_")
    assert made["status"] == "active"
    assert made["next_run"].endswith("Z")
    assert len(made["next_runs"]) == 5
    assert (await house.client.get(f"/v1/automations/{id}")).json()["name"] == "Morning"
    assert [entry["id"] for entry in (await house.client.get("/v1/automations")).json()["items"]] == [id]

    changed = await house.client.patch(f"/v1/automations/{id}", json={"name": "Early"})
    assert changed.json()["name"] == "Early"
    assert (await house.client.post(f"/v1/automations/{id}/pause")).json()["status"] == "paused"
    assert (await house.client.post(f"/v1/automations/{id}/resume")).json()["status"] == "active"

    assert (await house.client.delete(f"/v1/automations/{id}")).status_code == 204
    assert (await house.client.get(f"/v1/automations/{id}")).status_code == 404


async def test_key_task_id_is_accepted_for_id(house: House) -> None:
    document = {**BRIEF, "task_id": "auto_mine"}
    answer = await house.client.post("/v1/automations", json=document)
    assert answer.json()["id"] == "auto_mine"
    assert (await house.client.post("/v1/automations", json=document)).status_code == 409


async def test_run_by_hand_makes_a_task_and_a_run(house: House) -> None:
    id = (await add(house))["id"]
    started = await house.client.post(f"/v1/automations/{id}/run")
    assert started.status_code == 202
    task = await house.until(started.json()["task_id"], "succeeded")
    assert task["automation_id"] == id
    (run,) = (await house.client.get(f"/v1/automations/{id}/runs")).json()["items"]
    assert run["task_id"] == task["task_id"]
    assert run["status"] == "ran"


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": {"type": "cron", "expression": "61 * * * *"}},
        {"schedule": {"type": "cron", "expression": "0 8 * * *", "timezone": "Mars/Olympus"}},
        {"action": {"type": "nonsense", "parameters": {}}},
        {"bogus": 1},
    ],
)
async def test_wrong_documents_are_refused_with_a_hint(house: House, change: dict[str, Any]) -> None:
    answer = await house.client.post("/v1/automations", json={**BRIEF, **change})
    assert answer.status_code == 422
    assert (await house.client.get("/v1/automations")).json()["items"] == []


_HOOKED = {"argv": ["date"], "env": {"LANG": "C", "LD_PRELOAD": "x.so"}}


@pytest.mark.parametrize(
    "part",
    [
        {"action": {"type": "command", "parameters": _HOOKED}},
        {"action": {"type": "command", "parameters": {**_HOOKED, "argv": ["echo", "{{ slot }}"]}}},
        {"success": {"verifier": {"type": "command", "parameters": _HOOKED}}},
        {
            "type": "continuous",
            "schedule": None,
            "watch": {
                "probe": {"type": "command", "parameters": _HOOKED},
                "every": "1h",
                "condition": "changed",
            },
        },
    ],
    ids=["action", "with holes", "verifier", "probe"],
)
async def test_environment_that_every_run_would_refuse_is_refused_at_once(
    house: House, part: dict[str, Any]
) -> None:
    document = {key: value for key, value in {**BRIEF, **part}.items() if value is not None}
    answer = await house.client.post("/v1/automations", json=document)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert "LD_PRELOAD" in error["message"]
    assert "argument" in error["hint"]
    harmless = json.loads(json.dumps(document).replace("LD_PRELOAD", "REPORT_DAY"))
    assert (await house.client.post("/v1/automations", json=harmless)).status_code == 201


async def test_preview_and_phrases(house: House) -> None:
    body = {"schedule": BRIEF["schedule"], "n": 3, "start": "2026-03-27T12:00:00Z"}
    seen = (await house.client.post("/v1/automations/preview", json=body)).json()
    assert seen["items"] == [
        "2026-03-30T06:00:00.000Z",
        "2026-03-31T06:00:00.000Z",
        "2026-04-01T06:00:00.000Z",
    ]
    read = (await house.client.post("/v1/automations/parse", json={"text": "every weekday at 8"})).json()
    assert read["schedule"]["type"] in ("cron", "rrule")
    assert len(read["items"]) == 5
    assert (read["by"], read["confirm"]) == ("grammar", False)
    assert (await house.client.post("/v1/automations/parse", json={"text": "blue"})).status_code == 422


MARKET = {"text": "when the market opens in New York"}
OPENING = '{"type": "cron", "expression": "30 9 * * 1-5", "timezone": "America/New_York"}'


async def test_what_the_grammar_cannot_read_a_model_reads_and_a_person_confirms(home: Home) -> None:
    model = ScriptedModel([OPENING])
    async with open_house(home, Config(model=Model(name="scripted")), model=model) as house:
        answer = await house.client.post("/v1/automations/parse", json=MARKET)
        assert answer.status_code == 200, answer.text
        read = answer.json()
        assert (read["by"], read["confirm"]) == ("model", True)
        assert read["schedule"]["expression"] == "30 9 * * 1-5"
        assert read["timezone"] == "America/New_York"
        assert len(read["items"]) == 5
        assert (await house.client.get("/v1/automations")).json()["items"] == []
        assert (await house.client.get("/v1/tasks")).json()["items"] == []
        await house.client.post("/v1/automations/parse", json={"text": "every weekday at 8"})
        twice = await house.client.post("/v1/automations/parse", json={"text": "every day at 8 and 17:30"})
        assert twice.status_code == 422
        assert len(model.asked) == 1


async def test_model_that_does_not_know_either_is_an_error_that_names_the_phrase(home: Home) -> None:
    async with open_house(home, Config(model=Model(name="scripted")), model=ScriptedModel(["null"])) as house:
        answer = await house.client.post("/v1/automations/parse", json={"text": "blue"})
    assert answer.status_code == 422
    assert "'blue'" in answer.json()["error"]["message"]
    assert "cron" in answer.json()["error"]["hint"]


async def test_model_reads_no_phrase_for_those_who_may_only_look(home: Home) -> None:
    model = ScriptedModel([OPENING])
    async with open_house(home, Config(model=Model(name="scripted")), model=model) as house:
        _, secret = await house.door.token_with("read")
        async with house.door.browser(authorization=f"Bearer {secret}") as looking:
            assert (await looking.post("/v1/automations/parse", json=MARKET)).status_code == 422
            known = await looking.post("/v1/automations/parse", json={"text": "every weekday at 8"})
            assert known.status_code == 200
    assert model.asked == []


async def test_model_reads_no_phrase_beyond_the_budget(home: Home) -> None:
    budgets = Budgets(day=BudgetScope(model_calls=1))
    model = ScriptedModel([OPENING, OPENING])
    async with open_house(home, Config(model=Model(name="scripted"), budgets=budgets), model=model) as house:
        assert (await house.client.post("/v1/automations/parse", json=MARKET)).status_code == 200
        answer = await house.client.post("/v1/automations/parse", json=MARKET)
        assert answer.status_code == 403, answer.text
        assert "day:owner" in answer.json()["error"]["message"]
        assert len(model.asked) == 1


async def test_calendar_shows_what_was_and_what_comes(house: House) -> None:
    id = (await add(house, schedule={"type": "cron", "expression": "0 8 * * *", "timezone": "UTC"}))["id"]
    await house.client.post(f"/v1/automations/{id}/run")
    items = (await house.client.get("/v1/calendar?from=2026-01-01T00:00:00Z")).json()
    assert items["items"] == []
    week = (await house.client.get("/v1/calendar", params={"to": "7d"})).json()["items"]
    assert len([item for item in week if item["status"] == "planned"]) == 7
    assert (
        await house.client.get("/v1/calendar?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z")
    ).status_code == 422


async def test_trial_does_nothing(house: House) -> None:
    id = (await add(house))["id"]
    for path in (f"/v1/automations/{id}/dry-run", "/v1/automations/dry-run"):
        seen = (await house.client.post(path, json=BRIEF if path.endswith("s/dry-run") else None)).json()
        assert "simulate" in seen["would"]
        assert len(seen["next"]) == 5
    assert (await house.client.get("/v1/tasks")).json()["items"] == []


async def test_two_minutes_overdue_readiness_and_status_are_red(house: House) -> None:
    made = await add(house)
    ledger = house.app.ledger
    house.app.stability.is_held = True
    for late, status in ((MINUTE, 200), (2 * MINUTE + SECOND, 503)):
        due = house.app.clock.now() - late
        await ledger.write(lambda tx, due=due: standing.set_due(tx, made["id"], due))
        answer = await house.client.get("/readyz")
        assert answer.status_code == status, answer.text
        problems = (await house.client.get("/v1/status")).json()["problems"]
        assert any("overdue" in problem["message"] for problem in problems) is (status == 503)
    assert "'Morning'" in answer.json()["error"]["message"]
    assert (await house.client.get("/healthz")).status_code == 200


async def test_in_a_restart_storm_status_and_who_starts_work_are_told_that_it_waits(house: House) -> None:
    made = await add(house)
    body = {"kind": "simulate", "params": {"steps": 1, "step_seconds": 0}}
    failing = {**body, "params": {**body["params"], "fail_at": 1}, "retry": {"max": 0}}
    ended = (await house.client.post("/v1/tasks", json=failing)).json()["task_id"]
    await house.until(ended, "failed")

    def fourth_start(tx: Tx) -> None:
        three_crashes(tx)
        tx.execute("INSERT INTO unclean_starts (started_at) VALUES (:at)", at=tx.now + MINUTE)

    house.app.stability.is_held = True
    await house.app.ledger.write(fourth_start)
    for path, sent in (
        ("/v1/tasks", body),
        (f"/v1/automations/{made['id']}/run", None),
        (f"/v1/tasks/{ended}/retry", None),
    ):
        answer = await house.client.post(path, json=sent)
        assert answer.is_success, answer.text
        assert answer.json()["notice"].startswith("It waits: the gateway has died"), path
    again = answer.json()["task_id"]
    for order, is_held in (("pause", False), ("resume", True), ("cancel", False)):
        answer = await house.client.post(f"/v1/tasks/{again}/{order}")
        assert answer.is_success, answer.text
        assert ("notice" in answer.json()) is is_held, answer.text
    problems = (await house.client.get("/v1/status")).json()["problems"]
    assert any(problem["message"].startswith("background work waits:") for problem in problems)


async def test_words_for_a_person_are_told_though_no_place_is_named(house: House) -> None:
    remind = await add(house, action={"type": "remind", "parameters": {"text": "stretch"}})
    assert remind["policy"]["notify"] == "done_only"
    started = await house.client.post(f"/v1/automations/{remind['id']}/run")
    await house.events("delivery.sent")
    task = (await house.client.get(f"/v1/tasks/{started.json()['task_id']}")).json()
    assert [target["target"] for target in task["delivery"]["targets"]] == ["default"]
    assert task["delivery"]["status"] == "delivered"
    trial = await house.client.post(f"/v1/automations/{remind['id']}/dry-run")
    assert trial.json()["would"].startswith("run remind and tell inbox")


async def test_work_for_no_person_s_ears_stays_silent_unless_a_place_is_named(house: House) -> None:
    quiet = await add(house)
    assert "notify" not in quiet["policy"]
    started = await house.client.post(f"/v1/automations/{quiet['id']}/run")
    task = await house.until(started.json()["task_id"], "succeeded")
    assert (task["notify"], task["delivery"]["status"]) == ("silent", "not_applicable")
    named = await add(house, delivery={"channels": ["inbox"]})
    started = await house.client.post(f"/v1/automations/{named['id']}/run")
    assert (await house.until(started.json()["task_id"], "succeeded"))["notify"] == "done_only"


@pytest.mark.parametrize("part", [{"policy": {"notify": "silent"}}, {"delivery": {"failures_to": ["inbox"]}}])
async def test_own_word_on_what_is_told_is_kept(house: House, part: dict[str, Any]) -> None:
    made = await add(house, action={"type": "remind", "parameters": {"text": "stretch"}}, **part)
    started = await house.client.post(f"/v1/automations/{made['id']}/run")
    task = await house.until(started.json()["task_id"], "succeeded")
    assert task["notify"] == ("on_failure" if "delivery" in part else "silent")
    assert task["delivery"]["status"] == "not_applicable"
