"""Several processes, one ledger: whoever dies, hangs or is cut off, nothing is lost, repeated or stuck."""

import contextlib
import json
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.team.conftest import CLOCK, Process, Team, until

import servers
from tawny.clock import SECOND
from tawny.engine import automations, commands
from tawny.ledger import automations as ledger_automations
from tawny.ledger.database import Tx, write_now

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]


def busy(team: Team, *processes: Process, steps: int = 2) -> None:
    """Wait until each of them is in the middle of something."""
    until(lambda: all(team.running_on(process) for process in processes), "all of them at work")
    until(lambda: len(team.sink.entries("/step")) >= steps, "some steps done")


def all_done(team: Team, wanted: list[str], *, seconds: float = 120) -> None:
    until(lambda: not team.unfinished(wanted), f"all of {len(wanted)} tasks ended", seconds=seconds)
    assert {team.task(task_id).status for task_id in wanted} == {"succeeded"}


# --- the check finds what is broken


def test_the_check_finds_a_worker_without_a_journal(team: Team) -> None:
    team.gateway().ready()
    first, second = team.driver("one", "forgetful").ready(), team.driver("two", "forgetful").ready()
    wanted = team.simulate(16, steps=8, seconds=0.5)
    busy(team, first, second, steps=30)
    first.kill()
    until(lambda: not team.unfinished(wanted), "all ended", seconds=120)

    assert team.sink.check(wanted, steps=8).repeated


def test_the_check_finds_workers_that_are_blind_to_the_death_of_others(team: Team) -> None:
    team.gateway().ready().stop()
    first, second = team.driver("one", "blind").ready(), team.driver("two", "blind").ready()
    wanted = team.simulate(24, seconds=0.3)
    busy(team, first, second)
    left = team.running_on(first)
    first.kill()
    until(lambda: len(team.unfinished(wanted)) <= 4, "all the others ended")
    until(lambda: not team.running_on(second), "the living one at rest", seconds=30)

    assert left
    assert team.sink.check(wanted, steps=4).lost


# --- the promises


def test_two_of_three_workers_killed_in_the_middle_of_many_tasks(team: Team) -> None:
    team.gateway().ready()
    workers = [team.worker(name).ready() for name in ("one", "two", "three")]
    wanted = team.simulate(80)
    busy(team, *workers, steps=10)
    workers[0].kill()
    until(lambda: len(team.sink.entries("/step")) >= 60, "more steps done")
    workers[1].kill()
    all_done(team, wanted)

    found = team.sink.check(wanted, steps=4)
    assert (found.lost, found.repeated) == ([], [])
    ran_on = {row["worker"] for row in team.rows("SELECT DISTINCT worker FROM executions")}
    assert len(ran_on) == 4


def test_a_killed_workers_tasks_are_taken_over_within_the_documented_time(team: Team) -> None:
    team.gateway().ready()
    worker = team.worker("one").ready()
    wanted = team.simulate(12, steps=3, seconds=2)
    busy(team, worker, steps=1)
    held = team.running_on(worker)
    worker.kill()
    until(lambda: not team.running_on(worker), "its leases released", seconds=20)
    all_done(team, wanted)

    assert held
    found = team.sink.check(wanted, steps=3)
    assert (found.lost, found.repeated) == ([], [])
    assert all(team.task(task_id).attempt == 2 for task_id in held)


def test_a_worker_that_stood_still_past_its_lease_is_fenced_out_and_goes_on_anew(team: Team) -> None:
    team.gateway().ready()
    worker = team.worker("one").ready()
    wanted = team.simulate(12, steps=5, seconds=1)
    busy(team, worker, steps=1)
    held = team.running_on(worker)
    worker.freeze()
    until(lambda: not team.running_on(worker), "its leases released", seconds=30)
    until(
        lambda: all(task_id not in team.unfinished(held) for task_id in held), "what it held done by others"
    )
    worker.thaw()
    all_done(team, wanted)
    until(lambda: "taken for gone" in worker.log(), "the worker learns of it")
    more = team.simulate(12, steps=2, seconds=0.5)
    until(lambda: team.running_on(worker), "the worker at work again")
    all_done(team, more)

    # The one step that was in flight comes out late, with its own key, which its receiver drops; nothing after it.
    found = team.sink.check(wanted, steps=5, late=held)
    assert (found.lost, found.repeated) == ([], [])
    assert not team.sink.check(more, steps=2).lost
    outcomes = team.rows(
        "SELECT task_id, attempt, outcome, worker FROM executions WHERE attempt = 1 ORDER BY task_id"
    )
    assert {row["outcome"] for row in outcomes if row["task_id"] in held} == {"crashed"}
    ended = team.rows("SELECT task_id, seq FROM events WHERE type = 'task.succeeded'")
    assert len(ended) == len(wanted + more), "a late report changed nothing"


