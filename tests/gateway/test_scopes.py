"""Every scope against every route: what the server grants is the table in docs/reference/http.md, and no more."""

import re
from pathlib import Path

import pytest

from tawny.gateway.principal import SCOPES
from tawny.gateway.routes import OPERATIONS

from .conftest import House

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
OPEN = {"healthz", "signin", "signout", "pairing.claim", "hooks.receive"}


def table() -> dict[tuple[str, str], str]:
    """(method, path) → scope, as the page has it."""
    rows = re.findall(
        r"^\| `(\w+)` \| `([^`]+)` \| (\w+|–) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {(method, path): "" if scope == "–" else scope for method, path, scope in rows}


def test_the_page_lists_every_route_with_its_scope() -> None:
    assert table() == {(entry.method, entry.path): entry.scope or "" for entry in OPERATIONS}


def test_only_these_are_open() -> None:
    assert {entry.name for entry in OPERATIONS if entry.scope is None} == OPEN


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", "x", path)


@pytest.mark.parametrize("scope", sorted(SCOPES))
async def test_a_scope_opens_its_routes_and_no_others(house: House, scope: str) -> None:
    _, secret = await house.door.token_with(scope)
    wrong: list[str] = []
    async with house.door.browser(authorization=f"Bearer {secret}") as program:
        for (method, path), needed in table().items():
            if path == "/v1/stream" and needed == scope:
                continue  # it would not end
            answer = await program.request(method, concrete(path), json={})
            refused = answer.status_code == 403 and answer.json()["error"]["code"] == "missing_scope"
            if refused != bool(needed and needed != scope):
                wrong.append(f"{method} {path} with {scope}: {answer.status_code}")
    assert wrong == []


async def test_a_token_without_scopes_opens_nothing(house: House) -> None:
    _, secret = await house.door.token_with()
    async with house.door.browser(authorization=f"Bearer {secret}") as program:
        for (method, path), needed in table().items():
            if needed:
                answer = await program.request(method, concrete(path), json={})
                assert answer.status_code == 403, f"{method} {path}"
