import json

import numpy as np
import pandas as pd
import pytest
import torch

from cof.cine.grid import read_grid
from cof.cine.volume import read_cine, read_labels, sidecar
from cof.config.controls import AnchoredSettings, EnsembleSettings, RandomSettings, StaticSettings
from cof.config.data import LabelSettings
from cof.config.flow import CofSettings, OdeSettings
from cof.errors import UsageError
from cof.metrics.overlap import dice
from cof.models.flow import anchors
from cof.models.stage import train
from cof.models.trained import load
from cof.motion.fields import load_displacement
from cof.twins.artefacts import read_canonical
from cof.twins.stage import generate_batch

WHOLE, LONE, EXCLUDED = "sub-0004-v2", "sub-0005-v2", "sub-0006-v2"
FAMILIES = ("cof", "static", "random", "mean_motion", "oracle")


@pytest.fixture
def labeller(threshold, monkeypatch):
    """Labels by brightness in place of a trained nnU-Net, which the slow test of single twins runs."""
    monkeypatch.setattr("cof.labels.predict.Labeller", threshold)
    return threshold


def generate(chain, name, out, seed=0, settings=None, **changes):
    trained = load(chain.model(name))
    given = {
        **chain.inputs, "fields": chain.fields if trained.settings.sees else None, "model": chain.model(name),
        "labeller": chain.root, "out": out, "exclusions": out.with_suffix(".parquet"),
        "settings": settings or trained.settings, "labels_settings": LabelSettings(), "seed": seed,
    }  # fmt: skip
    generate_batch(**(given | changes))
    return pd.read_parquet(given["exclusions"])


def test_a_models_folder_says_what_its_training_took(chain):
    network = load(chain.model("cof")).model.network
    trained = sum(parameter.numel() for parameter in network.parameters())
    for name, expected in (
        ("cof", [{"thousand_parameters": trained / 1000, "iterations": 4, "thousand_samples": 4 * 2 / 1000,
                  "device": "gpu" if torch.cuda.is_available() else "cpu", "processes": 1}]),
        ("mean_motion", []),
    ):  # fmt: skip
        assert json.loads((chain.model(name) / "settings.json").read_text())["trainings"] == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_artefacts_of_every_family_are_whole_and_deterministic(name, chain, labeller, tmp_path):
    excluded = generate(chain, name, tmp_path / "first")
    generate(chain, name, tmp_path / "second")
    assert excluded.empty
    made = [WHOLE] if name == "oracle" else [WHOLE, LONE]  # an anchor alone has no motion to see
    suffixes = (".nii", ".json", ".labels.nii.gz", ".safetensors", ".function.json")
    assert {path.name for path in (tmp_path / "first").glob("[!.]*")} == {s + end for s in made for end in suffixes}
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name

    for subject in made:
        real = read_cine(chain.inputs["cine"] / f"{subject}.nii")
        twin = read_cine(tmp_path / "first" / f"{subject}.nii")
        frames = len(real.frames) if subject == WHOLE else 8
        assert twin.frames.shape == (frames, *real.frames.shape[1:])
        assert twin.frames.dtype == np.int16
        np.testing.assert_array_equal(twin.affine, real.affine)
        assert twin.rr_ms == (real.rr_ms if subject == WHOLE else 904.0)
        assert len(twin.frame_times_ms) == frames
        labels = read_labels(tmp_path / "first" / f"{subject}.labels.nii.gz")
        assert labels.shape == twin.frames.shape
        canonical, displacement = read_canonical(tmp_path / "first" / f"{subject}.safetensors")
        assert canonical.shape == (8, 6, 32, 32)
        assert canonical.dtype == torch.float16
        assert 0 <= canonical.min() <= canonical.max() <= 1
        assert (displacement is None) == (name == "random")
        if displacement is not None:
            assert displacement.shape == (8, 3, 6, 16, 16)
            np.testing.assert_array_equal(twin.frames[0], real.frames[0])
            grid, _, _ = read_grid(chain.inputs["grid"] / f"{subject}.nii")
            np.testing.assert_allclose(canonical[0].float().numpy(), grid[0], atol=1e-3)
        record = json.loads(sidecar(tmp_path / "first" / f"{subject}.nii").read_text())
        assert set(record["provenance"]) == {"config_hash", "versions", "model", "seed", "labels"}
        assert ("donor" in record["measures"]) == (name == "random")
        assert ("closure_mm" in record["measures"]) == (name == "cof")