def test_a_worker_told_to_stop_gives_its_tasks_back_at_once(team: Team) -> None:
    team.gateway().ready()
    worker = team.worker("one").ready()
    wanted = team.simulate(12, steps=3, seconds=1)
    busy(team, worker, steps=1)
    held = team.running_on(worker)
    assert worker.stop() == 0
    all_done(team, wanted)

    rows = team.rows("SELECT task_id, outcome FROM executions WHERE attempt = 1")
    assert {row["outcome"] for row in rows if row["task_id"] in held} <= {"released", "succeeded"}
    assert team.rows("SELECT 1 AS one FROM tasks WHERE crashes > 0") == []


def test_a_restarted_worker_releases_what_its_own_last_life_held_and_nothing_of_the_others(
    team: Team,
) -> None:
    team.gateway().ready()
    one, two = team.worker("one").ready(), team.worker("two").ready()
    wanted = team.simulate(16, steps=2, seconds=4)
    busy(team, one, two, steps=0)
    mine, others = team.running_on(one), team.running_on(two)
    one.kill()
    team.worker("one").ready()
    attempts = {task_id: team.task(task_id).attempt for task_id in others}
    released = team.rows("SELECT task_id FROM executions WHERE outcome = 'crashed'")
    all_done(team, wanted)

    assert {row["task_id"] for row in released} == set(mine)
    assert set(attempts.values()) == {1}
    assert all(team.task(task_id).attempt == 1 for task_id in others)
    found = team.sink.check(wanted, steps=2)
    assert (found.lost, found.repeated) == ([], [])


def test_a_database_that_dies_in_the_middle_is_waited_for(tmp_path, sink) -> None:
    with servers.postgres_server() as server, contextlib.closing(Team(tmp_path, server.url, sink)) as team:
        team.gateway().ready()
        worker = team.worker("one").ready()
        wanted = team.simulate(40)
        busy(team, worker, steps=8)
        server.kill()
        server.start()
        until(lambda: len(sink.entries("/step")) >= 60, "work going on")
        server.kill()
        server.start()
        all_done(team, wanted)

        found = sink.check(wanted, steps=4)
        assert (found.lost, found.repeated) == ([], [])
        assert worker.popen.poll() is None
        later = team.simulate(4)
        all_done(team, later)


def test_a_cancel_reaches_the_worker_that_runs_it(team: Team) -> None:
    team.gateway().ready()
    worker = team.worker("one").ready()
    wanted = team.simulate(8, steps=2, seconds=30)
    busy(team, worker, steps=0)
    held = team.running_on(worker)[0]
    write_now(team.store, CLOCK, lambda tx: commands.cancel(tx, held))
    until(lambda: team.task(held).status == "cancelled", "cancelled", seconds=20)

    assert held in wanted


# --- who leads


def test_a_second_gateway_is_refused_and_one_that_stands_by_takes_over(team: Team) -> None:
    leader = team.gateway("first").ready()
    refused = team.gateway("second")
    assert refused.popen.wait(60) == 1
    assert "another gateway" in refused.errors()
    standby = team.gateway("third", "--standby")
    wanted = team.simulate(12, steps=3, seconds=1)
    busy(team, leader, steps=1)
    leader.kill()
    standby.ready()
    all_done(team, wanted)

    found = team.sink.check(wanted, steps=3)
    assert (found.lost, found.repeated) == ([], [])


def test_a_leader_that_hangs_is_put_out_and_ends_when_it_wakes(team: Team) -> None:
    leader = team.gateway("first").ready()
    standby = team.gateway("second", "--standby")
    wanted = team.simulate(6, steps=3, seconds=1)
    busy(team, leader, steps=1)
    until(lambda: "standing by" in standby.log(), "standing by")
    held = team.running_on(leader)
    leader.freeze()
    standby.ready()
    leader.thaw()
    assert leader.popen.wait(60) == 1
    assert "taken over" in leader.errors()
    all_done(team, wanted)

    found = team.sink.check(wanted, steps=3, late=held)
    assert (found.lost, found.repeated) == ([], [])


