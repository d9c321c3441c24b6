"""The weights for real scans: today's code reads them, and they say what they have seen and under what terms."""

import json
from pathlib import Path

import numpy as np
import pytest

from cof.artefacts.origin import Origin, labels_notice
from cof.cine.grid import Placement
from cof.labels import artefact
from cof.models.base import Subject, SubjectEcg
from cof.models.trained import load
from cof.motion.stage import load as load_registration
from cof.twins.shipped import REAL, weights_or_default

FOLDERS = [REAL / "labeller", REAL / "registrations/toppr", REAL / "models/cof"]
TERMS = "weights CC BY-NC-SA 4.0, non-commercial"


def test_todays_code_reads_them() -> None:
    assert artefact.load(REAL / "labeller").configuration.patch_size
    registration = load_registration(REAL / "registrations/toppr")
    trained = load(REAL / "models/cof")
    assert registration.shape == trained.shape == (12, 64, 64)
    assert trained.settings.takes_absent_ecg


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_says_what_it_has_seen_and_under_what_terms(folder: Path) -> None:
    origin = Origin.read(folder)
    assert origin is not None
    assert (origin.kind, origin.real, origin.unknown) == ("simulated and real", 80, 0)
    assert origin.terms == TERMS
    assert TERMS in origin.counted
    assert TERMS in labels_notice(origin)
    assert origin.foreign({"real"})


def test_the_licence_lies_beside_them_and_they_are_small() -> None:
    licence = (REAL / "LICENSE").read_text()
    assert "CC-BY-NC-SA-4.0" in licence
    assert "10.1109/TMI.2018.2837502" in licence
    assert sum(path.stat().st_size for path in REAL.rglob("*") if path.is_file()) < 40e6


def test_they_are_the_default_of_a_checkout_and_others_are_taken_as_named(tmp_path: Path) -> None:
    assert weights_or_default(None) == REAL
    assert weights_or_default(tmp_path) == tmp_path


def test_no_validation_patient_has_trained() -> None:
    participants = json.loads((REAL / "labeller/labeller.json").read_text())["participants"]
    held_out = {name for name in participants["held_out"] if name.startswith("patient")}
    assert len(held_out) == 20
    assert not held_out & set(participants["training"])


def test_a_heart_is_generated_without_an_ecg() -> None:
    trained = load(REAL / "models/cof")
    shape, spacing = trained.shape, trained.spacing_mm
    _, y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2 for size in shape), indexing="ij")
    radius = np.hypot(y * spacing[1], x * spacing[2])
    labels = np.where(radius < 24, 1, np.where(radius < 34, 2, 0)).astype(np.uint8)
    anchor = np.array([0.2, 0.9, 0.3], np.float32)[labels]
    placement = Placement((0.0,) * 3, (1.0,) * 3, shape, spacing, shape, spacing, (0.0, 1.0), (True,) * shape[0])
    absent = SubjectEcg.absent("sub-0001-v2", trained.beat_samples)
    made = trained.model.generate(
        Subject(**vars(absent), anchor=anchor, anchor_labels=labels, placement=placement), 10, 0
    )
    assert made.displacement is not None
    moved = made.displacement.norm(dim=1)[:, np.maximum(labels[:, ::2, ::2], 0) > 0]
    assert moved.isfinite().all()
    assert float(moved[0].max()) < 1e-4
    assert 1 < float(moved.mean(1).max()) < 30
