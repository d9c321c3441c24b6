"""The figure of results against the phase of the anchor."""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd

from cof import config
from cof.config.metrics import METRICS
from cof.report.artefacts import Results
from cof.report.plots import THEMES, render
from cof.report.sections.numbers import _by_anchor, anchor_phases

RAW = {
    "models": {
        "cof": {"family": "cof"},
        "still": {"family": "static"},
        "late": {"family": "anchored", "model": "cof", "anchor_phase": 0.6},
        "early": {"family": "anchored", "model": "cof", "anchor_phase": 0.2},
    },
    "tables": {
        "anchors": {
            "title": "Anchors",
            "models": {"cof": "COF", "still": "Still", "late": "COF late", "early": "COF early"},
            "metrics": ["ssim", "epe_mm"],
        }
    },
}


def test_rows_stand_in_the_order_of_their_phases_behind_the_model_that_they_apply(tmp_path):
    parsed = config.parse(RAW)
    settings = parsed.tables["anchors"]
    rows = {
        printed: {
            key: pd.Series({"mean": value, "ci_low": value - 0.1, "ci_high": value + 0.1}) for key in settings.metrics
        }
        for printed, value in zip(settings.models.values(), np.linspace(1, 2, 4))
    }
    lines = _by_anchor(Results(tmp_path, parsed), settings, rows)
    assert list(lines) == ["COF"]
    assert [phase for phase, _ in lines["COF"]] == [0.0, 0.2, 0.6]
    assert [row["ssim"]["mean"] for _, row in lines["COF"]] == [1.0, 2.0, rows["COF late"]["ssim"]["mean"]]

    draw = anchor_phases(lines, [METRICS[key] for key in settings.metrics])
    with mpl.rc_context():
        panels = draw(THEMES[0]).axes
    assert [list(panel.lines[0].get_xdata()) for panel in panels] == [[0.0, 0.2, 0.6]] * 2
    assert list(panels[0].lines[0].get_ydata()) == [row["ssim"]["mean"] for _, row in lines["COF"]]
    images = render(draw)
    assert images == render(draw)
    assert all(re.match(rb"<\?xml", image) for image in images.values())


def test_a_table_without_other_anchors_has_no_such_figure(tmp_path):
    raw = RAW | {"tables": {"t": {"title": "T", "models": {"cof": "COF"}, "metrics": ["ssim"]}}}
    parsed = config.parse(raw)
    assert _by_anchor(Results(tmp_path, parsed), parsed.tables["t"], {"COF": {}}) == {}
