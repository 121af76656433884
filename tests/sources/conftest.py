"""A shelf over any sources, its children ended with the test; and the real servers."""

import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import pytest

import servers
from tawny import config
from tawny.app import parsers_of
from tawny.config import Config, Home
from tawny.sources.children import Confine
from tawny.sources.shelf import Shelf
from tawny.sources.workers import Workers

OpenShelf = Callable[..., Shelf]


def confined(home: Path) -> Confine | None:
    """The parsers' sandbox, where this machine has one."""
    return parsers_of(Home(home / "tawny"), Config()) if shutil.which("bwrap") else None


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncGenerator[OpenShelf]:
    workers = Workers(wall=20, confine=confined(tmp_path))

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
def imap() -> Iterator[servers.Imap]:
    with servers.mail_server() as server:
        yield server


@pytest.fixture
def site() -> Iterator[servers.Site]:
    with servers.website() as server:
        yield server