def test_oracle_twin_moves_as_registered(chain, labeller, tmp_path):
    generate(chain, "oracle", tmp_path / "out")
    _, displacement = read_canonical(tmp_path / "out" / f"{WHOLE}.safetensors")
    assert torch.equal(displacement, load_displacement(chain.fields / f"{WHOLE}.safetensors"))
    function = json.loads((tmp_path / "out" / f"{WHOLE}.function.json").read_text())
    curve = function["LV"]["volume_ml"]
    labels = read_labels(tmp_path / "out" / f"{WHOLE}.labels.nii.gz")
    np.testing.assert_allclose(curve, (labels == 1).sum((1, 2, 3)) * 0.04, atol=0.01)
    assert curve[0] == max(curve) == function["LV"]["edv_ml"]
    assert curve[5] == min(curve) == function["LV"]["esv_ml"]  # the contraction peaks in mid-cycle
    assert 10 < function["LV"]["ef_pct"] < 90
    assert function["LV"]["co_l_min"] == pytest.approx(function["LV"]["sv_ml"] * 60 / 803, abs=0.01)


def test_static_frames_take_the_anchors_labels_and_are_not_labelled_again(chain, labeller, tmp_path):
    generate(chain, "static", tmp_path / "static")
    assert labeller.calls == 0
    real = read_labels(chain.inputs["labels"] / f"{WHOLE}.nii.gz")
    made = read_labels(tmp_path / "static" / f"{WHOLE}.labels.nii.gz")
    assert all(np.array_equal(frame, real[0]) for frame in made)
    generate(chain, "oracle", tmp_path / "oracle")
    assert labeller.calls == 9  # every frame but the anchor


def test_propagated_labels_move_as_the_heart_and_need_no_labeller(chain, labeller, tmp_path):
    generate(chain, "oracle", tmp_path / "oracle", labelling="propagated")
    generate(chain, "static", tmp_path / "static", labelling="propagated")
    assert labeller.calls == 0
    real = read_labels(chain.inputs["labels"] / f"{WHOLE}.nii.gz")
    made = read_labels(tmp_path / "oracle" / f"{WHOLE}.labels.nii.gz")
    assert np.array_equal(made[0], real[0])
    for structure in (1, 2):  # the exact motion carries the anchor's structures to where they are
        assert dice(made, real, structure).min() > 0.85
        assert dice(np.broadcast_to(real[0], real.shape), real, structure).min() < 0.7
    still = read_labels(tmp_path / "static" / f"{WHOLE}.labels.nii.gz")
    assert all(np.array_equal(frame, real[0]) for frame in still)
    assert json.loads(sidecar(tmp_path / "oracle" / f"{WHOLE}.nii").read_text())["provenance"]["labels"] == "propagated"
    generate(chain, "random", tmp_path / "random", labelling="propagated")
    assert labeller.calls == 18  # images have no motion with which labels could go
    assert json.loads(sidecar(tmp_path / "random" / f"{WHOLE}.nii").read_text())["provenance"]["labels"] == "nnunet"


def test_random_twin_shows_the_donor_inside_and_the_anchor_outside(chain, labeller, tmp_path):
    generate(chain, "random", tmp_path / "out")
    real = read_cine(chain.inputs["cine"] / f"{WHOLE}.nii").frames
    made = read_cine(tmp_path / "out" / f"{WHOLE}.nii").frames
    inside = (made != real[0]).any(axis=(0, 1))
    rows, columns = np.where(inside.any(1))[0], np.where(inside.any(0))[0]
    assert 0 < rows[0] < rows[-1] < real.shape[2] - 1
    assert 0 < columns[0] < columns[-1] < real.shape[3] - 1
    assert labeller.calls == 18
    donor = json.loads(sidecar(tmp_path / "out" / f"{WHOLE}.nii").read_text())["measures"]["donor"]
    donor_grid, _, _ = read_grid(chain.inputs["grid"] / f"{donor}.nii")
    canonical, _ = read_canonical(tmp_path / "out" / f"{WHOLE}.safetensors")
    np.testing.assert_allclose(canonical.float().numpy(), donor_grid, atol=1e-3)


def test_splits_decide_who_is_generated(chain, labeller, tmp_path):
    generate(chain, "static", tmp_path / "out", splits=("validation",))
    assert {path.stem for path in (tmp_path / "out").glob("*.nii")} == {"sub-0003-v2"}


def test_one_broken_subject_does_not_stop_the_others(chain, labeller, tmp_path):
    cine = tmp_path / "cine"
    cine.mkdir()
    for path in chain.inputs["cine"].iterdir():
        (cine / path.name).write_bytes(path.read_bytes() if path.stem != WHOLE else b"")
    excluded = generate(chain, "static", tmp_path / "out", cine=cine)
    assert excluded["subject"].tolist() == [WHOLE]
    assert excluded["stage"].tolist() == ["twins"]
    assert {path.stem for path in (tmp_path / "out").glob("*.nii")} == {LONE}