def test_automations_fire_once_and_deliveries_go_once_when_the_leader_is_killed(team: Team) -> None:
    leader = team.gateway("first").ready()
    standby = team.gateway("second", "--standby")
    team.worker("one").ready()
    action = {"steps": 1, "step_seconds": 0, "effect_url": f"{team.sink.url}/step"}
    document = {
        "name": "Tick",
        "type": "scheduled",
        "schedule": {"type": "every", "interval": "1s"},
        "action": {"type": "simulate", "parameters": action},
        "delivery": {"channels": [f"webhook:{team.sink.url}/told"]},
        "policy": {
            "misfire": "run_all",
            "misfire_window": "10m",
            "overlap": "parallel",
            "notify": "done_only",
        },
    }
    write_now(team.store, CLOCK, lambda tx: automations.add(tx, document, kinds=team.kinds, timezone="UTC"))

    def told() -> dict[str, set[str]]:
        keys: dict[str, set[str]] = defaultdict(set)
        for entry in team.sink.entries("/told"):
            keys[json.loads(entry["body"])["task"]["task_id"]].add(entry["key"])
        return keys

    until(lambda: len(told()) >= 3, "some told")
    leader.kill()
    standby.ready()
    before = len(told())
    until(lambda: len(told()) >= before + 8, "more told")

    write_now(
        team.store, CLOCK, lambda tx: ledger_automations.set_status(tx, only(tx), "paused", actor="owner")
    )
    every = team.rows("SELECT slot, status, task_id, reason FROM occurrences ORDER BY slot")
    runs = [row for row in every if row["task_id"] is not None]
    until(lambda: len(told()) >= len(runs), "all told")
    slots = [row["slot"] for row in every]
    assert [later - earlier for earlier, later in pairwise(slots)] == [SECOND] * (len(slots) - 1)
    assert len(team.rows("SELECT task_id FROM tasks")) == len(runs)
    assert {task_id: len(keys) for task_id, keys in told().items()} == {row["task_id"]: 1 for row in runs}
    found = team.sink.check([row["task_id"] for row in runs], steps=1)
    assert (found.lost, found.repeated) == ([], [])


def only(tx: Tx) -> str:
    return str(tx.value("SELECT automation_id FROM automations"))


# --- what is shared


def test_what_a_worker_made_is_readable_through_the_gateway(team: Team) -> None:
    gateway = team.gateway().ready()
    worker = team.driver("one", "maker").ready()
    token = (gateway.home / "token").read_text().strip()
    small, large = team.submit("make", params={"size": 4}), team.submit("make", params={"size": 17})
    all_done(team, [small, large])
    with httpx.Client(
        base_url=gateway.address, trust_env=False, headers={"Authorization": f"Bearer {token}"}
    ) as client:
        answers = {}
        for task_id in (small, large):
            [made] = client.get(f"/v1/tasks/{task_id}/artifacts").json()["items"]
            answers[task_id] = client.get(f"/v1/artifacts/{made['artifact_id']}")

    assert answers[small].content == b"x" * 4 * 1024 * 1024
    assert answers[large].status_code == 404
    refused = answers[large].json()["error"]
    assert "16777216 at most" in refused["message"]
    name = json.loads((worker.home / "node").read_text())["name"]
    assert name in refused["hint"]


def test_a_worker_runs_only_the_kinds_it_is_given(team: Team) -> None:
    team.gateway().ready().stop()
    team.worker("one", "--kinds", "remind", "--concurrency", "2").ready()
    reminder, simulated = team.submit("remind", params={"text": "milk"}), team.simulate(1)[0]
    all_done(team, [reminder])

    assert team.task(simulated).status == "queued"


@pytest.mark.parametrize("argv", [["worker"], ["gateway", "run", "--standby"]])
def test_a_ledger_of_its_own_takes_no_team(tmp_path: Path, argv: list[str]) -> None:
    run = [sys.executable, "-m", "tawny", "--home", str(tmp_path), *argv]
    done = subprocess.run(run, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 2
    assert "[ledger] url" in done.stderr


# --- who is there


def status(team: Team, process: Process) -> dict[str, Any]:
    run = [sys.executable, "-m", "tawny", "--json", "--home", str(process.home), "status"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout)


def test_status_tells_who_works_on_the_database_what_they_run_and_who_is_silent(team: Team) -> None:
    gateway = team.gateway().ready()
    worker = team.worker("one", "--kinds", "simulate", "--concurrency", "2").ready()
    team.simulate(8, steps=1, seconds=60)
    until(lambda: len(team.running_on(worker)) == 2, "the worker has its hands full")
    [first, second] = status(team, gateway)["workers"]

    assert (first["role"], first["kinds"], first["alive"]) == ("gateway", [], True)
    assert (second["role"], second["kinds"], second["places"]) == ("worker", ["simulate"], 2)
    assert second["alive"]
    assert second["last_heartbeat"].endswith("Z")
    assert sorted(one["task_id"] for one in second["running"]) == sorted(team.running_on(worker))
    assert {one["kind"] for one in second["running"]} == {"simulate"}
    token = (gateway.home / "token").read_text().strip()
    asked = httpx.get(
        f"{gateway.address}/v1/status", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    assert [entry["worker"] for entry in asked.json()["workers"]] == [first["worker"], second["worker"]]

    worker.freeze()
    run = [sys.executable, "-m", "tawny", "--home", str(gateway.home)]

    def silent() -> bool:
        said = subprocess.run([*run, "doctor"], capture_output=True, text=True, timeout=60, check=False)
        return "workers.silent" in said.stdout or len(status(team, gateway)["workers"]) == 1

    until(silent, "its silence is told, or it is taken off the roll")
    until(lambda: len(status(team, gateway)["workers"]) == 1, "it is off the roll")
    assert not team.running_on(worker)
    plain = subprocess.run([*run, "status"], capture_output=True, text=True, timeout=60, check=False)
    assert "gateway on" in plain.stdout
    assert "all kinds" in plain.stdout
