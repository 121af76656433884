"""Kills at commits and effects, restarts, and asks the world.

On SQLite at every point of every scenario, as `tawny selftest crash` does. On PostgreSQL at every third: of one
scenario in a short run, of every scenario in the long profile, which `.ci/run` takes.
"""

import os
from collections.abc import Callable, Iterator

import psycopg
import pytest

import servers
from tawny import plugins
from tawny.app import bundled_kinds
from tawny.cli.proof.kills import Proof, Verdict, world
from tawny.cli.proof.scenarios import Scenario, scenarios
from tawny.clock import SystemClock
from tawny.config import Config, Home, Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.stores import open_store

LONG = os.environ.get("TAWNY_TEST_PROFILE") == "long"
NAMES = [scenario.name for scenario in scenarios()]
pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.fixture
def proof() -> Iterator[Proof]:
    with world() as (folder, port):
        yield Proof(folder, port, tell=lambda _: None)


@pytest.fixture
def blank(postgres: str, home: Home) -> Iterator[Callable[[], str]]:
    """Gives an empty database that has its tables, each time another; the one before is dropped."""
    with servers.database(postgres) as template:
        migrate(open_store(home, Config(ledger=Ledger(url=template))), SystemClock())
        name = f"{template.rpartition('/')[2]}_life"

        def make() -> str:
            with psycopg.connect(postgres, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {name.removesuffix('_life')}".encode())
            return f"{postgres.rpartition('/')[0]}/{name}"

        yield make
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def promised(verdict: Verdict) -> None:
    assert verdict.kills > 0
    assert (verdict.lost, verdict.repeated, verdict.stuck) == ([], [], [])


def test_the_proof_finds_what_is_wrong_with_a_naive_engine(proof):
    assert proof.toy("naive").repeated


def test_the_proof_finds_what_is_wrong_with_an_at_most_once_engine(proof):
    assert proof.toy("at_most_once").lost


def test_every_kind_of_task_there_is_gets_killed(home):
    covered = set[str]().union(*(scenario.kinds for scenario in scenarios()))
    there = {
        name
        for name, kind in bundled_kinds(home, Config()).items()
        if kind.name not in plugins.installed().kinds
    }

    assert there - covered == set(), "a kind without a scenario in cli/proof/scenarios.py is not proven"


@pytest.mark.parametrize("name", NAMES)
def test_killed_anywhere_nothing_is_lost_repeated_or_stuck(proof, name):
    promised(proof.engine([scenario for scenario in scenarios() if scenario.name == name]))


@pytest.mark.parametrize("name", NAMES if LONG else ["http"])
def test_killed_on_postgresql_nothing_is_lost_repeated_or_stuck(blank, name):
    with world() as (folder, port):
        proof = Proof(folder, port, tell=lambda _: None, every=3, fresh=blank)
        promised(proof.engine([scenario for scenario in scenarios() if scenario.name == name]))


def test_the_proof_finds_an_engine_on_postgresql_that_is_lost(blank):
    """What the world did not see is found whichever database it was lost in."""
    nothing = Scenario("http", lambda sink: [{"kind": "simulate", "params": {"steps": 0}}], {"/http": 1})
    with world() as (folder, port):
        verdict = Proof(folder, port, tell=lambda _: None, every=10, fresh=blank).engine([nothing])

    assert verdict.kills > 0
    assert verdict.lost
