"""Settings of what another run has trained come with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cof import config
from cof.config.borrowed import borrow
from cof.config.overlay import overlaid
from cof.errors import UsageError

REPOSITORY = Path(__file__).parents[1]
BENCH = REPOSITORY / "weights/bench"


def demo(**more: Any) -> config.Config:
    return config.parse(overlaid(yaml.safe_load((REPOSITORY / "config.yaml").read_text()), more))


def record(folder: Path, settings: Any, **more: Any) -> None:
    folder.mkdir(parents=True)
    name = "labeller.json" if folder.name == "labeller" else "settings.json"
    (folder / name).write_text(json.dumps({"settings": settings.model_dump(mode="json")} | more))


def test_the_shipped_weights_fit_the_demo_as_they_are() -> None:
    asked = demo(trained=str(BENCH))
    run, names, remarks = borrow(asked)
    assert names == ["labeller", "registrations/toppr", "models/cof"]
    stored = json.loads((BENCH / "models/cof/settings.json").read_text())
    assert run.models["cof"] == type(run.models["cof"]).model_validate(stored["settings"])
    assert (list(run.grid.shape), run.grid.frames) == (stored["shape"], stored["frames"])
    assert run.beats.samples == stored["beat_samples"]
    assert run.labels.epochs == 40
    assert any("grid as trained there, with" in remark and "shape [10, 64, 64]" in remark for remark in remarks)
    assert run.models["mean_motion"] == asked.models["mean_motion"]


def test_where_no_network_trains_all_are_tested() -> None:
    sheet = {"sheet": "subjects.csv"}
    run, _, remarks = borrow(demo(trained=str(BENCH), cohort=sheet))
    assert run.cohort.shares == {"test": 1.0}
    assert remarks[-1].startswith("no network is trained here: subjects whose sheet names no split go into")
    shares = {"train": 0.5, "test": 0.5}
    assert borrow(demo(trained=str(BENCH), cohort=sheet | {"split": shares}))[0].cohort.shares == shares
    assert borrow(demo(trained=str(BENCH)))[0].cohort == demo().cohort  # a synthetic cohort names its split


@pytest.mark.parametrize(
    "more", [{"models": {"mine": {"like": "cof"}}}, {"registrations": {"mine": {"like": "toppr"}}}]
)
def test_where_a_network_trains_subjects_are_drawn_for_it(more: dict[str, Any]) -> None:
    run, _, remarks = borrow(demo(trained=str(BENCH), cohort={"sheet": "subjects.csv"}, **more))
    assert run.cohort.shares == {"train": 0.75, "validation": 0.05, "test": 0.2}
    assert not any("no network" in remark for remark in remarks)


def test_without_another_run_nothing_changes() -> None:
    assert borrow(demo()) == (demo(), [], [])


def test_what_acts_at_use_stays_this_runs_own(tmp_path: Path) -> None:
    theirs = demo(models={"cof": {"iterations": 7, "ode": {"method": "euler"}}})
    record(tmp_path / "models/cof", theirs.models["cof"])
    record(tmp_path / "registrations/toppr", theirs.registrations["toppr"])
    asked = demo(trained=str(tmp_path), registrations={"toppr": {"iterations": 5, "path": {"harmonics": 9}}})
    run, _, remarks = borrow(asked)
    assert run.models["cof"].iterations == 7
    assert run.models["cof"].ode == asked.models["cof"].ode
    assert (run.registrations["toppr"].iterations, run.registrations["toppr"].path.harmonics) == (600, 9)
    assert remarks == [
        "registrations/toppr as trained there, with iterations 600 (here 5)",
        "models/cof as trained there, with iterations 7 (here 300)",
        "whether registrations/toppr, models/cof learnt from held-out subjects of this cohort is unknown, since "
        f"{tmp_path} has no learnt_from.txt of them",
    ]
    for name in ("models/cof", "registrations/toppr"):
        (tmp_path / name / "learnt_from.txt").write_text("")
    assert borrow(asked)[2] == remarks[:2]


def test_a_labeller_alone_brings_no_grid(tmp_path: Path) -> None:
    record(tmp_path / "labeller", demo(labels={"epochs": 3}).labels)
    run, names, _ = borrow(demo(trained=str(tmp_path)))
    assert (names, run.labels.epochs, run.grid) == (["labeller"], 3, demo().grid)


def test_another_family_and_another_grid_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "one/models/cof", demo().models["static"])
    with pytest.raises(UsageError, match="models/cof is of the family 'static', but this configuration asks for 'cof'"):
        borrow(demo(trained=str(tmp_path / "one")))
    place = {"spacing_mm": [10.0, 2.0, 2.0], "frames": 20}
    record(tmp_path / "two/models/cof", demo().models["cof"], shape=[8, 64, 64], **place)
    record(tmp_path / "two/registrations/toppr", demo().registrations["toppr"], shape=[9, 64, 64], **place)
    with pytest.raises(UsageError, match="were trained on different grids"):
        borrow(demo(trained=str(tmp_path / "two")))


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"settings": {"family": "cof", "iterations": 0}}', "[]"])
def test_a_record_without_settings_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "models/cof").mkdir(parents=True)
    (tmp_path / "models/cof/settings.json").write_text(content)
    with pytest.raises(UsageError, match=r"models/cof/settings\.json does not hold the settings of its training"):
        borrow(demo(trained=str(tmp_path)))
