"""A minuscule nnU-Net, really planned, trained, killed, resumed and applied through the stages."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ring_phantom import Cohort, make_cohort

from cof.artefacts.folders import MANIFEST
from cof.artefacts.parquet import read_table, write_table
from cof.cine.volume import Cine, read_cine, read_labels, write_cine
from cof.config.data import LabelSettings
from cof.errors import UsageError
from cof.labels import dataset, training
from cof.labels.predict import Labeller
from cof.labels.stage import label_batch, train
from cof.labels.teacher import Stack, Teacher, intensity_statistics

pytestmark = pytest.mark.slow

SETTINGS = LabelSettings(epochs=6, iterations=20, batch=4, levels=4)
TINY = LabelSettings(epochs=3, iterations=2, batch=2, levels=3, features=4)


def run(cohort: Cohort, out: Path, work: Path, settings: LabelSettings, seed: int = 0) -> None:
    train(
        subjects=cohort.subjects,
        cine=[cohort.cine],
        annotations=[cohort.annotations],
        out=out,
        work=work,
        settings=settings,
        seed=seed,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def labeller(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labeller")
    run(cohort, root / "labeller", root / "work", SETTINGS)
    return root / "labeller"


@pytest.fixture(scope="module")
def whole(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted training of seed 0."""
    root = tmp_path_factory.mktemp("whole")
    run(cohort, root / "labeller", root / "work", TINY)
    assert not list((root / "work").iterdir())
    return files(root / "labeller")


