"""A shelf over any sources, its children ended with the test; and the real servers."""

from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import pytest

import servers
from tawny import config
from tawny.sources.shelf import Shelf
from tawny.sources.workers import Workers

OpenShelf = Callable[..., Shelf]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncGenerator[OpenShelf]:
    workers = Workers(wall=20)

    def make(*, zone: str = "Europe/Berlin", **sources: list[config.Source]) -> Shelf:
        tables = {noun: tuple(given) for noun, given in sources.items()}
        return Shelf(config.Sources(**tables), zone=zone, root=tmp_path, workers=workers)

    yield make
    await workers.close()


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[servers.Dav]:
    with servers.radicale(tmp_path) as server:
        yield server


@pytest.fixture
def imap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Imap]:
    with servers.dovecot(tmp_path_factory.mktemp("dovecot")) as server:
        yield server


@pytest.fixture
def site() -> Iterator[servers.Site]:
    with servers.website() as server:
        yield server
