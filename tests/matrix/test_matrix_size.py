"""The matrix is large, most of it asserts on values, and its table is that of the documentation."""

from collections import Counter
from pathlib import Path

from kinds import VALUE
from table import MEDIA, cells, table


def test_most_cells_assert_on_a_value():
    outcomes = Counter(cell.kind.outcome for cell in cells())
    assert outcomes.total() >= 150
    assert outcomes.total() - outcomes[VALUE] <= outcomes.total() / 3


def test_cells_are_told_apart_by_their_names():
    for kinds in MEDIA.values():
        names = [str(cell) for cell in kinds.cells]
        assert len(set(names)) == len(names)


def test_the_table_of_the_documentation_is_that_of_the_matrix():
    assert table() in (Path(__file__).parents[2] / "docs/reference/faults.md").read_text(), table()