def test_the_solver_can_be_changed_at_generation_and_nothing_else(chain, labeller, tmp_path):
    settings = load(chain.model("cof")).settings
    generate(chain, "cof", tmp_path / "simpson")
    generate(
        chain, "cof", tmp_path / "euler", settings=settings.model_copy(update={"ode": OdeSettings(method="euler")})
    )
    _, simpson = read_canonical(tmp_path / "simpson" / f"{WHOLE}.safetensors")
    _, euler = read_canonical(tmp_path / "euler" / f"{WHOLE}.safetensors")
    assert torch.count_nonzero(simpson)
    assert not torch.equal(simpson, euler)
    with pytest.raises(UsageError, match="family 'cof'"):
        generate(chain, "cof", tmp_path / "no", settings=StaticSettings())
    with pytest.raises(UsageError, match="other settings"):
        generate(chain, "cof", tmp_path / "no", settings=CofSettings())


def test_model_folder_says_what_it_is(chain):
    record = json.loads((chain.model("cof") / "settings.json").read_text())
    assert record["frames"] == 8
    assert record["shape"] == [6, 32, 32]
    assert record["subjects"] == {"train": 2, "validation": 1}
    log = pd.read_csv(chain.model("cof") / "log.csv")
    assert log["iteration"].tolist() == [2, 4]
    assert np.isfinite(log["validation_loss"]).all()
    card = (chain.model("cof") / "card.md").read_text()
    assert "2 training subjects" in card
    assert record["provenance"]["config_hash"] in card
    assert load(chain.model("static")).settings == StaticSettings()
    assert load(chain.model("random")).settings == RandomSettings()
    with pytest.raises(UsageError, match="not a trained model"):
        load(chain.root)


def anchored(chain, out, phase):
    """The cohort's `cof` at another anchor, by name."""
    settings = AnchoredSettings(model="cof", anchor_phase=phase)
    train(
        subjects=chain.sheet, beats=[chain.inputs["beats"]], grid=[chain.inputs["grid"]],
        labels=[chain.inputs["labels"]], fields=[], out=out, work=out.parent / "work", settings=settings, seed=0,
        base=chain.model("cof"),
    )  # fmt: skip
    return settings


def test_a_model_given_another_frame_copies_that_frame_and_makes_the_others(chain, labeller, tmp_path):
    settings = anchored(chain, tmp_path / "model", 0.4)
    excluded = generate(chain, "cof", tmp_path / "out", model=tmp_path / "model", settings=settings)
    assert excluded[["subject", "reason"]].values.tolist() == [[LONE, "cine_too_few_frames"]]
    real, twin = read_cine(chain.inputs["cine"] / f"{WHOLE}.nii"), read_cine(tmp_path / "out" / f"{WHOLE}.nii")
    np.testing.assert_array_equal(twin.frames[4], real.frames[4])
    assert (twin.frames[0] != real.frames[0]).any()
    real_labels = read_labels(chain.inputs["labels"] / f"{WHOLE}.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / f"{WHOLE}.labels.nii.gz")[4], real_labels[4])
    assert json.loads(sidecar(tmp_path / "out" / f"{WHOLE}.nii").read_text())["anchor_phase"] == 0.4
    _, displacement = read_canonical(tmp_path / "out" / f"{WHOLE}.safetensors")
    assert not displacement[0].any()  # it points to end diastole all the same
    assert displacement[3].any()
    # An anchor alone has no other frame, but may itself be one, where one is told.
    generate(chain, "cof", tmp_path / "told", model=tmp_path / "model", settings=settings, anchor_phase=0.25)
    assert json.loads(sidecar(tmp_path / "told" / f"{LONE}.nii").read_text())["anchor_phase"] == 0.25
    lone, made = (read_cine(folder / f"{LONE}.nii") for folder in (chain.inputs["cine"], tmp_path / "told"))
    np.testing.assert_array_equal(made.frames[2], lone.frames[0])  # frame 2 of 8
    assert (made.frames[0] != lone.frames[0]).any()


def test_phase_zero_is_the_model_itself(chain, labeller, tmp_path):
    settings = anchored(chain, tmp_path / "model", 0.0)
    generate(chain, "cof", tmp_path / "same", model=tmp_path / "model", settings=settings)
    generate(chain, "cof", tmp_path / "cof")
    for name in (f"{WHOLE}.nii", f"{WHOLE}.labels.nii.gz"):
        assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "cof" / name).read_bytes()


def test_still_hearts_from_another_frame_show_that_frame_throughout(chain, labeller, tmp_path):
    generate(chain, "static", tmp_path / "out", anchor_phase=0.5)
    real, twin = read_cine(chain.inputs["cine"] / f"{WHOLE}.nii"), read_cine(tmp_path / "out" / f"{WHOLE}.nii")
    np.testing.assert_array_equal(twin.frames, np.broadcast_to(real.frames[5], twin.frames.shape))


