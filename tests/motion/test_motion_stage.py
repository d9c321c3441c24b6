import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from cof.artefacts.parquet import write_table
from cof.cine.grid import INTENSITY_UNIT, write_grid
from cof.cine.volume import Cine, uniform_times, write_cine, write_labels
from cof.config.motion import PathSettings, RefinementSettings, RegistrationSettings
from cof.errors import UsageError
from cof.motion import training
from cof.motion.dataset import find_subjects, fingerprint, open_subject
from cof.motion.fields import load_displacement, load_record
from cof.motion.stage import load, register_batch, train

# The labeller's own loss is left to the workflow's test, which has a trained labeller.
QUICK = RegistrationSettings(
    iterations=4, batch=2, channels=(4, 8), lambda_seg=0.0, checkpoint_every=2, augmentation=None
)


@pytest.fixture
def cohort(ring, tmp_path):
    """Files of three rings in two batches, and of a subject without a cine; one ring is held out, one has no labels."""
    for seed, batch in ((0, "b000"), (1, "b001"), (2, "b001")):
        subject = ring(seed).subject
        affine = np.diag([*subject.placement.native_spacing_mm[::-1], 1.0])
        native = Cine(subject.native, affine, uniform_times(8, 900.0), 900.0)
        write_cine(tmp_path / "cine" / batch / f"ring-{seed}.nii", native)
        write_labels(tmp_path / "labels" / batch / f"ring-{seed}.nii.gz", subject.labels, affine)
        frames = subject.frames * np.float32(INTENSITY_UNIT)
        write_grid(tmp_path / "grid" / batch / f"ring-{seed}.nii", frames, subject.placement, native)
        lone = Cine(subject.native[:1], affine, uniform_times(1, 900.0), 900.0)
        write_grid(tmp_path / "grid" / batch / f"lone-{seed}.nii", frames[:1], subject.placement, lone)
    (tmp_path / "labeller").mkdir()
    (tmp_path / "labeller" / "labeller.json").write_text("{}")
    rows = [("ring-0", "train"), ("ring-1", "train"), ("ring-2", "test"), ("gone", "train"), ("lone-0", "train")]
    sheet = pd.DataFrame(rows, columns=["subject", "split"]).assign(batch=["b000", "b001", "b001", "b001", "b000"])
    sheet.to_parquet(tmp_path / "subjects.parquet")
    return tmp_path


def _train(root, out="toppr", settings=QUICK, seed=0, hashes=None):
    batches = ("b000", "b001")
    train(
        subjects=root / "subjects.parquet",
        cine=[root / "cine" / batch for batch in batches],
        labels=[root / "labels" / batch for batch in batches],
        grid=[root / "grid" / batch for batch in batches],
        labeller=root / "labeller",
        out=root / out,
        work=root / "work",
        settings=settings,
        seed=seed,
        hashes=hashes,
    )


def test_training_and_registration_of_a_cohort(cohort):
    found = [("ring-0", "e0", "a0"), ("ring-1", "", "a1"), ("ring-2", "e2", "a2"), ("lone-0", "e3", "a3")]
    write_table(cohort / "hashes.parquet", pd.DataFrame(found, columns=["subject", "ecg", "anchor"]), {})
    # How paths are made later is no part of a training.
    path = PathSettings(harmonics=3)
    _train(cohort, settings=QUICK.model_copy(update={"path": path}), hashes=[cohort / "hashes.parquet"])
    names = {path.name for path in (cohort / "toppr").glob("[!.]*")}
    assert names == {"weights.safetensors", "settings.json", "log.csv", "learnt_from.txt"}
    assert (cohort / "toppr/learnt_from.txt").read_text().split() == ["a0", "a1", "e0"]
    record = json.loads((cohort / "toppr" / "settings.json").read_text())
    assert record["subjects"] == 2
    assert record["provenance"]["config_hash"]
    assert list((cohort / "work").iterdir()) == []
    assert len(pd.read_csv(cohort / "toppr" / "log.csv")) == 4

    (cohort / "grid" / "b001" / "broken.nii").write_bytes(b"no image")
    register_batch(
        grid=cohort / "grid" / "b001",
        weights=cohort / "toppr",
        out=cohort / "fields" / "b001",
        exclusions=cohort / "exclusions.parquet",
        settings=PathSettings(refinement=RefinementSettings(steps=2)),
    )
    fields = sorted(path.name for path in (cohort / "fields" / "b001").glob("[!.]*"))
    assert fields == ["ring-1.safetensors", "ring-2.safetensors"]
    assert pd.read_parquet(cohort / "exclusions.parquet")["subject"].tolist() == ["broken"]
    u = load_displacement(cohort / "fields" / "b001" / "ring-2.safetensors")
    assert u.shape == (8, 3, 6, 24, 24)
    assert u.dtype == torch.float16
    assert (u[0] == 0).all()
    assert u[1:].abs().max() > 0
    saved = load_record(cohort / "fields" / "b001" / "ring-2.safetensors")
    assert set(saved["measures"]) == {
        "closure_mm", "saturation", "folded_share", "min_jacobian", "sd_log_jacobian"
    }  # fmt: skip
    assert saved["provenance"]["weights_sha256"]


