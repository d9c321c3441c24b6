import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cof import config
from cof.artefacts.provenance import differences
from cof.config.baselines import (
    DiffusionSettings,
    EchoDiffusionSettings,
    EchoPulseSettings,
    LfdmSettings,
    SliceVideoSettings,
)
from cof.config.controls import TrueEfSettings
from cof.config.flow import CofSettings
from cof.config.motion import PathSettings, RefinementSettings, RegistrationSettings
from cof.config.overlay import overlaid
from cof.config.training import TrainingSettings, TrialSettings
from cof.errors import UsageError
from cof.estimate.calibration import parts
from cof.models.flow.diffusion import Denoiser
from cof.models.video.echodiffusion import EchoDiffusion, halved
from cof.models.video.echopulse import EchoPulse
from cof.models.video.lfdm import Lfdm
from cof.motion.resolution import motion_shape
from cof.tables.paper import paper_table

REPOSITORY = Path(__file__).parents[1]
FILES = sorted(path.name for path in (REPOSITORY / "workflow/config").glob("*.yaml") if not path.is_symlink())
# What else a file is laid over, as its head says.
BENEATH = {
    **dict.fromkeys(
        ("anchors.yaml", "controls.yaml", "baselines.yaml", "table3.yaml", "uncertainty.yaml"), ("bench.yaml",)
    ),
    **dict.fromkeys(("further.yaml", "further_enriched.yaml"), ("bench.yaml", "controls.yaml")),
    "baselines_demo.yaml": ("baselines.yaml",),
    "baselines_paper.yaml": ("paper.yaml", "baselines.yaml"),
    "trials.yaml": ("bench.yaml", "baselines.yaml"),
    "seeds.yaml": ("bench.yaml", "baselines.yaml"),
}


def merged(name: str) -> dict:
    """A file of workflow/config over its base and the defaults of config.yaml, as Snakemake merges them."""

    def merge(base: dict, over: dict) -> dict:
        for key, value in over.items():
            base[key] = (
                merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
            )
        return base

    base = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    for layer in (*BENEATH.get(name, ()), name):
        base = merge(base, yaml.safe_load((REPOSITORY / "workflow/config" / layer).read_text()))
    return base


def test_the_default_configuration_is_valid() -> None:
    parsed = config.load(REPOSITORY / "config.yaml")
    assert parsed.models["cof"].family == "cof"


@pytest.mark.parametrize("name", FILES)
def test_every_file_over_its_base_is_valid(name: str) -> None:
    config.parse(merged(name))


def test_at_the_papers_scale_every_network_sees_as_many_examples_as_cof() -> None:
    models = config.parse(merged("baselines_paper.yaml")).models
    trainings = [
        part for model in models.values() if isinstance(model, TrainingSettings) for part in parts(model).values()
    ]
    assert len(trainings) == 11
    assert {training.iterations * training.batch for training in trainings} == {8000 * 32}


