"""The controls through the stage that trains them and the stage's way back, on the cohort of ring hearts."""

import json

import torch

from cof.artefacts.parquet import read_table, write_table
from cof.cine.volume import read_cine
from cof.config.controls import ScaledMotionSettings, ShuffledSettings
from cof.models.data import Artefacts
from cof.models.stage import train
from cof.models.trained import load
from cof.twins.generation import generate


def made(chain, name, settings, **more):
    """A model of the cohort with its validation subject held out too, so that there are two."""
    inputs = chain.inputs
    sheet = chain.root / "controls.parquet"
    write_table(sheet, read_table(chain.sheet).replace({"split": {"validation": "test"}}), {})
    train(
        subjects=sheet, beats=[inputs["beats"]], grid=[inputs["grid"]], labels=[inputs["labels"]],
        fields=[chain.fields], out=chain.root / "controls" / name, work=chain.root / "work", settings=settings, seed=0,
        **more,
    )  # fmt: skip
    return load(chain.root / "controls" / name)


def opened(chain):
    inputs = chain.inputs
    artefacts = Artefacts.of([inputs["beats"]], [inputs["grid"]], [inputs["labels"]], [])
    every = [
        artefacts.open(name, with_displacement=False, with_cine=False) for name in read_table(chain.sheet)["subject"]
    ]
    return {one.subject: one for one in every if one is not None}


def test_exchanged_ecgs_are_those_of_held_out_subjects(chain):
    shuffled = made(chain, "shuffled", ShuffledSettings(), base=chain.model("cof"))
    donors = json.loads((chain.root / "controls/shuffled/donors.json").read_text())
    assert donors == {"sub-0003-v2": "sub-0004-v2", "sub-0004-v2": "sub-0003-v2"}
    subjects, cof = opened(chain), load(chain.model("cof"))
    for name, donor in donors.items():
        cine = read_cine(chain.root / "cine" / f"{name}.nii")
        wrong = generate(shuffled, subjects[name], cine, 0)
        assert wrong.made.measures["ecg_of"] == donor
        assert wrong.made.measures["ecg_rr_ms"] == subjects[donor].rr_ms
        same = generate(cof, subjects[name].with_ecg_of(subjects[donor]), cine, 0)
        assert torch.equal(wrong.displacement, same.displacement)


def test_scaled_motion_learns_ef_from_the_labels(chain):
    trained = made(chain, "scaled", ScaledMotionSettings(predictors="none"))
    subject = opened(chain)["sub-0004-v2"]
    twin = generate(trained, subject, read_cine(chain.root / "cine" / f"{subject.subject}.nii"), 0)
    # The rings of 24 to 25 mm shrink by 8 mm: EF = 1 - (16.5 / 24.5)^2.
    assert abs(float(twin.made.measures["ef_wanted_pct"]) - 55) < 2