def test_held_out_dice_and_volumes_are_recorded(labeller: Path) -> None:
    record = json.loads((labeller / "labeller.json").read_text())
    assert record["cases"] == {"training": 8, "held_out": 2}
    assert len(record["participants"]["held_out"]) == 1
    for phase in ("ED", "ES"):
        for structure in ("LV", "myocardium", "RV"):
            found = record["held_out"][phase][structure]
            assert found["dice"] > 0.8
            assert abs(found["bias_percent"]) < 25
            assert found["bias_percent"] == pytest.approx(100 * found["bias_ml"] / found["volume_ml"], abs=0.01)
    log = pd.read_csv(labeller / "log.csv")
    assert list(log["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert log["train_loss"].iloc[-1] < log["train_loss"].iloc[0]
    assert log.filter(like="pseudo_dice").iloc[-1].min() > 0.7


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([2 * ((a == k) & (b == k)).sum() / ((a == k).sum() + (b == k).sum()) for k in (1, 2, 3)]))


@pytest.mark.parametrize("spacing", [(10.0, 2.1, 2.1), (10.0, 1.8, 1.8), (10.0, 2.4, 2.4)])
def test_the_teacher_agrees_with_the_official_prediction(
    labeller: Path, tmp_path: Path, spacing: tuple[float, float, float]
) -> None:
    unseen = make_cohort(tmp_path, training=9, test=1, spacings_mm=(spacing,))
    stack = read_cine(unseen.cine / "sub-0009-v2.nii")
    teacher, official = Teacher.load(labeller), Labeller.load(labeller, mirroring=False)
    truth = read_labels(unseen.annotations / "sub-0008-v2.nii.gz")[0]
    annotated = np.array(read_cine(unseen.cine / "sub-0008-v2.nii").frames[0])
    for frame in (np.array(stack.frames[0]), annotated):
        volume = torch.from_numpy(frame.astype(np.float32))
        (probabilities,) = teacher.see([Stack(volume, spacing, *intensity_statistics(frame))])
        assert dice(probabilities.argmax(0).numpy(), official.segment(frame, spacing)) > 0.95
    mine = dice(probabilities.argmax(0).numpy(), truth)
    assert abs(mine - dice(official.segment(annotated, spacing), truth)) <= 0.01


def test_a_batch_is_labelled_and_its_bad_subjects_are_left_out(labeller: Path, cohort: Cohort, tmp_path: Path) -> None:
    cine = tmp_path / "cine"
    good = read_cine(cohort.cine / "sub-0005-v2.nii")
    write_cine(cine / "sub-0005-v2.nii", good)
    write_cine(cine / "sub-0006-v2.nii", Cine(np.zeros_like(good.frames), good.affine, good.frame_times_ms, good.rr_ms))
    write_cine(cine / "sub-0007-v2.nii", good)
    (cine / "sub-0007-v2.nii").write_bytes(b"no image")
    out, exclusions = tmp_path / "labels", tmp_path / "exclusions.parquet"
    label_batch(cine=cine, labeller=labeller, out=out, exclusions=exclusions, settings=SETTINGS)
    assert [path.name for path in out.glob("[!.]*")] == ["sub-0005-v2.nii.gz"]
    rows = read_table(exclusions).set_index("subject")
    assert dict(rows["reason"]) == {"sub-0006-v2": "cine_unreadable", "sub-0007-v2": "cine_unreadable"}
    labels = read_labels(out / "sub-0005-v2.nii.gz")
    assert labels.shape == good.frames.shape
    volumes = (labels == 1).sum(axis=(1, 2, 3))
    assert volumes[0] > volumes[1] > 0
    first = files(out)
    label_batch(cine=cine, labeller=labeller, out=out, exclusions=exclusions, settings=SETTINGS)
    assert files(out) == first


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not_and_nothing_is_printed(
    cohort: Cohort, whole: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("again", 0), ("other", 1)):
        run(cohort, tmp_path / name, tmp_path / f"work-{name}", TINY, seed)
        assert not list((tmp_path / f"work-{name}").iterdir())
    assert capfd.readouterr().out == ""
    again, other = (files(tmp_path / name) for name in ("again", "other"))
    names = {"plans.json", "dataset.json", "labeller.json", "log.csv", "fold_0/checkpoint_final.pth"}
    assert set(whole) == {*names, MANIFEST}
    assert again == whole
    assert other["fold_0/checkpoint_final.pth"] != whole["fold_0/checkpoint_final.pth"]


def test_a_wide_training_measures_the_validation_split_and_is_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort(tmp_path / "cohort", training=3, test=0)
    table = read_table(cohort.subjects)
    table.loc[2, "split"] = "validation"
    write_table(cohort.subjects, table, {})
    settings = TINY.model_copy(
        update={"augmentation": "wide", "half_precision": True, "patch_mm": 60.0, "held_out": None, "mirroring": True}
        | {"whole_epochs": 1}
    )
    seen: list[tuple[int, ...]] = []
    original = training.CineTrainer.train_step

    def watched(self: training.CineTrainer, batch: dict) -> dict:
        seen.append(tuple(batch["data"].shape))
        return original(self, batch)

    monkeypatch.setattr(training.CineTrainer, "train_step", watched)
    for name in ("first", "second"):
        run(cohort, tmp_path / name, tmp_path / "work", settings)
    plans = json.loads((tmp_path / "first/plans.json").read_text())
    whole = tuple(plans["configurations"]["2d"]["patch_size"])
    assert [size[2:] == whole for size in seen] == 2 * [False, False, False, False, True, True]
    assert files(tmp_path / "first") == files(tmp_path / "second")
    record = json.loads((tmp_path / "first/labeller.json").read_text())
    assert record["participants"] == {"training": ["sub-0000", "sub-0001"], "held_out": ["sub-0002"]}
    assert record["cases"] == {"training": 4, "held_out": 2}
    # Slices are labelled whole, whatever the patches of the training.
    assert min(plans["configurations"]["2d"]["patch_size"]) * plans["configurations"]["2d"]["spacing"][0] > 100
    table.loc[2, "split"] = "test"
    write_table(cohort.subjects, table, {})
    with pytest.raises(UsageError, match="validation split"):
        run(cohort, tmp_path / "third", tmp_path / "work", settings)


def test_a_killed_training_resumes_and_ends_like_an_uninterrupted_one(
    cohort: Cohort, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    original = training.CineTrainer.on_epoch_end

    def killed(self: training.CineTrainer) -> None:
        epochs.append(self.current_epoch)
        original(self)
        if epochs == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.CineTrainer, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        run(cohort, tmp_path / "resumed", tmp_path / "work", TINY)
    assert not (tmp_path / "resumed").exists()
    run(cohort, tmp_path / "resumed", tmp_path / "work", TINY)
    assert epochs == [0, 1, 2]
    assert files(tmp_path / "resumed") == whole


def test_a_training_killed_in_its_evaluation_trains_no_epoch_again(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cof.labels.evaluation.evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            run(cohort, tmp_path / "out", tmp_path / "work", TINY)
    monkeypatch.setattr(training.CineTrainer, "train_step", killed)
    run(cohort, tmp_path / "out", tmp_path / "work", TINY)
    assert len(pd.read_csv(tmp_path / "out/log.csv")) == TINY.epochs


def test_changed_annotations_do_not_resume_an_older_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = make_cohort(tmp_path / "cohort", training=2, test=0)
    steps: list[int] = []
    original = training.CineTrainer.on_epoch_end

    def killed_first(self: training.CineTrainer) -> None:
        steps.append(self.current_epoch)
        original(self)
        if len(steps) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.CineTrainer, "on_epoch_end", killed_first)
    with pytest.raises(KeyboardInterrupt):
        run(cohort, tmp_path / "out", tmp_path / "work", TINY)
    cases = dataset.find_cases  # the changed voxel is put in on the way in

    def changed(*args: object) -> list[dataset.Case]:
        found = cases(*args)  # type: ignore[arg-type]
        found[0].labels[0, 0, 0] = 1
        return found

    monkeypatch.setattr(dataset, "find_cases", changed)
    run(cohort, tmp_path / "out", tmp_path / "work", TINY)
    assert steps == [0, 0, 1, 2]