def test_networks_of_the_papers_scale_fit_its_grid() -> None:
    """On torch's device without memory, where shapes alone are computed."""
    chosen = config.parse(merged("baselines_paper.yaml"))
    models, (slices, rows, columns) = chosen.models, chosen.grid.shape
    diffusion, cascade, pulse, latent = (models[name] for name in ("diffusion", "echodiffusion", "echopulse", "lfdm"))
    assert isinstance(diffusion, DiffusionSettings)
    assert isinstance(cascade, EchoDiffusionSettings)
    assert isinstance(pulse, EchoPulseSettings)
    assert isinstance(latent, LfdmSettings)
    with torch.device("meta"), torch.no_grad():
        one, beat, kept = torch.ones(1), torch.zeros(1, 12, 512), torch.ones(1, dtype=torch.bool)
        levels, anchor = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 3, rows, columns)

        def whole(settings: SliceVideoSettings) -> torch.Tensor:
            return torch.zeros(1, 1, settings.video_frames, rows, columns)

        field, stack = Denoiser(diffusion.field), torch.zeros(1, slices, rows, columns)
        condition = field.encode(stack, torch.ones(1, slices, dtype=torch.bool), beat, one, torch.zeros(1, 12))
        noisy = torch.zeros(1, 1, 3, *motion_shape((slices, rows, columns)))
        assert field.denoise(noisy, levels, torch.zeros(1, 1), condition).shape == noisy.shape

        stages = EchoDiffusion(cascade)
        for stage, video, images in ((stages.base, halved(whole(cascade)), 3), (stages.fine, whole(cascade), 4)):
            seen = torch.zeros(1, images, *video.shape[2:])
            assert stage(video, one, seen, stage.tokens(one, one, kept)).shape == video.shape

        tokens, video = EchoPulse(pulse), whole(pulse)
        assert tokens.codec.vqvae.decode(tokens.codec.encode(video)).shape == video.shape
        places = torch.zeros(1, *(size // tokens.codec.stride for size in video.shape[2:]), dtype=torch.long)
        prefix = tokens.transformer.encode(places[:, :1].expand(-1, 3, -1, -1), one, beat, one, kept)
        assert tokens.transformer(places, prefix).shape == (*places.shape, pulse.codec.codes)

        flow, frames = Lfdm(latent), whole(latent)[:, 0]
        features, motion = flow.autoencoder.features(anchor), flow.autoencoder.motion(anchor, frames)
        context = flow.diffusion.encode(features[-1], one, beat, one, kept)
        assert flow.diffusion(motion, levels[0], context).shape == motion.shape
        assert flow.autoencoder.draw(anchor, features, motion).shape == frames.shape


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gird": {}}, "did you mean 'grid'"),
        ({"grid": {"shpe": [1, 2, 3]}}, "did you mean 'shape'"),
        ({"registrations": {"toppr": {"chanels": [8]}}}, "did you mean 'channels'"),
        ({"models": {"cof": {"family": "cof", "iteratons": 3}}}, "did you mean 'iterations'"),
        ({"grid": {"frames": 1}}, "grid.frames"),
        ({"models": {"cof": {"family": "gan"}}}, "gan"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(change: dict, said: str) -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | change
    with pytest.raises(UsageError) as caught:
        config.parse(raw)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_refers_to_nothing_is_refused() -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    raw["models"]["cof"]["registration"] = "demons"
    with pytest.raises(UsageError, match="no registration is called 'demons'"):
        config.parse(raw)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cohort": {"sheet": "subjects.csv"}}, "the exact motion, exists for a synthetic cohort only"),
        ({"registrations": {"toppr": {}, "truth": {}}}, "reserved for the exact displacement"),
        ({"models": {"cof": {"family": "cof", "registration": "truth"}}}, "no registration is called 'truth'"),
        (
            {"models": {"cof": {"family": "cof"}, "e": {"family": "ensemble", "members": ["cof", "gone"]}}},
            "models.e.members: no model of the family 'cof' is called 'gone'",
        ),
        (
            {"models": {"cof": {"family": "cof"}, "e": {"family": "ensemble", "members": ["cof", "cof"]}}},
            "a model is named twice",
        ),
        ({"intervals": {"models": ["gone"]}}, "intervals.models: no model is called 'gone'"),
        ({"models": {"cof": {"family": "shuffled", "model": "cof"}}}, "no model of the family 'cof' is called 'cof'"),
    ],
)
def test_a_control_that_cannot_be_made_is_refused(change: dict, said: str) -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    raw["models"]["true"] = {"family": "oracle", "registration": "truth"}
    config.parse(raw)
    with pytest.raises(UsageError, match=said):
        config.parse(raw | change)


def test_a_variant_is_another_entry_with_changes() -> None:
    cof_field = {"family": "cof", "iterations": 7, "field": {"modes": 3, "blocks": 2}}
    raw = {
        "models": {
            "deeper": {"like": "other", "field": {"blocks": 4}},
            "other": {"like": "cof", "field": {"modes": 0}},
            "cof": cof_field,
        },
        "registrations": {"toppr": {"batch": 9}, "free": {"like": "toppr", "max_field": "none"}},
        "tables": {},
    }
    found = config.parse(raw)
    deeper = found.models["deeper"]
    assert isinstance(deeper, CofSettings)
    assert (deeper.iterations, deeper.field.modes, deeper.field.blocks) == (7, 0, 4)
    assert found.registrations["free"] == RegistrationSettings(batch=9, max_field="none")
    assert "like" not in config.dump(deeper)
    assert cof_field == {"family": "cof", "iterations": 7, "field": {"modes": 3, "blocks": 2}}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a": {"like": "b"}}, "models.a.like: no entry is called 'b'"),
        ({"a": {"like": "b"}, "b": {"like": "a"}}, "models.a.like|models.b.like: a circle"),
        ({"a": {"like": "a"}}, "models.a.like: a circle"),
    ],
)
def test_a_variant_of_nothing_or_of_itself_is_refused(models: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config.parse({"models": models, "tables": {}})


def test_how_paths_are_made_is_no_part_of_a_training() -> None:
    path = PathSettings(harmonics=12, refinement=RefinementSettings(steps=20))
    variant = RegistrationSettings(lambda_seg=0.5, path=path)
    assert variant.trained() == RegistrationSettings(lambda_seg=0.5)


def test_a_weighed_displacement_needs_modes() -> None:
    assert CofSettings(displacement_weight=1).displacement_weight == 1
    with pytest.raises(ValueError, match="needs a field with modes"):
        CofSettings(displacement_weight=1, field={"modes": 0})


def test_the_oracle_of_the_ef_applies_its_baseline_and_nothing_else() -> None:
    models = config.parse(merged("baselines.yaml")).models
    assert models["echodiffusion_true_ef"] == TrueEfSettings(model="echodiffusion")
    with pytest.raises(UsageError, match="no model of the family 'echodiffusion' is called 'cof'"):
        config.parse(
            {"models": {"cof": {"family": "cof"}, "told": {"family": "true_ef", "model": "cof"}}, "tables": {}}
        )


def test_every_network_of_every_system_has_the_same_trials() -> None:
    def networks(settings: TrainingSettings) -> list[TrainingSettings]:
        nested = [value for _, value in settings if isinstance(value, TrainingSettings)]
        return [settings, *(network for one in nested for network in networks(one))]

    models = config.parse(merged("trials.yaml")).models.values()
    found = [one for model in models if isinstance(model, TrainingSettings) for one in networks(model)]
    assert len(found) == 1 + 1 + 1 + 1 + 3 + 2 + 2
    assert {one.trials for one in found} == {TrialSettings(factors=(0.5, 1, 2), share=0.25)}


def test_trials_differ() -> None:
    with pytest.raises(ValueError, match="two trials with the same factor"):
        TrialSettings(factors=(1, 0.5, 1))


def test_a_registration_has_no_trials() -> None:
    with pytest.raises(ValueError, match="trials need a validation loss"):
        RegistrationSettings(trials={})


OWN_ROWS = ("COF, to the letter (no seg loss)", "No REA encoder")


def test_table_three_has_the_papers_eight_rows_and_two_of_our_own() -> None:
    parsed = config.parse(merged("table3.yaml"))
    table = parsed.tables["table3"]
    assert parsed.twins.labels == "nnunet"  # the network that the segmentation loss trains against
    assert [row for row in table.models.values() if row not in OWN_ROWS] == list(paper_table("table3").values)
    rows = {printed: parsed.models[name] for name, printed in table.models.items()}
    registrations = {printed: parsed.registrations[model.registration] for printed, model in rows.items()}
    weights = {printed: registration.lambda_seg for printed, registration in registrations.items()}
    assert weights == {
        "COF (no seg loss)": 0, **dict.fromkeys(OWN_ROWS, 0), "w/o REA": 0, "w/o Temp. ECG": 0, "w/o TOPPR": 0,
        "No max field": 1, "lambda_seg 0.5": 0.5, "lambda_seg 1.0": 1, "lambda_seg 3.0": 3,
    }  # fmt: skip
    assert registrations["No max field"].max_field == "none"
    free = registrations["w/o TOPPR"]
    assert (free.parameterisation, free.max_field, free.similarity, free.pairing) == (
        "displacement", "none", "mse", "composed"
    )  # fmt: skip
    whole = rows["COF (no seg loss)"]
    for row, changes in (
        ("w/o REA", ['field.anatomy true (here "zeros")']),
        ("No REA encoder", ["field.anatomy true (here false)"]),
        ("w/o Temp. ECG", ['field.ecg "temporal" (here "spatial")']),
        ("COF, to the letter (no seg loss)", LETTER),
    ):
        assert sorted(differences(whole.model_dump(mode="json"), rows[row].model_dump(mode="json"))) == changes
    assert {model.iterations for model in rows.values()} == {whole.iterations}


# What differs between COF on the bench and COF by the text of the paper alone.
LETTER = [
    'augmentation {"rotation_deg": 5.0, "scale": 0.05, "translation_mm": 3.0, "mirror": 0.0} (here null)',
    "displacement_weight 1.0 (here 0.0)",
    "field.ecg_features true (here false)",
    "field.ecg_local true (here false)",
    "field.modes 32 (here 0)",
    "field.rr_scalar true (here false)",
    "heart_weight 4.0 (here 0.0)",
    'ode.closure "project" (here "none")',
    "scaled_axes true (here false)",
]


@pytest.mark.parametrize("files", ["baselines.yaml", "baselines_paper.yaml"])
def test_cof_to_the_letter_is_the_same_at_every_scale(files: str) -> None:
    models = config.parse(merged(files)).models
    letter = models["cof_letter"].model_dump(mode="json")
    changed = {one.split(" ")[0] for one in differences(models["cof"].model_dump(mode="json"), letter)}
    names = {one.split(" ")[0] for one in LETTER}
    assert changed == names if files == "baselines.yaml" else changed < names  # there COF has the network of the paper
    other = config.parse(merged("table3.yaml")).models["cof_letter_seg_0"].model_dump(mode="json")
    for key in ("displacement_weight", "scaled_axes", "heart_weight", "augmentation"):
        assert letter[key] == other[key]
    for key in ("modes", "ecg_features", "ecg_local", "rr_scalar", "anatomy", "ecg"):
        assert letter["field"][key] == other["field"][key]
    assert letter["ode"]["closure"] == other["ode"]["closure"] == "none"


def test_settings_survive_the_command_line(tmp_path: Path) -> None:
    settings = RegistrationSettings(iterations=7, channels=(8, 16))
    assert config.read_settings(config.dump(settings), RegistrationSettings) == settings
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    assert config.read_settings(str(file), RegistrationSettings) == settings


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    committed = json.loads((REPOSITORY / "workflow/schemas/config.schema.json").read_text())
    assert committed == json.loads(json.dumps(config.schema()))


def test_null_removes_a_model_from_everything_that_lists_it() -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"intervals": {"models": ["cof", "static"]}}
    raw["tables"]["table1"]["repeats"] = {"cof": ["static", "random"]}
    parsed = config.parse(overlaid(raw, {"models": {"static": None}}))
    assert set(parsed.models) == {"cof", "random", "mean_motion", "oracle"}
    assert all("static" not in table.trainings for table in parsed.tables.values())
    assert parsed.tables["table1"].repeats == {"cof": ("random",)}
    assert parsed.intervals.models == ("cof",)


