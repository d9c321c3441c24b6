"""Bull's-eyes: means and agreement of every segment against closed forms, and where a segment is drawn."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Wedge

from cof.figures import bullseye, style
from cof.figures.sources import NotDrawn
from cof.heart.segments import NAMES, SEGMENTS
from constructed import SETTINGS, make_run, name

SUBJECTS = [name(k) for k in range(1, 7)]


def value(quantity: str, heart: str, segment: int, subject: str) -> float:
    """The generated heart has half of the real one's deviation from 10, and a bias of 2."""
    own = segment + 10 * list(bullseye.QUANTITIES).index(quantity) + int(subject[4:8]) ** 2
    return {"real": own, "generated": 0.5 * (own - 10) + 12, "exact": 2 * own}[heart]


def rows(hearts=("real", "generated", "exact"), undefined=()):
    for quantity in bullseye.QUANTITIES:
        for heart in hearts:
            for segment in range(1, SEGMENTS + 1):
                for one in SUBJECTS:
                    found = value(quantity, heart, segment, one)
                    metric = f"{quantity}{bullseye.HEARTS[heart]}_pct"
                    bad = (heart, segment, one) in undefined
                    yield one, f"LV-{segment:02d}", None, metric, math.nan if bad else found
    yield SUBJECTS[0], "LV", None, "strain_radial_pct", 99.0  # a global value is of no segment


def test_means_and_agreement_of_every_segment(tmp_path: Path) -> None:
    frame = bullseye.data(make_run(tmp_path, {"cof": rows()}))
    means = frame[frame["kind"] == "mean"]
    assert len(means) == 3 * 3 * SEGMENTS
    for _, one in means.iterrows():
        own = [value(one["quantity"], one["heart"], one["segment"], subject) for subject in SUBJECTS]
        assert one["mean"] == pytest.approx(np.mean(own))
        assert one["sd"] == pytest.approx(np.std(own, ddof=1))
        assert one["n"] == len(SUBJECTS)
    agreed = frame[frame["kind"] == "agreement"]
    np.testing.assert_allclose(agreed["pearson"], 1)
    for _, one in agreed.iterrows():
        real = np.array([value(one["quantity"], "real", one["segment"], subject) for subject in SUBJECTS])
        assert one["bias"] == pytest.approx(np.mean(0.5 * (real - 10) + 12 - real))


def test_an_undefined_segment_is_counted_and_left_out(tmp_path: Path) -> None:
    undefined = {("generated", 5, one) for one in SUBJECTS[:2]} | {("real", 6, one) for one in SUBJECTS}
    sources = make_run(tmp_path, {"cof": rows(undefined=undefined)})
    frame = bullseye.data(sources)
    agreed = frame[(frame["kind"] == "agreement") & (frame["quantity"] == "strain_radial")].set_index("segment")
    assert agreed.loc[5, "n"] == 4
    assert agreed.loc[6, "n"] == 0
    assert math.isnan(agreed.loc[6, "pearson"])
    table = bullseye.numbers(frame).set_index(["quantity", "segment"])
    assert table.loc[("radial strain (%)", f"6 {NAMES[5]}"), "real"] == "–"
    bullseye.draw(frame, sources)


def test_an_infinite_value_is_undefined(tmp_path: Path) -> None:
    given = [(*row[:4], math.inf if row[:2] == (SUBJECTS[0], "LV-03") else row[4]) for row in rows()]
    sources = make_run(tmp_path, {"cof": given})
    frame = bullseye.data(sources)
    third = frame[frame["segment"] == 3]
    assert set(third["n"]) == {len(SUBJECTS) - 1}
    assert np.isfinite(third[third["kind"] == "mean"]["mean"]).all()
    bullseye.draw(frame, sources)


def test_a_quantity_that_nobody_has_is_drawn_empty(tmp_path: Path) -> None:
    given = [(*row[:4], math.nan if "radial" in row[3] else row[4]) for row in rows()]
    sources = make_run(tmp_path, {"cof": given})
    frame = bullseye.data(sources)
    figure = bullseye.draw(frame, sources)
    assert "no segment has\nboth values" in [text.get_text() for axes in figure.axes for text in axes.texts]
    with style.printed():
        style.encoded(figure)
    radial = frame[(frame["quantity"] == "strain_radial") & (frame["kind"] == "agreement")]
    assert set(radial["n"]) == {0}


def test_without_exact_motion_there_are_two_hearts(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": rows(hearts=("real", "generated"))})
    frame = bullseye.data(sources)
    assert "known only for simulated hearts" in bullseye.remark(frame, sources)
    titles = [axes.get_title() for axes in bullseye.draw(frame, sources).axes if axes.get_title()]
    assert titles == ["real (registered)", "generated", "r over subjects", "means of the segments"]


def test_segments_lie_as_a_reader_sees_them(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": rows()})
    axes = bullseye.draw(bullseye.data(sources), sources).axes[0]
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert len(wedges) == SEGMENTS
    middle = {segment: ((one.theta1 + one.theta2) / 2) % 360 for segment, one in zip(NAMES, wedges)}
    assert middle["basal anterior"] == 90  # on top
    assert middle["apical septal"] == 180  # on the left
    assert middle["mid inferior"] == 270
    assert middle["apical lateral"] == 0
    assert wedges[0].r > wedges[6].r > wedges[12].r  # the base is outside


def test_a_quantity_that_is_missing_is_named_and_no_segments_are_not_drawn(tmp_path: Path) -> None:
    sources = make_run(tmp_path / "a", {"cof": [row for row in rows() if "radial" not in row[3]]})
    frame = bullseye.data(sources)
    assert "lack radial strain (%) of real hearts, radial strain (%) of generated" in bullseye.remark(frame, sources)
    bullseye.draw(frame, sources)
    with pytest.raises(NotDrawn, match="no rows by segment"):
        bullseye.data(make_run(tmp_path / "b", {"cof": rows(hearts=("real",))}))


def test_a_correlation_of_few_subjects_is_listed_and_not_drawn(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": rows()})
    frame = bullseye.data(sources)

    def drawn(least: int) -> set[str]:
        settings = SETTINGS.model_copy(update={"least_subjects": least})
        figure = bullseye.draw(frame, replace(sources, settings=settings))
        (axes,) = (axes for axes in figure.axes if axes.get_title() == "r over subjects")
        return {text.get_text() for text in axes.texts}

    assert drawn(len(SUBJECTS)) == {"1.00"}
    assert drawn(len(SUBJECTS) + 1) == {"–"}
