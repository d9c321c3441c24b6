"""The stage of the figures: what it writes, the same bytes twice, and what it says when it cannot draw."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cof.artefacts.parquet import read_table, write_table
from cof.config import parse
from cof.config.evaluation import EvaluationSettings
from cof.config.figures import FIGURES, FigureSettings
from cof.errors import UsageError
from cof.figures.sources import NotDrawn
from cof.figures.stage import DRAWINGS, figure_named, make_figure
from cof.outputs import Form
from cof.privacy import check_paths
from constructed import SETTINGS, make_run, name

HASH = "0123456789ab"


def written(results: Path, figure: str, out: Path, settings: FigureSettings = SETTINGS) -> dict[str, bytes]:
    """The files of a figure by suffix."""
    make_figure(
        name=figure, results=results, settings=settings, out=out, evaluation=EvaluationSettings(), config_hash=HASH
    )
    return {suffix: out.with_name(out.name + suffix).read_bytes() for suffix in Form.FIGURE.value}


def overlaps(*numbers: int):
    for number in numbers:
        for rank in range(2, 8):
            yield name(number), "LV", rank, "dice_slice_es", 0.9 - rank / 100 + number / 1000


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run") / "results"
    make_run(root, {"cof": overlaps(*range(1, 21)), "mean_motion": overlaps(1)})
    return root


@pytest.fixture(scope="module")
def folder(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of one figure."""
    out = tmp_path_factory.mktemp("figures") / "slice_ranks"
    written(results, "slice_ranks", out)
    return out.parent


def read(folder: Path) -> dict[str, bytes]:
    return {suffix: (folder / f"slice_ranks{suffix}").read_bytes() for suffix in Form.FIGURE.value}


def test_every_figure_of_the_catalogue_has_its_module() -> None:
    assert list(DRAWINGS) == list(FIGURES)
    assert all(drawing.__name__ == f"cof.figures.{figure}" for figure, drawing in DRAWINGS.items())


def test_picture_numbers_caption_and_provenance(folder: Path) -> None:
    files = read(folder)
    picture = Image.open(io.BytesIO(files[".png"]))
    assert picture.size[0] == pytest.approx(300 * 7.2, abs=2)
    assert files[".svg"].startswith(b"<?xml")
    frame = pd.read_csv(io.BytesIO(files[".csv"]), dtype={"config_hash": str})
    cell = frame.query("measure == 'dice' and phase == 'ES' and structure == 'LV' and rank == 4").iloc[0]
    assert cell["mean"] == pytest.approx(0.86 + 0.0105)
    assert set(frame["config_hash"]) == {HASH}
    record = json.loads(files[".json"])
    assert record["drawn"]
    assert record["reason"] == ""
    assert (record["config_hash"], record["model"]) == (HASH, "cof")
    assert record["bootstrap"] == {"replicates": 1000, "seed": 0}
    assert "20 subjects" in record["caption"]
    assert "exact there by construction" in record["caption"]
    assert record["caption"] in files[".md"].decode()


def test_the_same_results_give_the_same_bytes(results: Path, folder: Path, tmp_path: Path) -> None:
    first = read(folder)
    assert written(results, "slice_ranks", tmp_path / "x") == first
    assert not re.search(rb"<dc:date>|\d\d:\d\d:\d\d", first[".svg"])


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_without_its_rows_says_so_in_every_file(figure: str, tmp_path: Path) -> None:
    make_run(tmp_path / "results", {"cof": [(name(1), "", None, "ssim", 0.9)], "mean_motion": []})
    files = written(tmp_path / "results", figure, tmp_path / figure)
    record = json.loads(files[".json"])
    assert not record["drawn"]
    assert record["reason"]
    assert f"Not drawn: {record['reason']}." in record["caption"]
    assert record["reason"] in files[".md"].decode()
    assert pd.read_csv(io.BytesIO(files[".csv"])).empty
    assert np.asarray(Image.open(io.BytesIO(files[".png"])).convert("L")).min() < 100  # words stand in its place


def test_outdated_metrics_and_a_missing_file_are_errors(results: Path, tmp_path: Path) -> None:
    make_run(tmp_path, {"cof": overlaps(1, 2)})
    path = tmp_path / "metrics/cof/b001.parquet"
    write_table(path, read_table(path).assign(version="0"), {})
    with pytest.raises(UsageError, match="outdated definitions"):
        written(tmp_path, "slice_ranks", tmp_path / "x")
    path.unlink()
    with pytest.raises(UsageError, match=r"holds no metrics/cof/b001\.parquet"):
        written(tmp_path, "slice_ranks", tmp_path / "x")
    with pytest.raises(UsageError, match="name the model"):
        written(tmp_path, "slice_ranks", tmp_path / "x", FigureSettings())
    with pytest.raises(UsageError, match="there is no figure 'slices'; known: slice_ranks"):
        figure_named("slices")
    assert not list(tmp_path.glob("x.*"))


def test_any_other_error_fails_the_job(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(sources: object) -> pd.DataFrame:
        raise ValueError("a bug")

    monkeypatch.setattr(DRAWINGS["slice_ranks"], "data", broken)
    assert not issubclass(ValueError, NotDrawn)
    with pytest.raises(ValueError, match="a bug"):
        written(results, "slice_ranks", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_no_number_in_the_files_is_shaped_like_a_participant_id(folder: Path, tmp_path: Path) -> None:
    """Nor does a minus sign, as an escape of JSON, make one of a number that follows it."""
    assert list(check_paths([folder])) == []
    slow = [
        row
        for number in range(1, 5)
        for row in (
            (name(number), "LV", None, "peak_filling_ml_s", 10.0),
            (name(number), "LV", None, "peak_filling_reference_ml_s", 376.0 + number / 10),
        )
    ]
    make_run(tmp_path / "results", {"cof": slow, "mean_motion": slow})
    files = written(tmp_path / "results", "curves", tmp_path / "figures/curves")
    assert "−366" in files[".json"].decode()
    assert list(check_paths([tmp_path / "figures"])) == []


CONFIG = {
    "models": {"cof": {"family": "cof"}, "still": {"family": "static"}, "mean": {"family": "mean_motion"}},
    "tables": {},
}


def test_the_configuration_names_the_drawn_models() -> None:
    drawn = parse(CONFIG).drawn
    assert (drawn.model, drawn.population_mean) == ("cof", "mean")
    drawn = parse(CONFIG | {"figures": {"model": "still", "population_mean": "cof"}}).drawn
    assert (drawn.model, drawn.population_mean) == ("still", "cof")
    assert parse({"models": {"cof": {"family": "cof"}}, "tables": {}}).drawn.population_mean is None
    with pytest.raises(UsageError, match=r"figures\.model: no model is called 'other'"):
        parse(CONFIG | {"figures": {"model": "other"}})
