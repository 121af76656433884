"""What a model is told of skills: never more than there is room for, and it says what is left out."""

from hypothesis import given
from hypothesis import strategies as st

from tawny.domain.skills import ROOM, Told, lines, search

TEA = Told("brew-tea", "Makes tea. Use it when somebody wants tea.", "brew-tea")
WORDS = st.text(alphabet="abcdefgh äöü.,", min_size=1, max_size=900)
SKILLS = st.lists(
    st.builds(Told, st.text(alphabet="abc-", min_size=1, max_size=64), WORDS, st.just("f")), max_size=200
)


def test_few_skills_are_told_whole() -> None:
    assert lines([TEA]) == ["brew-tea: Makes tea. Use it when somebody wants tea."]


def test_a_skill_in_a_folder_of_another_name_says_where_it_lies() -> None:
    assert lines([Told("tea", "Makes tea.", "brew-tea")]) == ["tea (in skills/brew-tea): Makes tea."]


def test_descriptions_are_shortened_before_a_skill_is_left_out() -> None:
    many = [Told(f"skill-{n:02}", "words " * 60, f"skill-{n:02}") for n in range(40)]
    said = lines(many)
    assert [line.partition(":")[0] for line in said[:40]] == [one.name for one in many]
    assert "skills(query=…)" in said[-1]
    assert len(said) == 41


def test_what_is_left_out_is_counted() -> None:
    many = [Told(f"skill-{n:04}", "words " * 60, f"skill-{n:04}") for n in range(1000)]
    said = lines(many)
    assert (
        said[-1]
        == f"and {1000 - (len(said) - 1)} more that are not listed here: skills(query=…) finds them by words"
    )
    assert len(said) > 50


@given(SKILLS)
def test_the_lines_never_need_more_than_their_room(skills: list[Told]) -> None:
    said = lines(skills)
    assert sum(len(line) + 1 for line in said) <= ROOM
    listed = [line for line in said if "skills(query=…)" not in line]
    left_out = len(skills) - len(listed)
    assert (f"and {left_out} more" in said[-1]) if left_out else True


def test_skills_are_found_by_words_of_name_and_description() -> None:
    coffee = Told("brew-coffee", "Makes coffee, and no tea.", "brew-coffee")
    bill = Told("bill", "Writes invoices.", "bill")
    assert search([coffee, TEA, bill], "tea") == [TEA, coffee]
    assert search([coffee, TEA, bill], "INVOICES please") == [bill]
    assert search([coffee, TEA, bill], "rocket") == []
    assert search([coffee, TEA], " ") == [coffee, TEA]
