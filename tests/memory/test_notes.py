"""Plain notes, and finding them."""

from pathlib import Path

import pytest

from tawny.memory.notes import Notes
from tawny.paths import Root


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "MEMORY.md").write_text("# Memory\n\n- Ann likes jasmine tea\n- The boiler is a Viessmann\n")
    return Notes(Root(workspace), tmp_path / "memory.db")


def texts(notes: Notes, query: str) -> list[str]:
    return [one.text for one in notes.search(query)]


def test_what_is_saved_is_found_and_readable_as_a_plain_file(notes: Notes, tmp_path: Path) -> None:
    path = notes.save("The spare key is with Mrs. Li", day="2026-03-02", time="08:00")
    assert path == "memory/2026-03-02.md"
    assert "- 08:00 – The spare key is with Mrs. Li" in (tmp_path / "workspace" / path).read_text()
    assert texts(notes, "spare key") == ["- 08:00 – The spare key is with Mrs. Li"]


def test_the_same_note_twice_a_day_is_kept_once(notes: Notes) -> None:
    for _ in range(3):
        notes.save("buy milk", day="2026-03-02", time="08:00")
    assert len(texts(notes, "buy milk")) == 1


@pytest.mark.parametrize("query", ["jasmine", "JASMINE", "asmin", "Ann tea", "tea"])
def test_parts_of_words_are_found_in_any_case(notes: Notes, query: str) -> None:
    assert texts(notes, query)[0] == "- Ann likes jasmine tea"


def test_two_letters_and_chinese_are_found(notes: Notes) -> None:
    notes.save("明天上午开会", day="2026-03-02", time="08:00")
    assert texts(notes, "开会")
    assert texts(notes, "is a")


def test_a_file_edited_by_hand_is_read_again(notes: Notes, tmp_path: Path) -> None:
    assert texts(notes, "Viessmann")
    (tmp_path / "workspace" / "MEMORY.md").write_text("- The boiler is a Vaillant now\n")
    assert texts(notes, "Viessmann") == []
    assert texts(notes, "Vaillant")


def test_a_damaged_index_is_made_anew(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "memory.db").write_bytes(b"no database at all" * 100)
    assert texts(notes, "jasmine")


@pytest.mark.parametrize("query", ['"', "' OR 1=1", "NEAR(", "a* AND", "%", "-", "^x"])
def test_odd_queries_are_words_like_any_other(notes: Notes, query: str) -> None:
    notes.search(query)


def test_a_heading_brings_what_stands_under_it_and_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    long = "\n".join(f"line {n} of the long one" for n in range(200))
    (folder / "2026-03-02.md").write_text(
        f"# 2026-03-02\n\n## Heron count (10:00)\n\nTwelve grey herons.\n\n## Owls\n\nNone.\n\n## Long\n\n{long}\n"
    )
    notes = Notes(Root(tmp_path), tmp_path / "index.db")
    assert notes.search("heron count")[0].text == "## Heron count (10:00)\nTwelve grey herons."
    (long_one,) = [one for one in notes.search("Long", limit=300) if one.text.startswith("##")]
    assert len(long_one.text.splitlines()) == 31
    assert [one.text for one in notes.search("grey herons")] == ["Twelve grey herons."]
