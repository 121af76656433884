"""The fixture that runs a suite on both databases."""

from collections.abc import Iterator

import msgspec
import pytest

import servers
from tawny.config import Config, Ledger
from tests.conftest import LIMITS


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest) -> Iterator[Config]:
    """The configuration of an engine on either database."""
    plain = Config(limits=LIMITS)
    if request.param == "sqlite":
        yield plain
        return
    with servers.database(request.getfixturevalue("postgres")) as url:
        yield msgspec.structs.replace(plain, ledger=Ledger(url=url))
