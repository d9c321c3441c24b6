"""The figures of the paper's Fig. 4 beside our Tables I and II, from the tables' own files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cof.config import parse
from cof.config.metrics import METRICS
from cof.report.artefacts import Results
from cof.report.assets import Assets
from cof.report.plots import THEMES, render
from cof.report.section import Sources
from cof.report.sections import numbers, radar
from cof.tables.paper import paper_table
from cof.tables.renderings import CSV_COLUMNS

MODELS = {"cof": "COF", "baseline": "LFDM", "static": "Static anchor"}
TABLE1 = {
    "ssim": (0.98, 0.9, 0.94),
    "psnr": (30.0, 25.0, 20.0),
    "m_corr": (0.5, 0.5, 0.0),
    "fd_imagenet": (2.0, 10.0, 6.0),
}
TABLE2 = {"dice_lv": (0.9, 0.5, 0.7), "iou_lv": (0.8, 0.4, 0.6), "ef_error_pct": (3.0, 9.0, 60.0)}


def results(root: Path, paper: str, values: dict[str, tuple[float, ...]], models: dict[str, str] = MODELS) -> Results:
    """A results folder with one table."""
    rows = [
        {"row": name, "model": model, "metric": key, "n": 8, "mean": means[index], "ci_low": means[index] - 0.02,
         "ci_high": means[index] + 0.03, "better": METRICS[key].better, "config_hash": "abc123"}
        for index, (model, name) in enumerate(models.items())
        for key, means in values.items()
    ]  # fmt: skip
    (root / "tables").mkdir()
    pd.DataFrame(rows, columns=list(CSV_COLUMNS)).to_csv(root / "tables/t.csv", index=False)
    table = {"title": "Ours", "models": models, "metrics": list(values), "paper": paper}
    raw = {"models": {"cof": {"family": "cof"}} | {name: {"family": "static"} for name in models if name != "cof"}}
    return Results(root, parse(raw | {"tables": {"t": table}}))


def overview(root: Path, paper: str, values: dict[str, tuple[float, ...]], **more: dict[str, str]) -> dict | None:
    found = numbers.context(Sources(results(root, paper, values, **more), Assets(root / "assets")))
    return found["tables"][0]["overview"]


def test_the_radar_puts_the_worst_in_the_centre_and_the_best_on_the_ring(tmp_path: Path) -> None:
    found = overview(tmp_path, "table1", TABLE1)
    assert found["numbers"]["headings"] == ["SSIM", "PSNR", "M-Corr", "FD (ImageNet)"]
    # Of a distance, the lower the better.
    assert found["numbers"]["rows"] == [
        ("COF", ["1.00", "1.00", "1.00", "1.00"]),
        ("LFDM", ["0.00", "0.50", "1.00", "0.00"]),
        ("Static anchor", ["0.50", "0.00", "0.00", "0.50"]),
    ]
    assert "LFDM 0.00, 0.50, 1.00, 0.00" in found["figure"]["alt"]
    for theme in ("light", "dark"):
        assert (tmp_path / found["figure"][theme]).read_text().count("<path") > 10
    before = {path.name: path.read_bytes() for path in (tmp_path / "assets").iterdir()}
    overviewed = results_again(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "assets").iterdir()} == before
    assert overviewed["figure"] == found["figure"]


def results_again(root: Path) -> dict:
    """The same section once more, from the file that lies there."""
    table = {"title": "Ours", "models": MODELS, "metrics": list(TABLE1), "paper": "table1"}
    raw = {"models": {"cof": {"family": "cof"}, "baseline": {"family": "static"}, "static": {"family": "static"}}}
    again = Results(root, parse(raw | {"tables": {"t": table}}))
    return numbers.context(Sources(again, Assets(root / "assets")))["tables"][0]["overview"]


def test_the_papers_own_radar_is_that_of_its_numbers() -> None:
    """By the paper's Table I its COF has not the largest value on every spoke: EchoDiffusion leads in SSIM and PSNR."""
    values = paper_table("table1").values
    keys = list(values["COF"])
    rows = {name: {key: pd.Series({"mean": row[key]}) for key in keys} for name, row in values.items()}
    shares = radar.radar_shares(rows, [METRICS[key] for key in keys])
    assert np.stack(list(shares.values())).min() == 0
    assert np.stack(list(shares.values())).max() == 1
    best = {key: max(shares, key=lambda name, place=place: shares[name][place]) for place, key in enumerate(keys)}
    assert best == {
        "ssim": "EchoDiffusion", "psnr": "EchoDiffusion", "fid": "COF", "fvd": "COF", "m_corr": "COF", "m_ssim": "COF"
    }  # fmt: skip
    assert shares["COF"][0] == pytest.approx((0.984 - 0.203) / (0.985 - 0.203))


def test_missing_values_and_ties_have_their_places() -> None:
    metrics = [METRICS["ssim"], METRICS["psnr"]]
    rows = {
        name: {"ssim": pd.Series({"mean": 0.9}), "psnr": pd.Series({"mean": value})}
        for name, value in (("a", 30.0), ("b", np.nan), ("c", 20.0))
    }
    shares = radar.radar_shares(rows, metrics)
    np.testing.assert_array_equal(np.stack(list(shares.values())), [[1, 1], [1, np.nan], [1, 0]])
    render(radar.radar(rows, metrics))


def test_no_label_of_a_radar_leaves_the_figure_or_meets_another() -> None:
    metrics = [metric for metric in METRICS.values() if metric.key in radar._RADAR]
    baselines = yaml.safe_load((Path(__file__).parents[2] / "workflow/config/baselines.yaml").read_text())
    names = ["COF", "Random Sample", "Static anchor", "Population-mean motion", "Oracle TOPPR"]
    names += baselines["tables"]["table1"]["models"].values()
    rows = {
        name: {metric.key: pd.Series({"mean": float(place)}) for metric in metrics} for place, name in enumerate(names)
    }
    figure = radar.radar(rows, metrics)(THEMES[0])
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts] + [figure.legends[0].get_window_extent()]
    assert len(boxes) == len(metrics) + 1
    for one in boxes:
        assert figure.bbox.x0 <= one.x0 < one.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= one.y0 < one.y1 <= figure.bbox.y1
        assert one.count_overlaps(boxes) == 1  # itself


def test_bars_show_overlap_alone_and_say_their_numbers(tmp_path: Path) -> None:
    found = overview(tmp_path, "table2", TABLE2)
    assert found["figure"]["alt"].endswith("Static anchor LV Dice 0.70, LV IoU 0.60")
    assert "error" not in found["figure"]["alt"]
    assert (tmp_path / found["figure"]["light"]).is_file()


def test_tables_without_a_counterpart_or_an_area_have_none(tmp_path: Path) -> None:
    for name, paper, values in (
        ("a", "table1", {"ssim": TABLE1["ssim"], "psnr": TABLE1["psnr"]}),
        ("b", "table2", {"ef_error_pct": TABLE2["ef_error_pct"]}),
        ("c", "table3", TABLE1),
    ):
        (tmp_path / name).mkdir()
        assert overview(tmp_path / name, paper, values) is None


def test_no_two_models_look_alike() -> None:
    looks = [str(radar._series(THEMES[0], place)) for place in range(13)]
    assert len(set(looks)) == 13
