"""What families of other packages say of themselves counts wherever those of this package are asked."""

import json
import sys
from pathlib import Path

import pytest
from test_twins_outside import install

from cof import config
from cof.config.borrowed import borrow, trainable
from cof.config.models import ModelSettings
from cof.config.untrained import without_untrained
from cof.errors import UsageError
from cof.estimate.calibration import Calibration, Unit, cost_key
from cof.estimate.cost import estimate
from cof.models.trained import load

SETTINGS = """
from typing import Literal
from cof.config.family import FamilySettings
from cof.config.training import TrainingSettings

class Network(TrainingSettings, FamilySettings):
    implementation = "guest_models:Still"
    learns_from = {"cine"}
    family: Literal["network"] = "network"

class Keeper(FamilySettings):
    implementation = "guest_models:Still"
    family: Literal["keeper"] = "keeper"
    hearts: int = 3

    @property
    def kept_hearts(self):
        return self.hearts

class Peek(FamilySettings):
    implementation = "guest_models:Still"
    learns_on = None
    sees = {"displacement"}
    anchors = "ed"
    family: Literal["peek"] = "peek"
    registration: str = "truth"

class Again(FamilySettings):
    implementation = "guest_models:Still"
    learns_on = None
    applies_family = "network"
    family: Literal["again"] = "again"
    model: str = "network"
    anchor_phase: float = 0.2

class Exchange(FamilySettings):
    implementation = "guest_models:Still"
    learns_on = "test"
    family: Literal["exchange"] = "exchange"
    members: tuple[str, ...] = ("cof", "network")
"""
MODELS = """
import torch
from cof.models.base import Generated
from cof.motion.resolution import motion_shape

class Still:
    \"\"\"No motion.\"\"\"

    def fit(self, train, validation, settings, seed, run):
        return lambda out: None

    def load(self, folder, settings):
        return self

    def generate(self, subject, frames, seed):
        seen = getattr(subject, "displacement", None) is not None
        still = torch.zeros(frames, 3, *motion_shape(subject.placement.shape))
        return Generated(displacement=still, measures={"seen": float(seen)})
"""
NAMES = ("network", "keeper", "peek", "again", "exchange")