def test_a_refinement_by_labels_reads_those_of_the_batch(cohort):
    """The labels of a contracting ring alone, after hardly any training, bring its motion out."""
    _train(cohort)
    refinement = RefinementSettings(steps=20, lambda_rec=0, lambda_labels=1)
    batch = {
        "grid": cohort / "grid" / "b000",
        "weights": cohort / "toppr",
        "exclusions": cohort / "exclusions.parquet",
        "settings": PathSettings(refinement=refinement),
    }
    with pytest.raises(UsageError, match="--labels"):
        register_batch(**batch, out=cohort / "none")
    register_batch(**batch, out=cohort / "fields", labels=cohort / "labels" / "b000")
    u = load_displacement(cohort / "fields" / "ring-0.safetensors").float().norm(dim=1).mean((1, 2, 3))
    assert u[4] > 0.5
    assert u[4] > 1.5 * u[1]


def test_annotations_are_found_beside_the_labels_and_decide_the_training(cohort):
    """They are part of what identifies the training's data, and of what it learns."""
    folders = [cohort / stage / "b000" for stage in ("grid", "cine", "labels")]
    arguments = cohort / "subjects.parquet", *([folder] for folder in folders)
    write_labels(cohort / "annotations" / "b000" / "ring-0.nii.gz", np.zeros((8, 8, 100, 96), np.uint8), np.eye(4))
    without, found = find_subjects(*arguments), find_subjects(*arguments, [cohort / "annotations" / "b000"])
    assert [files.annotation for files in without] == [None]
    assert [files.annotation.name for files in found] == ["ring-0.nii.gz"]
    assert len(open_subject(found[0]).annotation) == 8
    assert open_subject(without[0]).annotation is None
    assert fingerprint(without) != fingerprint(found)


def _stopping(evaluate, at):
    """The objective, that ends the training as it computes one of the iterations."""
    calls = []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGUSR1)
        return evaluate(*arguments)

    return stopped, calls


def test_the_same_seed_gives_the_same_bytes_and_a_stopped_training_resumes(cohort, monkeypatch):
    _train(cohort, "whole")
    evaluate, calls = _stopping(training.evaluate_pairs, 3)
    monkeypatch.setattr(training, "evaluate_pairs", evaluate)
    with pytest.raises(SystemExit):
        _train(cohort, "stopped")
    assert not (cohort / "stopped").exists()
    _train(cohort, "stopped")
    assert len(calls) == 4
    for name in ("weights.safetensors", "settings.json", "log.csv"):
        assert (cohort / "stopped" / name).read_bytes() == (cohort / "whole" / name).read_bytes()


def test_a_checkpoint_of_other_data_is_not_resumed(cohort, ring, monkeypatch):
    with monkeypatch.context() as patch:
        for _ in range(2):
            evaluate, _ = _stopping(training.evaluate_pairs, 1)
            patch.setattr(training, "evaluate_pairs", evaluate)
            with pytest.raises(SystemExit):
                _train(cohort)
        assert len(list((cohort / "work").iterdir())) == 1
        changed = np.roll(ring(0).subject.labels, 1, axis=2)
        write_labels(cohort / "labels" / "b000" / "ring-0.nii.gz", changed, np.eye(4))
        evaluate, _ = _stopping(training.evaluate_pairs, 1)
        patch.setattr(training, "evaluate_pairs", evaluate)
        with pytest.raises(SystemExit):
            _train(cohort)
    assert len(list((cohort / "work").iterdir())) == 2