def test_null_removes_a_table_a_registration_and_one_row_of_a_table() -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    raw["registrations"]["other"] = {"iterations": 3}
    more = {
        "registrations": {"other": None},
        "tables": {"exact": None, "table1": {"models": {"random": None}}},
    }
    parsed = config.parse(overlaid(raw, more))
    assert set(parsed.registrations) == {"toppr"}
    assert "exact" not in parsed.tables
    assert list(parsed.tables["table1"].models) == ["cof", "static", "mean_motion", "oracle"]
    assert "random" in parsed.tables["table2"].models
    assert "random" in parsed.models


def test_null_stays_a_value_where_a_setting_takes_it() -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    assert (
        config.parse(overlaid(raw, {"registrations": {"toppr": {"augmentation": None}}}))
        .registrations["toppr"]
        .augmentation
        is None
    )


@pytest.mark.parametrize("removed", ["cof", "toppr"])
def test_what_others_need_is_not_removed_unnoticed(removed: str) -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    group = "models" if removed == "cof" else "registrations"
    with pytest.raises(UsageError, match=removed if removed == "toppr" else "report.model"):
        config.parse(overlaid(raw, {group: {removed: None}}))


@pytest.mark.parametrize("group", ["models", "registrations", "tables"])
def test_a_group_that_is_no_mapping_is_refused(group: str) -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {group: ["cof"]}
    with pytest.raises(UsageError, match=group):
        config.parse(raw)


def test_the_demos_hearts_are_none_that_shipped_weights_have_seen() -> None:
    demo = config.load(REPOSITORY / "config.yaml").phantom
    trained = config.parse(json.loads((REPOSITORY / "weights/bench/config.json").read_text())).phantom
    others = [config.parse(merged(name)).phantom for name in ("bench.yaml", "further.yaml", "further_enriched.yaml")]
    assert all(demo.first > other.first + other.train + other.validation + other.test for other in (trained, *others))


def test_reading_a_configuration_imports_no_network() -> None:
    said = "import sys, cof.config; cof.config.parse({'models': {'cof': {'family': 'cof'}}, 'tables': {}})"
    said += "; print(*{'torch', 'numpy', 'cof.models'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True).stdout.split() == []
