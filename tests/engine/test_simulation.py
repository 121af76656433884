"""Thousands of lives of the engine, each from one seed; and mutants of the engine that these lives must find."""

import os

import pytest
from tests.domain.test_states import table
from tests.engine.simulation import live

from tawny.engine import fence
from tawny.engine.journal import Journal
from tawny.ledger import outbox, recovery, steps, tasks
from tawny.ledger.additions import Numbers

SEEDS = 4000 if os.environ.get("TAWNY_TEST_PROFILE") == "long" else 40
MOVES = 50


@pytest.fixture
def lives(tmp_path, monkeypatch):
    def run(seed: int):
        return live(tmp_path, seed, moves=MOVES, table=table(), patch=monkeypatch)

    return run


@pytest.mark.timeout(0 if SEEDS > 1000 else 300)
@pytest.mark.parametrize("block", range(8))
def test_whatever_dies_whenever_every_promise_is_kept(lives, block):
    for seed in range(block * SEEDS // 8, (block + 1) * SEEDS // 8):
        lives(seed)


def test_a_seed_is_the_same_life_again(lives):
    assert lives(7) == lives(7)
    assert lives(7) != lives(8)


def ignore_the_fence(patch):
    patch.setattr(fence.Fence, "check", lambda self, tx: tasks.get(tx, self.task.task_id))


def never_release(patch):
    patch.setattr(recovery, "release", lambda *_, **__: None)


def lose_the_outbox_line(patch):
    patch.setattr(outbox, "announce", lambda *_: "pending")


def forget_the_intent(patch):
    patch.setattr(steps, "begin", lambda *_, **__: None)


def forget_the_journal(patch):
    begin = Journal.__init__
    patch.setattr(Journal, "__init__", lambda self, fence, news, known: begin(self, fence, news, {}))


def skip_a_number(patch):
    put = Numbers.put
    patch.setattr(
        Numbers, "put", lambda self, name, value, note="": put(self, name, value + (value % 17 == 0), note)
    )


def pay_before_the_intent(patch):
    """What was begun and not ended is taken for never begun."""
    patch.setattr(steps, "uncertain", lambda *_: [])


MUTANTS = [
    ignore_the_fence,
    never_release,
    lose_the_outbox_line,
    forget_the_intent,
    forget_the_journal,
    skip_a_number,
    pay_before_the_intent,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_planted_bug_is_found_and_named_by_its_seed(lives, monkeypatch, mutate):
    mutate(monkeypatch)
    found = ""
    for seed in range(80):
        try:
            lives(seed)
        except AssertionError as error:
            found = str(error)
            break
    assert found.startswith(f"seed {seed}: ")
