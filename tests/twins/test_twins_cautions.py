"""Cautions of `cof twin` on its networks and on implausible numbers, in the terminal and in summary.json."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from cof.artefacts.parquet import write_table
from cof.cine.volume import Cine, uniform_times, write_cine, write_labels
from cof.labels.doubt import Doubt
from cof.twins.cautions import GENERATED, RATES, SCAN, caution

SURE = Doubt({"ED": 0.93, "ES": 0.9}, ())

AFFINE = np.diag([2.0, 2.0, 10.0, 1.0])
TRAINED: Any = SimpleNamespace(settings=SimpleNamespace(motion="toppr"))


def box(lv_ml: float, frames: int = 10) -> np.ndarray:
    """Labels [T, 5, 60, 60] of a still heart of known volumes: a voxel has 0.04 mL, a row of five slices 12 mL."""
    labels = np.zeros((frames, 5, 60, 60), np.uint8)
    labels[:, :, :10] = 2
    labels[:, :, 10:25] = 3
    labels[:, :, 30 : 30 + round(lv_ml / 12)] = 1
    return labels


def beating(edv_ml: float, esv_ml: float) -> np.ndarray:
    """The same with a cavity and an RV that contract and return."""
    labels = box(esv_ml)
    for frame in (0, 1, 8, 9):
        labels[frame] = box(edv_ml)[frame]
    labels[2:8, :, 20:25] = 0
    return labels


def run(
    root: Path, scan: np.ndarray, generated: np.ndarray, rr_ecg_ms: float, origin: dict[str, int], doubt: Doubt = SURE
) -> dict:
    results, out = root / "results", root / "out"
    for folder in ("labeller", "models/cof", "registrations/toppr"):
        (results / folder).mkdir(parents=True)
    score = {"n": 8, "dice": 0.9686, "bias_ml": -2.0}
    labeller = {"learnt_from": origin, "held_out": {"ED": {"LV": score}}}
    (results / "labeller/labeller.json").write_text(json.dumps(labeller))
    (results / "models/cof/settings.json").write_text(json.dumps({"learnt_from": origin}))
    (results / "registrations/toppr/settings.json").write_text(json.dumps({"subjects": 160}))
    write_table(root / "beats", pd.DataFrame([{"subject": "twin", "rr_ms": rr_ecg_ms}]), {})
    frames = np.arange(scan.size, dtype=np.int16).reshape(scan.shape)
    for folder, labels, name in ((root / "labels", scan, "twin"), (out, generated, "twin.labels")):
        write_labels(folder / f"{name}.nii.gz", labels, AFFINE)
    for folder in (root / "cine", out):
        write_cine(folder / "twin.nii", Cine(frames, AFFINE, uniform_times(len(scan), 800.0), 800.0))
    (out / "summary.json").write_text('{"model": "cof"}')
    with patch("cof.twins.cautions.doubt_of_labels", return_value=doubt):
        caution(root, out, results, "cof", TRAINED)
    return json.loads((out / "summary.json").read_text())


def test_what_cannot_be_and_where_networks_come_from_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="cof"):
        summary = run(tmp_path, beating(48, 24), beating(144, 60), 1242.0, {"simulated": 32})
    assert summary["model"] == "cof"
    found = {(warning["of"], warning["check"]): warning["value"] for warning in summary["warnings"]}
    assert found[SCAN, "lv_edv_ml"] == 48
    assert found[RATES, "rr_ratio"] == pytest.approx(1242 / 800, abs=1e-4)
    assert not {(GENERATED, "lv_edv_ml"), (GENERATED, "rr_ratio")} & found.keys()
    labeller = summary["trained_on"]["labeller"]
    assert labeller["subjects"] == {"simulated": 32, "real": 0, "unknown": 0}
    assert labeller["held_out"] == {"hearts": "simulated hearts", "dice": {"ED": {"LV": {"n": 8, "mean": 0.9686}}}}
    assert summary["trained_on"]["registration"]["hearts"] == "hearts of unknown origin"
    assert "labels by a network trained on simulated hearts" in caplog.messages
    assert "model trained on simulated hearts" in caplog.messages
    assert f"{SCAN}: LV EDV 48.0 mL, plausible is 60 to 500 mL" in caplog.messages
    assert str(tmp_path) not in json.dumps(summary)


def test_a_plausible_heart_by_networks_of_real_hearts_is_left_in_peace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="cof"):
        summary = run(tmp_path, beating(144, 60), beating(144, 60), 800.0, {"real": 800})
    assert summary["warnings"] == []
    assert caplog.messages == ["registration trained on hearts of unknown origin"]


def test_a_lone_anchor_is_judged_by_its_volumes(tmp_path: Path) -> None:
    summary = run(tmp_path, box(24, frames=1), box(144, frames=1), 800.0, {"real": 800})
    assert {(warning["of"], warning["check"]) for warning in summary["warnings"]} == {(SCAN, "lv_edv_ml")}


def test_doubtful_labels_are_said_with_their_slices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    doubt = Doubt({"ED": 0.71, "ES": 0.43}, (1, 9))
    with caplog.at_level("WARNING", logger="cof"):
        summary = run(tmp_path, beating(144, 60), beating(144, 60), 800.0, {"real": 800}, doubt)
    assert f"{SCAN}: labels doubtful, slices 1 and 9" in caplog.messages
    (warning,) = summary["warnings"]
    assert (warning["check"], warning["value"], warning["of"]) == ("label_trust", 0.43, SCAN)
    told = {"trust": {"ED": 0.71, "ES": 0.43}, "doubtful": True, "doubtful_slices": [1, 9]}
    assert summary["labels"] == told | {"message": "labels doubtful, slices 1 and 9"}


def test_labels_that_can_be_trusted_are_no_warning(tmp_path: Path) -> None:
    summary = run(tmp_path, beating(144, 60), beating(144, 60), 800.0, {"real": 800}, Doubt({"ED": 0.7}, (9,)))
    assert summary["warnings"] == []
    told = {"trust": {"ED": 0.7}, "doubtful": False, "doubtful_slices": [9]}
    assert summary["labels"] == told | {"message": "labels doubtful, slice 9"}