@pytest.mark.parametrize("name", ["oracle", "mean_motion"])
def test_motion_about_end_diastole_takes_no_other_anchor(name, chain, labeller, tmp_path):
    with pytest.raises(UsageError, match="only end diastole"):
        generate(chain, name, tmp_path / "out", anchor_phase=0.5)


def test_an_ensemble_keeps_its_members_and_tells_their_spread(chain, labeller, tmp_path):
    inputs = {
        "subjects": chain.sheet, "beats": [chain.inputs["beats"]], "grid": [chain.inputs["grid"]],
        "labels": [chain.inputs["labels"]], "work": tmp_path / "work", "seed": 0,
    }  # fmt: skip
    cof = load(chain.model("cof")).settings
    other = cof.model_copy(update={"seed": 7})
    train(**inputs, fields=[chain.fields], out=tmp_path / "cof_7", settings=other)
    settings = EnsembleSettings(members=("cof", "cof_7"))
    members = [chain.model("cof"), tmp_path / "cof_7"]
    train(**inputs, fields=[], out=tmp_path / "ensemble", settings=settings, members=members)
    model = {"model": tmp_path / "ensemble", "settings": settings}
    assert generate(chain, "cof", tmp_path / "out", **model).empty
    measures = json.loads(sidecar(tmp_path / "out" / f"{WHOLE}.nii").read_text())["measures"]
    assert measures["members"] == 2
    assert len(measures["lv_curve_sd_ml"]) == 8
    assert measures["esv_sd_ml"] > 0
    displacements = []
    for name, folder in (("cof", chain.model("cof")), ("cof_7", tmp_path / "cof_7"), ("mean", tmp_path / "ensemble")):
        generate(chain, "cof", tmp_path / name, model=folder, settings=load(folder).settings)
        displacements.append(read_canonical(tmp_path / name / f"{WHOLE}.safetensors")[1].float())
    assert not torch.equal(displacements[0], displacements[1])
    torch.testing.assert_close(displacements[2], (displacements[0] + displacements[1]) / 2, atol=2e-3, rtol=2e-3)


def test_a_model_of_any_anchor_is_trained_on_the_cohorts_frames(chain, labeller, tmp_path, monkeypatch):
    """Native cines of 10 frames on a grid of 8: the image of a native frame lies between two on the grid."""
    seen = []

    def about(example, phase):
        seen.append(anchors.about(example, phase))
        return seen[-1]

    monkeypatch.setattr("cof.models.flow.objective.about", about)
    cof = load(chain.model("cof")).settings
    settings = cof.model_copy(update={"field": cof.field.model_copy(update={"anchor": "any"})})
    train(
        subjects=chain.sheet, beats=[chain.inputs["beats"]], grid=[chain.inputs["grid"]],
        labels=[chain.inputs["labels"]], fields=[chain.fields], out=tmp_path / "any", work=tmp_path / "work",
        settings=settings, seed=0,
    )  # fmt: skip
    phases = {example.anchor_phase for example in seen}
    assert len(phases) > 3
    assert all(round(10 * phase, 9).is_integer() for phase in phases)
    for example in seen:
        # The ring's cavity is smallest in mid-cycle, in labels and image alike.
        assert (example.anchor_labels == 1).sum() == (example.labels[round(10 * example.anchor_phase)] == 1).sum()
        bright = (example.anchor > 0.6).sum() / (example.anchor_labels == 1).sum()
        assert 0.85 < bright < 1.15
    model = {"model": tmp_path / "any", "settings": settings}
    assert generate(chain, "cof", tmp_path / "out", anchor_phase=0.4, **model).empty
    real, twin = read_cine(chain.inputs["cine"] / f"{WHOLE}.nii"), read_cine(tmp_path / "out" / f"{WHOLE}.nii")
    np.testing.assert_array_equal(twin.frames[4], real.frames[4])


def test_no_heart_is_generated_of_a_pair(chain, labeller, tmp_path, caplog):
    sheet = tmp_path / "sheet.parquet"
    cohort = pd.read_parquet(chain.sheet)
    cohort.assign(es_phase=[0.4 if name == WHOLE else float("nan") for name in cohort["subject"]]).to_parquet(sheet)
    with caplog.at_level("INFO"):
        excluded = generate(chain, "static", tmp_path / "out", sheet=sheet)
    assert excluded.empty
    assert [path.stem for path in (tmp_path / "out").glob("*.nii")] == [LONE]
    assert "1 subjects have ED and ES frames alone: no heart is generated for them" in caplog.text
