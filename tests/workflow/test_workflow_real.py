"""A cohort of ACDC's pairs and phantoms of both arms, as `make real` has it; phantoms take the place of patients."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from running import REPOSITORY, snakemake

import acdc
from cof.config.data import PhantomSettings
from cof.motion.fields import load_displacement
from cof.phantom.stage import make_cohort
from cof.sheets.acdc import write_acdc

REAL = REPOSITORY / "workflow/config/real.yaml"
PATIENTS = {"patient001": "DCM", "patient002": "DCM", "patient003": "HCM", "patient004": "HCM"}
SMALL = {
    "cohort": {"batches": 1},
    "labels": {"epochs": 4, "iterations": 40, "batch": 4},
    "grid": {"shape": [6, 32, 32], "spacing_mm": [10.0, 5.0, 5.0], "frames": 10},
    "registrations": {"toppr": {"iterations": 6, "batch": 2, "channels": [8, 16, 16], "seg_slices": 2}},
}


def test_make_writes_the_sheets_that_the_configuration_names() -> None:
    made = subprocess.run(
        [shutil.which("make") or "make", "--dry-run", "--always-make", "real", "ACDC=/data/acdc"],
        cwd=REPOSITORY, text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    sheets = yaml.safe_load(REAL.read_text())["cohort"]["sheet"]
    assert 'cof sheet acdc "/data/acdc" --out results/real/acdc.csv' in made
    phantoms = re.findall(r"cof phantom --out (\S+) --settings (\S+)", made)
    assert ["results/real/acdc.csv", *sorted((f"{out}/subjects.csv" for out, _ in phantoms), reverse=True)] == sheets
    numbers: set[str] = set()
    for _, file in phantoms:
        settings = PhantomSettings.model_validate(yaml.safe_load((REPOSITORY / file).read_text()))
        assert not numbers & set(settings.participants)
        numbers |= set(settings.participants)
    targets = ("labeller", "registrations/toppr", "models/contracted")
    assert " ".join(["workflow/config/real.yaml --", *(f"results/real/{name}" for name in targets)]) in made


def test_without_acdc_make_says_what_to_name() -> None:
    done = subprocess.run(
        [shutil.which("make") or "make", "--dry-run", "--always-make", "real"],
        cwd=REPOSITORY, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode
    assert "make real ACDC=/path/to/acdc" in done.stderr


@pytest.mark.slow
def test_labeller_and_registration_learn_from_pairs_and_cycles(tmp_path: Path) -> None:
    results = tmp_path / "results/real"
    write_acdc(acdc.make(tmp_path / "acdc", PATIENTS, matrix=96), results / "acdc.csv")
    for first, arm in ((1, "population"), (11, "enriched")):
        settings = PhantomSettings(
            first=first, train=2, validation=0, test=1, annotated=2, arm=arm, frames=10, slices=6, matrix=96
        )
        make_cohort(out=results / arm, settings=settings, seed=0, workers=1)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    targets = [f"results/real/{name}" for name in ("labeller", "registrations/toppr", "fields/toppr/b000")]
    snakemake(tmp_path, "--cores", "2", *targets, config=REAL, more=tmp_path / "small.yaml")

    cohort = pd.read_parquet(results / "cohort/subjects.parquet").set_index("subject")
    assert cohort["origin"].value_counts().to_dict() == {"simulated": 6, "real": 4}
    assert cohort["split"].value_counts().to_dict() == {"train": 6, "validation": 2, "test": 2}
    pairs = cohort.index[cohort["es_phase"].notna()]
    assert {f"{name}-v1" for name in PATIENTS} == set(pairs)
    for stage in ("ecg", "beats", "cine", "grid", "fields/toppr"):
        excluded = pd.read_parquet(results / "exclusions" / stage / "b000.parquet")
        assert excluded.empty, (stage, excluded)
    learnt = yaml.safe_load((results / "labeller/labeller.json").read_text())
    assert learnt["cases"] == {"training": 12, "held_out": 4}  # ED and ES; the validation split measures
    registered = yaml.safe_load((results / "registrations/toppr/settings.json").read_text())
    assert registered["learnt_from"] == {"subjects": 6, "participants": 6, "simulated": 4, "real": 2, "unknown": 0}
    lengths = {name: len(load_displacement(results / f"fields/toppr/b000/{name}.safetensors")) for name in cohort.index}
    assert lengths == {name: 2 if name in pairs else 10 for name in cohort.index}
    moved = load_displacement(results / f"fields/toppr/b000/{pairs[0]}.safetensors").float().numpy()
    assert np.abs(moved[0]).max() == 0
    assert np.isfinite(moved).all()
