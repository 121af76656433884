"""Kills at every third commit and effect, restarts, and asks the world; `tawny selftest crash` takes every one."""

import pytest

from tawny import plugins
from tawny.app import bundled_kinds
from tawny.cli.proof.kills import Proof, world
from tawny.cli.proof.scenarios import scenarios
from tawny.config import Config

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.fixture
def proof():
    with world() as (folder, port):
        yield Proof(folder, port, tell=lambda _: None, every=3)


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


@pytest.mark.parametrize("name", [scenario.name for scenario in scenarios()])
def test_killed_anywhere_nothing_is_lost_repeated_or_stuck(proof, name):
    verdict = proof.engine([scenario for scenario in scenarios() if scenario.name == name])

    assert verdict.kills > 0
    assert (verdict.lost, verdict.repeated, verdict.stuck) == ([], [], [])