def test_a_trained_network_comes_back_from_its_folder(cohort):
    _train(cohort)
    trained = load(cohort / "toppr")
    assert trained.settings == QUICK
    assert trained.shape == (6, 48, 48)
    assert not trained.network.training
    assert trained.network.spacing_mm == (10.0, 3.6, 3.6)


def test_missing_things_are_the_users_fault(cohort):
    with pytest.raises(UsageError, match="not a trained registration"):
        load(cohort / "nowhere")
    pd.DataFrame({"subject": ["gone"], "split": ["train"]}).to_parquet(cohort / "subjects.parquet")
    with pytest.raises(UsageError, match="no subject of the training split"):
        _train(cohort)


def test_subjects_on_different_grids_are_refused(cohort, ring):
    subject = ring(1).subject
    native = Cine(subject.native, np.diag([1.8, 1.8, 10, 1]), uniform_times(8, 900.0), 900.0)
    other = subject.placement.__class__.from_dict(subject.placement.to_dict() | {"spacing_mm": (10.0, 2.7, 2.7)})
    frames = subject.frames * np.float32(INTENSITY_UNIT)
    write_grid(cohort / "grid" / "b001" / "ring-1.nii", frames, other, native)
    with pytest.raises(UsageError, match="different canonical grids"):
        _train(cohort)


@pytest.mark.slow
def test_two_processes_of_the_command_train_what_one_trains(cohort):
    _train(cohort)
    options = [f"--{name}={cohort / name}" for name in ("cine", "labels", "grid")]
    options += [f"--subjects={cohort / 'subjects.parquet'}", f"--labeller={cohort / 'labeller'}"]
    options += [f"--out={cohort / 'two'}", f"--work={cohort / 'work'}", "--devices=2"]
    options += [f"--settings={QUICK.model_dump_json()}", f"--curves={cohort / 'curves'}"]
    done = subprocess.run([sys.executable, "-m", "cof", "toppr", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logs = [pd.read_csv(cohort / folder / "log.csv") for folder in ("toppr", "two")]
    np.testing.assert_allclose(*logs, rtol=1e-4, atol=1e-6)
    one, two = (load_file(cohort / folder / "weights.safetensors") for folder in ("toppr", "two"))
    length = torch.cat([value.flatten() for value in one.values()]).norm()
    assert torch.cat([(one[name] - two[name]).flatten() for name in one]).norm() < 1e-3 * length
    assert [path.name for path in (cohort / "curves").iterdir()] == ["events.tfevents"]


def test_a_pair_of_ed_and_es_trains_and_is_registered_without_a_low_pass(cohort, ring):
    subject = ring(4).subject
    affine = np.diag([*subject.placement.native_spacing_mm[::-1], 1.0])
    both, times = [0, 4], np.array([0.0, np.nan])
    pair = Cine(subject.native[both], affine, times, np.nan, es_phase=0.4)
    write_cine(cohort / "cine/b000/pair.nii", pair)
    write_labels(cohort / "labels/b000/pair.nii.gz", subject.labels[both], affine)
    frames = (subject.frames * np.float32(INTENSITY_UNIT))[both]
    write_grid(cohort / "grid/b000/pair.nii", frames, subject.placement, pair)
    sheet = pd.read_parquet(cohort / "subjects.parquet")
    more = pd.DataFrame([{"subject": "pair", "split": "train", "batch": "b000"}])
    pd.concat([sheet, more], ignore_index=True).to_parquet(cohort / "subjects.parquet")
    _train(cohort)
    assert json.loads((cohort / "toppr/settings.json").read_text())["subjects"] == 3
    for name, path in (("plain", PathSettings()), ("smooth", PathSettings(harmonics=1))):
        register_batch(
            grid=cohort / "grid/b000", weights=cohort / "toppr", out=cohort / name,
            exclusions=cohort / "exclusions.parquet", settings=path,
        )  # fmt: skip
        assert pd.read_parquet(cohort / "exclusions.parquet").empty
    plain, smooth = (load_displacement(cohort / name / "pair.safetensors") for name in ("plain", "smooth"))
    assert plain.shape == (2, 3, 6, 24, 24)
    assert torch.equal(plain, smooth)
    assert plain[1].abs().max() > 0
    assert load_record(cohort / "plain/pair.safetensors")["es_phase"] == 0.4
    cycles = (load_displacement(cohort / name / "ring-0.safetensors") for name in ("plain", "smooth"))
    assert not torch.equal(*cycles)
