"""From hearts to a table with Fréchet distances: the stage, its files, and the columns."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from cof.artefacts.parquet import read_table, write_table
from cof.cine.grid import Placement, write_grid
from cof.cine.volume import Cine, uniform_times
from cof.config.evaluation import EvaluationSettings, ExtractorSettings, TableSettings
from cof.config.metrics import DEFINITIONS_VERSION, LONG_FORM, METRICS
from cof.errors import UsageError
from cof.features.artefacts import Features, write_features
from cof.features.stage import features_batch
from cof.metrics.frechet import frechet_distance
from cof.report.sections.radar import radar_shares
from cof.tables.distances import distances
from cof.tables.stage import make_table

PLACEMENT = Placement(
    (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (3, 16, 16), (10.0, 4.0, 4.0), (3, 16, 16), (10.0, 4.0, 4.0), (0.0, 1000.0),
    (True, True, False),
)  # fmt: skip
NETWORK = {"networks": {"imagenet": {"name": "a network", "sha256": "ab" * 32}}}
METRIC, VIDEO = METRICS["fd_imagenet"], METRICS["fd_imagenet_video"]


def test_the_stage_sees_valid_slices_of_held_out_hearts(labeller, weights, tmp_path):
    rng = np.random.default_rng(0)
    splits = {"sub-0001-v2": "train", "sub-0002-v2": "test", "sub-0003-v2": "test", "sub-0004-v2": "test"}
    splits["sub-0005-v2"] = "test"
    sheet, grid, twins = tmp_path / "sheet.parquet", tmp_path / "grid", tmp_path / "twins"
    write_table(sheet, pd.DataFrame({"subject": list(splits), "split": list(splits.values())}), {})
    twins.mkdir()
    for name in list(splits)[:4]:
        frames = 1 if name == "sub-0004-v2" else 10
        native = Cine(np.zeros((frames, 3, 16, 16), np.int16), np.eye(4), uniform_times(frames, 900.0), 900.0)
        real = rng.random((frames, 3, 16, 16)).astype(np.float32)
        write_grid(grid / f"{name}.nii", real, PLACEMENT, native)
        if name != "sub-0003-v2":
            save_file({"cine": torch.from_numpy(real).half()}, twins / f"{name}.safetensors")
    settings = ExtractorSettings(**weights)
    (grid / "sub-0005-v2.nii").write_bytes(b"no cine")  # one that nothing can be done with
    given = {"sheet": sheet, "grid": grid, "labeller": labeller, "settings": settings}
    for out, of in (("real", None), ("model", twins)):
        features_batch(**given, twins=of, out=tmp_path / out, exclusions=tmp_path / f"{out}.parquet")
    assert list(read_table(tmp_path / "real.parquet")["subject"]) == ["sub-0005-v2"]
    assert read_table(tmp_path / "model.parquet").empty
    real, model = Features([tmp_path / "real"]), Features([tmp_path / "model"])
    assert set(real.networks) == {"imagenet", "labeller", "inception", "i3d"}
    assert real.networks == model.networks
    assert real.subjects("i3d") == {"sub-0002-v2", "sub-0003-v2"}
    assert model.subjects("imagenet") == {"sub-0002-v2"}
    shapes = {name: real.of("sub-0002-v2", name).shape for name in real.networks}
    assert shapes == {"imagenet": (10, 2, 1280), "labeller": (10, 2, 16), "inception": (10, 2, 2048), "i3d": (2, 400)}
    # A copy of the real heart has its features, but for the half precision of twins.
    np.testing.assert_allclose(model.of("sub-0002-v2", "imagenet"), real.of("sub-0002-v2", "imagenet"), atol=0.05)
    first = (tmp_path / "real").read_bytes()
    features_batch(**given, twins=None, out=tmp_path / "real", exclusions=tmp_path / "real.parquet")
    assert (tmp_path / "real").read_bytes() == first


def written(path, shift=0.0, scale=1.0, seed=0, subjects=24, record=NETWORK, width=6, network="imagenet"):
    """Features of hearts that are Gaussian about a mean course, in one batch."""
    rng = np.random.default_rng(seed)
    of = {}
    for index in range(subjects):
        values = scale * rng.normal(size=(12, 5, width)) + shift
        of[f"sub-{index:04d}-v2"] = {network: torch.from_numpy(values)}
    write_features(path, of, record)
    return Features([path])


def subjects_of(features):
    return sorted(features.subjects("imagenet"))


def test_distances_are_those_of_the_gaussians_that_were_drawn(tmp_path):
    real = written(tmp_path / "real", seed=1)
    models = {
        "same": written(tmp_path / "same", seed=2),
        "shifted": written(tmp_path / "shifted", seed=3, shift=0.5),
        "wide": written(tmp_path / "wide", seed=4, scale=2.0),
    }
    found = distances([METRIC, VIDEO], models, real, subjects_of(real), EvaluationSettings())
    frames = found["fd_imagenet"]
    assert (frames.subjects, frames.items, frames.dimensions) == (24, 24 * 11 * 5, 6)
    assert frames.estimates["shifted"].value == pytest.approx(6 * 0.5**2, abs=0.2)
    assert frames.estimates["wide"].value == pytest.approx(6 * 1.0, abs=0.4)
    # Nothing but sampling separates the first model from the real hearts, as it does halves of these.
    assert 0 < frames.estimates["same"].value < frames.floor < 0.1
    videos = found["fd_imagenet_video"]
    assert videos.dimensions == min(24 * 5 // 8, 4 * 6)
    # The mean over a cycle is shifted by .5 in all features, and the other coefficients are not.
    assert videos.estimates["shifted"].value == pytest.approx(6 * 0.5**2, rel=0.3)
    assert all(len(of.left_out) == 24 for column in found.values() for of in column.estimates.values())


def test_the_interval_of_a_distance_contains_it_and_is_as_wide_as_cohorts_differ(tmp_path):
    """Cohorts are drawn again and again from Gaussians at the known distance 6 * .5^2 + 6 * .5^2."""
    values, halves, held = [], [], 0
    for draw in range(20):
        real = written(tmp_path / "real", seed=2 * draw)
        model = written(tmp_path / "model", seed=2 * draw + 1, shift=0.5, scale=1.5)
        found = distances([METRIC], {"m": model}, real, subjects_of(real), EvaluationSettings())["fd_imagenet"]
        low, high = found.estimates["m"].interval()
        assert low < found.estimates["m"].value < high
        held += low < 3.0 < high
        values.append(found.estimates["m"].value)
        halves.append((high - low) / 2)
    assert np.mean(values) == pytest.approx(3.0, rel=0.05)
    assert np.mean(halves) == pytest.approx(2 * np.std(values), rel=0.4)
    assert held >= 16


def test_models_at_the_floor_have_no_order(tmp_path):
    """Two models that draw from the real hearts' own distribution, and one that does not."""
    models = {"one": 0.0, "other": 0.0, "far": 1.0}
    for index, (model, shift) in enumerate(models.items()):
        written(tmp_path / f"{model}.safetensors", shift=shift, seed=index + 2)
        rows = [(f"sub-{n:04d}-v2", "", pd.NA, pd.NA, "ssim", 0.5, DEFINITIONS_VERSION) for n in range(24)]
        table = pd.DataFrame(rows, columns=list(LONG_FORM)).astype({"frame": "Int32", "slice": "Int32"})
        write_table(tmp_path / f"{model}.parquet", table, {})
    written(tmp_path / "real.safetensors", seed=1)
    make_table(
        subjects=tmp_path / "subjects.parquet",
        metrics={model: [tmp_path / f"{model}.parquet"] for model in models},
        settings=TableSettings(title="T", models={name: name.title() for name in models}, metrics=("fd_imagenet",)),
        evaluation=EvaluationSettings(bootstrap=50),
        out=tmp_path / "table",
        features={name: [tmp_path / f"{name}.safetensors"] for name in ("real", *models)},
    )
    long = pd.read_csv(tmp_path / "table.csv").set_index("row")
    assert (long.loc[["One", "Other"], "mean"] <= long["floor"].iloc[0]).all()
    assert np.isnan(long.loc["Other", "difference"])
    assert long.loc["Far", "difference_ci_low"] > 4
    assert long["p"].isna().all()
    assert (long["ci_low"] >= 0).all()
    text = (tmp_path / "table.md").read_text()
    values = {line.split(" |")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert values["| One"].endswith("‡ |")
    assert values["| Other"].endswith("‡ |")
    assert "‡" not in values["| Far"]
    assert "‡: not distinguishable from real" in text
    assert r"$^\ddagger$" in (tmp_path / "table.tex").read_text()
    rows = {str(row): {"fd_imagenet": cells} for row, cells in long.iterrows()}
    shares = radar_shares(rows, [METRIC])
    assert shares["One"] == shares["Other"] == 1
    assert shares["Far"] == 0


def test_a_model_that_scrambles_time_is_found_out_by_videos_alone(tmp_path):
    rng = np.random.default_rng(0)
    wave = np.cos(2 * np.pi * (np.arange(12) + 0.5) / 12)[:, None, None] * np.ones((1, 5, 6))
    batches = {}
    for name in ("real", "moving", "scrambled"):
        of = {}
        for index in range(24):
            course = wave[rng.permutation(12)] if name == "scrambled" else wave
            values = course + 0.3 * rng.normal(size=wave.shape)
            values[0] = 0
            of[f"sub-{index:04d}-v2"] = {"imagenet": torch.from_numpy(values)}
        write_features(tmp_path / name, of, NETWORK)
        batches[name] = Features([tmp_path / name])
    real = batches.pop("real")
    found = distances([METRIC, VIDEO], batches, real, subjects_of(real), EvaluationSettings())
    assert found["fd_imagenet"].estimates["scrambled"].value < 0.1
    assert found["fd_imagenet_video"].estimates["moving"].value < 0.1
    assert found["fd_imagenet_video"].estimates["scrambled"].value > 1


def test_fid_and_fvd_compare_all_features_without_an_interval(tmp_path):
    record = {"networks": {name: {"name": name, "sha256": "cd" * 32} for name in ("inception", "i3d")}}
    for name, shift in (("real", 0.0), ("model", 0.5)):
        rng = np.random.default_rng(len(name))
        of = {
            f"sub-{index:04d}-v2": {
                "inception": torch.from_numpy(rng.normal(size=(12, 5, 8)) + shift),
                "i3d": torch.from_numpy(rng.normal(size=(20, 8)) + shift),
            }
            for index in range(24)
        }
        write_features(tmp_path / name, of, record)
    real, model = Features([tmp_path / "real"]), Features([tmp_path / "model"])
    chosen = [METRICS["fid"], METRICS["fvd"]]
    found = distances(chosen, {"m": model}, real, sorted(real.subjects("i3d")), EvaluationSettings())
    for column, items in ((found["fid"], 24 * 11 * 5), (found["fvd"], 24 * 20)):
        assert (column.items, column.dimensions) == (items, 8)
        assert column.estimates["m"].value == pytest.approx(8 * 0.25, rel=0.2)
        assert 0 < column.floor < 0.3
        assert np.isnan(column.estimates["m"].interval()).all()


def test_other_networks_are_refused_and_too_few_subjects_have_no_value(tmp_path):
    real = written(tmp_path / "real")
    other = {"networks": {"imagenet": {"name": "a network", "sha256": "00" * 32}}}
    changed = written(tmp_path / "changed", record=other)
    with pytest.raises(
        UsageError, match="fd_imagenet: the features of 'imagenet' are missing or come from different networks"
    ):
        distances([METRIC], {"m": changed}, real, subjects_of(real), EvaluationSettings())
    with pytest.raises(UsageError, match="computed by different networks"):
        _ = Features([tmp_path / "real", tmp_path / "changed"]).networks
    one = written(tmp_path / "one", subjects=1)
    found = distances([METRIC], {"m": one}, real, subjects_of(real), EvaluationSettings())["fd_imagenet"]
    assert found.subjects == 0
    assert np.isnan(found.estimates["m"].value)


def test_the_table_prints_them_under_their_own_names(tmp_path):
    models = {"near": 0.1, "far": 1.0}
    for index, (model, shift) in enumerate(models.items()):
        written(tmp_path / f"{model}.safetensors", shift=shift, seed=index + 2)
        rows = [(f"sub-{n:04d}-v2", "", pd.NA, pd.NA, "ssim", 0.5, DEFINITIONS_VERSION) for n in range(24)]
        table = pd.DataFrame(rows, columns=list(LONG_FORM)).astype({"frame": "Int32", "slice": "Int32"})
        write_table(tmp_path / f"{model}.parquet", table, {})
    written(tmp_path / "real.safetensors", seed=1)
    make_table(
        subjects=tmp_path / "subjects.parquet",
        metrics={model: [tmp_path / f"{model}.parquet"] for model in models},
        settings=TableSettings(
            title="T", models={"near": "COF", "far": "LFDM"}, metrics=("ssim", "fd_imagenet"), paper="table1"
        ),
        evaluation=EvaluationSettings(bootstrap=50),
        out=tmp_path / "table",
        config_hash="abc123",
        features={name: [tmp_path / f"{name}.safetensors"] for name in ("real", *models)},
    )
    long = pd.read_csv(tmp_path / "table.csv").set_index(["row", "metric"])
    far = long.loc[("LFDM", "fd_imagenet")]
    assert far["n"] == 24
    assert far["mean"] == pytest.approx(6, rel=0.15)
    assert far["ci_low"] < far["mean"] < far["ci_high"]
    assert far["difference_ci_low"] > 4
    assert tuple(far[["network", "sha256", "items_a_subject", "dimensions"]]) == ("a network", "ab" * 32, 55, 6)
    assert far["floor"] < 0.1
    assert np.isnan(long.loc[("LFDM", "ssim"), "floor"])
    text = (tmp_path / "table.md").read_text()
    assert "FD (ImageNet) ↓" in text
    assert (
        "a network (SHA-256 abababababab), 1,320 images per model in 6 dimensions; the distance between random halves"
        in text
    )
    for name in ("| FID", "| FVD", "paper's FID", "paper's FD"):
        assert name not in text
    assert "FD (ImageNet)" in (tmp_path / "table.tex").read_text()


def test_a_large_cohort_is_kept_as_groups_that_leave_its_distance_as_it_is(tmp_path):
    """Of 450 subjects, the jackknife leaves out 0, 200 and 400 first, and 199 and 399 last."""
    rng = np.random.default_rng(0)
    hearts = {name: 0.1 * index + rng.normal(size=(450, 2, 1, 3)) for index, name in enumerate(("real", "model"))}
    batches = {}
    for name, values in hearts.items():
        of = {f"sub-{index:04d}-v2": {"imagenet": torch.from_numpy(value)} for index, value in enumerate(values)}
        write_features(tmp_path / name, of, NETWORK)
        batches[name] = Features([tmp_path / name])
    real = batches.pop("real")
    (column,) = distances([METRIC], batches, real, subjects_of(real), EvaluationSettings()).values()

    def direct(kept):
        ours, theirs = (hearts[name][kept, 1, 0] for name in ("model", "real"))
        return frechet_distance(ours.mean(0), np.cov(ours.T), theirs.mean(0), np.cov(theirs.T))

    assert (column.subjects, column.items) == (450, 450)
    assert column.estimates["model"].value == pytest.approx(direct(np.arange(450)), rel=1e-3)
    left_out = column.estimates["model"].left_out
    assert len(left_out) == 200
    for group in (0, 199):
        assert left_out[group] == pytest.approx(direct(np.arange(450) % 200 != group), rel=1e-3)
    assert 0 < column.floor < column.estimates["model"].value