@pytest.fixture
def guests(tmp_path, monkeypatch):
    """A package of five families, whose settings import no torch."""
    install(tmp_path / "site", MODELS, {name: f"guest_settings:{name.title()}" for name in NAMES}, "guest-models")
    (tmp_path / "site/guest_settings.py").write_text(SETTINGS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    for module in ("guest_settings", "guest_models"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path / "site"


def parsed(**more):
    models = {"cof": {"family": "cof"}} | {name: {"family": name} for name in NAMES}
    table = {"title": "T", "models": {name: name.title() for name in models}, "metrics": ["ssim"]}
    return config.parse({"models": models | more.pop("models", {}), "tables": {"t": table}} | more)


def test_the_configuration_understands_what_they_apply_and_see(guests):
    run = parsed()
    assert run.exact_motion  # of `peek`
    assert run.models["again"].applies == ("network",)
    assert run.models["exchange"].applies == ("cof", "network")
    assert "guest_models" not in sys.modules  # nor its torch
    for changed, said in (
        ({"again": {"family": "again", "model": "cof"}}, r"models\.again\.model: no model of the family 'network' is"),
        ({"exchange": {"family": "exchange", "members": ["gone"]}}, r"models\.exchange\.members: no model is called"),
        ({"exchange": {"family": "exchange", "members": ["cof", "cof"]}}, "named twice"),
        ({"exchange": {"family": "exchange", "members": ["again"]}}, "'again' itself applies network"),
        ({"peek": {"family": "peek", "registration": "demons"}}, "no registration is called 'demons'"),
    ):
        with pytest.raises(UsageError, match=said):
            parsed(models=changed)
    with pytest.raises(UsageError, match="the exact motion, exists for a synthetic cohort only"):
        parsed(cohort={"sheet": "subjects.csv"})


def test_those_of_held_out_subjects_are_never_borrowed_and_networks_decide_the_split(guests, tmp_path):
    run = parsed()
    assert "models/exchange" not in set(trainable(run))
    assert {"models/network", "models/keeper"} <= set(trainable(run))
    sheet = parsed(
        cohort={"sheet": "subjects.csv"},
        trained=str(tmp_path),
        models={"peek": {"family": "peek", "registration": "toppr"}},
    )
    for name in ("labeller", "registrations/toppr", "models/cof", "models/network"):
        (tmp_path / name).mkdir(parents=True)
    assert borrow(sheet)[0].cohort.split == {"test": 1.0}
    (tmp_path / "models/network").rmdir()
    assert borrow(sheet)[0].cohort.split is None


def test_a_cohort_without_training_subjects_leaves_out_those_that_learn(guests):
    run, gone = without_untrained(parsed(), ("labeller", "registrations/toppr", "models/cof"))
    assert gone == ["again", "exchange", "keeper", "network"]
    assert set(run.models) == {"cof", "peek"}
    assert run.tables["t"].left_out == ("Network", "Keeper", "Again", "Exchange")


def test_their_cost_is_counted_as_what_they_are(guests):
    run = parsed(models={"keeper": {"family": "keeper", "hearts": 4}})
    unit = Unit(3600.0, 10.0, 2.0)
    stages = dict.fromkeys(("ecg", "beats", "cine", "hashes", "labels", "quality", "grid"), unit)
    models, one = dict.fromkeys(run.models, unit), {"toppr": unit, "truth": unit}
    rows = {
        row.stage: row
        for row in estimate(run, 1000, Calibration(stages, unit, one, one, models, models, models, 1.0, True))
    }
    assert rows["models/network"].count == run.models["network"].iterations
    assert rows["models/keeper"].bytes == 10 * 4
    assert "fields/truth" in rows
    assert cost_key(run.models["network"]) != cost_key(run.models["network"].model_copy(update={"batch": 7}))


def test_they_generate_with_what_they_may_see_at_the_anchors_that_they_take(
    guests, chain, threshold, tmp_path, monkeypatch
):
    from cof.cine.volume import sidecar
    from cof.config.data import LabelSettings
    from cof.models.stage import train
    from cof.twins.stage import generate_batch

    monkeypatch.setattr("cof.labels.predict.Labeller", threshold)
    run = parsed(models={"peek": {"family": "peek", "registration": "toppr"}})

    def made(name: str, **more) -> Path:
        folder = tmp_path / "models" / name
        train(
            subjects=chain.sheet, beats=[chain.inputs["beats"]], grid=[chain.inputs["grid"]],
            labels=[chain.inputs["labels"]], fields=[], out=folder, work=tmp_path / "work", settings=run.models[name],
            seed=0, **more,
        )  # fmt: skip
        return folder

    def twins(name: str, phase: float | None = None) -> Path:
        out = tmp_path / f"twins-{name}"
        generate_batch(
            **chain.inputs, fields=chain.fields, model=tmp_path / "models" / name, labeller=chain.root, out=out,
            exclusions=tmp_path / "exclusions", settings=run.models[name], labels_settings=LabelSettings(), seed=0,
            anchor_phase=phase,
        )  # fmt: skip
        return out

    network = made("network")
    assert (made("again", base=network) / "model/settings.json").is_file()
    assert "sees of a new subject | the subject's own registered motion" in (made("peek") / "card.md").read_text()
    assert load(tmp_path / "models/again").anchor_phase == 0.2
    twin = "sub-0004-v2.nii"
    for name, seen, phase in (("peek", 1, 0), ("network", 0, 0), ("again", 0, 0.2)):
        record = json.loads(sidecar(twins(name) / twin).read_text())
        assert (record["measures"]["seen"], record["anchor_phase"]) == (seen, phase)
    with pytest.raises(UsageError, match="'peek' takes only end diastole as the anchor"):
        twins("peek", phase=0.5)
    twins("network", phase=0.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('learns_from = {"displacment"}', "learns_from: displacment is not one of cine, displacement, ef, labels"),
        ('learns_from = {"displacement"}', "needs a key `registration`"),
        ('learns_on = "validation"', "learns_on: validation is not one of"),
        ('sees = {"cine"}', "sees: cine is not one of displacement, ef"),
        ('anchors = "es"', "anchors: es is not one of any, ed"),
    ],
)
def test_a_fact_that_is_none_is_refused(tmp_path, monkeypatch, wrong, said):
    text = f'{SETTINGS.partition("class Network")[0]}\nclass Bad(FamilySettings):\n    implementation = "bad:Bad"\n'
    install(
        tmp_path, f'{text}    {wrong}\n    family: Literal["bad"] = "bad"\n', {"bad": "bad_family:Bad"}, "bad-family"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bad_family", raising=False)
    with pytest.raises(UsageError, match=f"family 'bad' of bad-family 0.1: cannot be imported: TypeError: .*{said}"):
        config.read_settings('{"family": "bad"}', ModelSettings)
