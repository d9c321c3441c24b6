import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from cof.artefacts.parquet import write_table
from cof.artefacts.provenance import stamp
from cof.cine.grid import Placement, read_grid, write_grid
from cof.cine.volume import Cine, uniform_times, write_labels
from cof.config.baselines import EchoDiffusionSettings, EfPredictorSettings, SuperResolutionSettings
from cof.config.controls import RandomSettings, StaticSettings, TrueEfSettings
from cof.config.flow import CofSettings, VelocitySettings
from cof.config.training import TrialSettings
from cof.errors import UsageError
from cof.models.data import Artefacts, Opened, OpenedExamples, ecgs_of, ejection_fraction
from cof.models.exchange import exchange, exchanged
from cof.models.stage import train
from cof.models.trained import load
from cof.motion.fields import save_displacement

SHAPE, SPACING, FRAMES = (4, 16, 16), (10.0, 4.0, 4.0), 6
AFFINE = np.diag([4.0, 4.0, 10.0, 1.0])
NAMES = [f"sub-000{index}-v2" for index in range(4)]
SETTINGS = CofSettings(
    field=VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4),
    iterations=4, batch=2, phases=2, checkpoint_every=2,
)  # fmt: skip


def write_heart(root, name, seed, spacing=SPACING):
    rng = np.random.default_rng(seed)
    placement = Placement((0.0,) * 3, (1.0,) * 3, SHAPE, spacing, SHAPE, spacing, (0.0, 1000.0), (True,) * SHAPE[0])
    frames = rng.random((FRAMES, *SHAPE)).astype(np.float32)
    native = Cine((1000 * frames).astype(np.int16), AFFINE, uniform_times(FRAMES, 900.0), 900.0)
    write_grid(root / f"grid/b000/{name}.nii", frames, placement, native)
    write_labels(root / f"labels/b000/{name}.nii.gz", rng.integers(0, 4, (FRAMES, *SHAPE)), AFFINE)
    motion = torch.from_numpy(rng.normal(size=(FRAMES, 3, SHAPE[0], SHAPE[1] // 2, SHAPE[2] // 2)))
    motion[0] = 0
    save_displacement(
        root / f"fields/b000/{name}.safetensors", motion, {"measures": {"closure_mm": float(motion.std())}}
    )


def write_beats(root, seed=0, st_level=0.1, sex="F"):
    rng = np.random.default_rng(seed)
    rows = [
        {
            "subject": name,
            "beat": rng.normal(size=12 * 32).astype(np.float32),
            "rr_ms": 900.0 - 50 * index,
            "features": np.r_[np.full(10, np.nan), st_level, index].astype(np.float32),
            "sex": sex,
        }
        for index, name in enumerate(NAMES)
    ]
    write_table(root / "beats/b000.parquet", pd.DataFrame(rows), stamp({}))


@pytest.fixture
def cohort(tmp_path):
    for seed, name in enumerate(NAMES):
        write_heart(tmp_path, name, seed)
    write_beats(tmp_path)
    split = ["train", "train", "train", "validation"]
    pd.DataFrame({"subject": NAMES, "split": split, "batch": "b000"}).to_parquet(tmp_path / "subjects.parquet")
    return tmp_path


def artefacts(root):
    return Artefacts.of(
        [root / "beats/b000.parquet"], *([root / name / "b000"] for name in ("grid", "labels", "fields"))
    )


def fingerprint(root):
    return artefacts(root).known(NAMES[0], with_displacement=True).fingerprint


def test_a_fingerprint_changes_with_the_data_and_not_with_the_clock(cohort):
    before = fingerprint(cohort)
    write_heart(cohort, NAMES[0], 0)
    assert fingerprint(cohort) == before
    seen = {before}
    for change in (
        lambda: write_beats(cohort, seed=1),
        lambda: write_beats(cohort, st_level=0.2),
        lambda: write_beats(cohort, sex="M"),
        lambda: write_labels(cohort / f"labels/b000/{NAMES[0]}.nii.gz", np.ones((FRAMES, *SHAPE), np.uint8), AFFINE),
        lambda: write_heart(cohort, NAMES[0], 9, spacing=(10.0, 4.5, 4.5)),
        lambda: write_heart(cohort, NAMES[0], 10),
    ):
        change()
        seen.add(fingerprint(cohort))
    assert len(seen) == 7


def test_subjects_are_opened_when_asked_for_and_few_stay_open(cohort):
    opened = []

    def opener(name):
        opened.append(name)
        return artefacts(cohort).open(name, with_displacement=True, with_cine=False)

    examples = Opened(NAMES, opener, kept=2)
    assert len(examples) == 4
    assert opened == []
    assert examples[1].subject == NAMES[1]
    assert examples[1] is examples[1]
    assert opened == [NAMES[1]]
    assert [example.subject for example in examples] == NAMES
    assert examples[0].subject == NAMES[0]
    assert len(opened) == 5


def lazily(root, opened, **what):
    """All subjects, of which `opened` takes down every one that is read."""
    found = artefacts(root)

    def opener(name):
        opened.append(name)
        return found.open(name, with_displacement=True, with_cine=False, **what)

    return OpenedExamples(NAMES, opener, found.ecg, kept=2)


def test_ecgs_are_there_without_opening_a_heart(cohort):
    opened = []
    examples = lazily(cohort, opened)
    ecgs = ecgs_of(examples)
    assert [(ecg.subject, ecg.rr_ms, ecg.sex) for ecg in ecgs] == [
        (name, 900.0 - 50 * index, "F") for index, name in enumerate(NAMES)
    ]
    assert opened == []
    for ecg, example in zip(ecgs, examples):
        np.testing.assert_array_equal(ecg.beat, example.beat)
        np.testing.assert_array_equal(ecg.features, example.features)
    eager = list(examples)
    assert ecgs_of(eager) is eager


def test_an_exchange_opens_a_heart_when_it_is_asked_for_and_with_anothers_ecg(cohort):
    opened = []
    examples = lazily(cohort, opened)
    ecgs = ecgs_of(examples)
    donors = exchange(ecgs, "0")
    given = exchanged(examples, ecgs, donors)
    assert opened == []
    assert len(given) == 4
    third = given[2]
    assert opened == [NAMES[2]]
    assert third.subject == NAMES[2]
    donor = ecgs[NAMES.index(donors[NAMES[2]])]
    np.testing.assert_array_equal(third.beat, donor.beat)
    np.testing.assert_array_equal(third.features, donor.features)
    assert third.rr_ms == donor.rr_ms != ecgs[2].rr_ms
    assert sorted(example.rr_ms for example in given) == sorted(ecg.rr_ms for ecg in ecgs)


def test_the_ef_is_that_of_the_labels_and_is_measured_once(cohort, monkeypatch):
    labels = np.zeros((FRAMES, *SHAPE), np.uint8)
    labels[:, 1:3, 4:8, 4:8] = 1
    labels[3, 2] = 0  # half of the cavity
    write_labels(cohort / f"labels/b000/{NAMES[0]}.nii.gz", labels, AFFINE)
    measured = []
    monkeypatch.setattr(
        "cof.models.data.ejection_fraction", lambda path: measured.append(path.name) or ejection_fraction(path)
    )
    examples = lazily(cohort, [], with_ef=True)
    for _ in range(2):
        efs = [example.ef_pct for example in examples]
    assert efs[0] == pytest.approx(50)
    assert sorted(measured) == [f"{name}.nii.gz" for name in NAMES]
    assert lazily(cohort, [])[0].ef_pct is None


def run(root, out="model", settings=SETTINGS, base=None, hashes=None, **changes):
    inputs = {name: [root / name / "b000"] for name in ("grid", "labels", "fields")}
    train(
        subjects=root / "subjects.parquet", beats=[root / "beats/b000.parquet"], **inputs,
        out=root / out, work=root / "work", settings=settings.model_copy(update=changes), seed=0,
        base=base, hashes=hashes,
    )  # fmt: skip


def test_a_checkpoint_of_other_data_or_settings_is_passed_over(cohort, monkeypatch):
    from cof.models.flow.objective import Phases

    def stop(*arguments):
        raise MemoryError

    with monkeypatch.context() as patch:
        draw = Phases.draw
        patch.setattr(Phases, "draw", lambda source, iteration: stop() if iteration == 3 else draw(source, iteration))
        for changes in ({}, {}, {"phases": 3}):
            with pytest.raises(MemoryError):
                run(cohort, **changes)
        assert len(list((cohort / "work").iterdir())) == 2
        write_heart(cohort, NAMES[1], 7)
        with pytest.raises(MemoryError):
            run(cohort)
    assert len(list((cohort / "work").iterdir())) == 3
    run(cohort)
    assert sorted(path.name for path in (cohort / "model").glob("[!.]*")) == [
        "card.md", "log.csv", "settings.json", "weights.safetensors"
    ]  # fmt: skip
    assert len(list((cohort / "work").iterdir())) == 2  # its own is gone
    assert pd.read_csv(cohort / "model/log.csv")["validation_loss"].notna().all()


def test_only_an_oracle_of_the_ef_is_told_it_and_its_card_says_so(cohort):
    stage = {"channels": (8, 8), "iterations": 1, "batch": 1, "steps": 1}
    settings = EchoDiffusionSettings(
        video_frames=4, **stage, fine=SuperResolutionSettings(**stage),
        predictor=EfPredictorSettings(ecg_channels=(4, 8), embedding=8, iterations=1, batch=2),
    )  # fmt: skip
    run(cohort, "predicted", settings)
    run(cohort, "told", TrueEfSettings(), base=cohort / "predicted")
    for name, words in (("predicted", "anchor and ECG at most"), ("told", "own ejection fraction (an oracle")):
        trained = load(cohort / name)
        sees_ef = "ef" in trained.settings.sees
        assert sees_ef is (name == "told")
        assert words in (cohort / name / "card.md").read_text()
        example = artefacts(cohort).open(NAMES[3], with_displacement=False, with_cine=False, with_ef=sees_ef)
        wanted = trained.model.generate(example, FRAMES, 0).measures["ef_wanted_pct"]
        own = round(ejection_fraction(cohort / f"labels/b000/{NAMES[3]}.nii.gz"), 3)
        assert (wanted == own) is sees_ef
    assert not list((cohort / "work").iterdir())  # no checkpoint of any part is left


def test_every_network_of_a_cascade_has_its_trials_and_the_card_shows_them(cohort):
    three = TrialSettings(share=0.5)
    stage = {"channels": (8, 8), "iterations": 2, "batch": 1, "steps": 1, "trials": three}
    settings = EchoDiffusionSettings(
        video_frames=4, **stage, fine=SuperResolutionSettings(**stage),
        predictor=EfPredictorSettings(ecg_channels=(4, 8), embedding=8, iterations=2, batch=2, trials=three),
    )  # fmt: skip
    run(cohort, "tried", settings)
    record = json.loads((cohort / "tried/settings.json").read_text())
    of = [trial["training"] for trial in record["trials"]]
    assert of == [f"echodiffusion: {part}" for part in ("predictor", "base", "fine") for _ in three.factors]
    for network in range(3):
        own = record["trials"][3 * network : 3 * network + 3]
        losses = [trial["validation_loss"] for trial in own]
        assert [trial["chosen"] for trial in own] == [loss == min(losses) for loss in losses]
    assert len(record["trainings"]) == 3
    card = (cohort / "tried/card.md").read_text()
    assert card.count(", used |") == 3
    assert "## Trials" in card
    assert not list((cohort / "work").iterdir())
    run(cohort)
    assert "## Trials" not in (cohort / "model/card.md").read_text()


def test_subjects_on_different_grids_are_refused(cohort):
    write_heart(cohort, NAMES[2], 2, spacing=(10.0, 5.0, 5.0))
    with pytest.raises(UsageError, match="different canonical grids"):
        run(cohort)


@pytest.mark.slow
def test_two_processes_of_the_command_make_the_model_that_one_makes(cohort):
    run(cohort)
    options = [f"--{name}={cohort / name}" for name in ("beats", "grid", "labels", "fields", "work")]
    options += [f"--subjects={cohort / 'subjects.parquet'}", f"--out={cohort / 'two'}"]
    options += [f"--settings={SETTINGS.model_dump_json()}", "--devices=2"]
    done = subprocess.run([sys.executable, "-m", "cof", "train", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logs = [pd.read_csv(cohort / folder / "log.csv") for folder in ("model", "two")]
    np.testing.assert_allclose(*logs, rtol=1e-4)
    one, two = (load_file(cohort / folder / "weights.safetensors") for folder in ("model", "two"))
    travelled = torch.cat([value.flatten() for value in one.values()]).norm()
    assert torch.cat([(one[name] - two[name]).flatten() for name in one]).norm() < 1e-3 * travelled
    assert [path.name for path in cohort.iterdir() if path.name.startswith(".")] == []


def test_a_cohort_that_is_all_test_makes_what_learns_nothing_and_no_more(cohort):
    table = pd.read_parquet(cohort / "subjects.parquet").assign(split="test")
    table.to_parquet(cohort / "subjects.parquet")
    run(cohort, "static", StaticSettings())
    record = json.loads((cohort / "static/settings.json").read_text())
    assert (record["shape"], record["subjects"]) == (list(SHAPE), {"train": 0, "validation": 0})
    with pytest.raises(UsageError, match="random: no train subject has everything that is needed"):
        run(cohort, "random", RandomSettings())


def test_a_model_records_the_hashes_of_what_it_has_learnt_from_and_of_nothing_else(cohort):
    rows = [{"subject": name, "ecg": f"e{index}", "anchor": f"a{index}"} for index, name in enumerate(NAMES)]
    write_table(cohort / "hashes.parquet", pd.DataFrame(rows), {})
    run(cohort, "random", RandomSettings(), hashes=[cohort / "hashes.parquet"])
    assert (cohort / "random/learnt_from.txt").read_text().split() == ["a0", "a1", "a2", "e0", "e1", "e2"]
    run(cohort, "static", StaticSettings(), hashes=[cohort / "hashes.parquet"])
    assert (cohort / "static/learnt_from.txt").read_text() == ""


def test_a_pair_of_ed_and_es_is_no_cycle_to_learn_from(cohort):
    path = cohort / f"grid/b000/{NAMES[0]}.nii"
    frames, placement, canonical = read_grid(path)
    times = np.array([0.0, np.nan])
    pair = replace(canonical, frames=canonical.frames[:2], frame_times_ms=times, rr_ms=np.nan, es_phase=0.4)
    write_grid(path, frames[:2], placement, pair)
    run(cohort, "random", RandomSettings())
    record = json.loads((cohort / "random/settings.json").read_text())
    assert record["subjects"] == {"train": 2, "validation": 1}  # of three and one
