"""Slice ranks: every cell against what was put in."""

import math
from pathlib import Path

import numpy as np
import pytest

from cof.figures import slice_ranks
from cof.figures.sources import NotDrawn
from constructed import SETTINGS, make_run, name

STRUCTURES = ("LV", "myocardium", "RV")


def value(metric: str, structure: str, rank: int, number: int) -> float:
    """One subject's value: its mean over the subjects 1, 2 and 3 is that of subject 2."""
    return len(metric) / 100 + STRUCTURES.index(structure) / 10 + rank / 1000 + number / 10_000


def rows(numbers=(1, 2, 3), ranks=range(1, 9)):
    for measure in slice_ranks.MEASURES:
        for phase in slice_ranks.PHASES:
            metric = slice_ranks.row_name(measure, phase)
            for structure in STRUCTURES:
                for rank in ranks:
                    for number in numbers:
                        yield name(number), structure, rank, metric, value(metric, structure, rank, number)


def test_a_cell_is_the_mean_over_subjects_with_their_number(tmp_path: Path) -> None:
    frame = slice_ranks.data(make_run(tmp_path, {"cof": rows()}))
    assert len(frame) == 3 * 3 * 3 * 6
    assert set(frame["rank"]) == {2, 3, 4, 5, 6, 7}
    for _, cell in frame.iterrows():
        metric = slice_ranks.row_name(cell["measure"], cell["phase"])
        assert cell["mean"] == pytest.approx(value(metric, cell["structure"], cell["rank"], 2))
        assert cell["sd"] == pytest.approx(1e-4)
        assert cell["n"] == cell["subjects"] == 3


def test_the_rows_are_those_of_the_evaluation() -> None:
    names = {slice_ranks.row_name(measure, phase) for measure in slice_ranks.MEASURES for phase in slice_ranks.PHASES}
    assert names == {
        *("dice_slice_ed", "dice_slice_es", "dice_slice", "iou_slice_ed", "iou_slice_es", "iou_slice"),
        *("hd95_slice_ed_mm", "hd95_slice_es_mm", "hd95_slice_mm"),
    }


def test_an_undefined_distance_is_counted_and_left_out(tmp_path: Path) -> None:
    given = [
        (subject, structure, rank, metric, math.nan if (subject, metric) == (name(3), "hd95_slice_es_mm") else of)
        for subject, structure, rank, metric, of in rows()
    ]
    sources = make_run(tmp_path, {"cof": given})
    frame = slice_ranks.data(sources)
    cells = frame[(frame["measure"] == "hd95") & (frame["phase"] == "ES")]
    assert (cells["n"] == 2).all()
    assert (cells["subjects"] == 3).all()
    for _, cell in cells.iterrows():
        expected = np.mean([value("hd95_slice_es_mm", cell["structure"], cell["rank"], k) for k in (1, 2)])
        assert cell["mean"] == pytest.approx(expected)
    assert f"{3 * 6} values are undefined" in slice_ranks.remark(frame, sources)


def test_rows_that_are_missing_are_named_and_their_cells_are_empty(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": [row for row in rows() if row[3] != "iou_slice" and row[2] < 7]})
    frame = slice_ranks.data(sources)
    assert "lack the rows iou_slice." in slice_ranks.remark(frame, sources)
    assert frame[frame["rank"] == 7]["n"].max() == 0
    table = slice_ranks.numbers(frame).set_index(["measure", "phase", "structure"])
    assert set(table["rank 7"]) == {"–"}
    assert table.loc[("Dice", "ED", "LV"), "rank 2"] == f"{value('dice_slice_ed', 'LV', 2, 2):.3f} (n 3)"
    slice_ranks.draw(frame, sources)


def test_a_run_without_such_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotDrawn, match="no rows by slice rank, such as dice_slice_ed"):
        slice_ranks.data(make_run(tmp_path, {"cof": [(name(1), "LV", None, "dice", 0.9)]}))


def test_the_drawn_model_is_that_of_the_settings(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": rows(), "mean_motion": rows(numbers=[9])})
    assert SETTINGS.model == "cof"
    assert slice_ranks.data(sources)["subjects"].max() == 3
