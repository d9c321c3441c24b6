"""Families of other packages: the example of docs/how-to/add-a-system.md, installed, trained and generating."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

from cof import config
from cof.config.controls import StaticSettings
from cof.config.families import package
from cof.config.models import ModelSettings
from cof.errors import UsageError
from cof.models.registry import family_of

DOCS = Path(__file__).parents[2] / "docs/how-to/add-a-system.md"


def example(language: str) -> str:
    """The example's text in one language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.S)[0]


def install(folder: Path, module: str, points: dict[str, str], name: str = "toy-family", version: str = "0.1") -> None:
    """Lay a package into `folder` as an installer does: its module, and the metadata beside it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name.replace('-', '_')}.py").write_text(module)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{entry} = {value}" for entry, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[cof.families]", *lines, ""]))


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The documented package on the path."""
    project = tomllib.loads(example("toml"))["project"]
    install(tmp_path / "site", example("python"), project["entry-points"]["cof.families"], project["name"],
            project["version"])  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "toy_family", raising=False)


def with_models(models: dict) -> config.Config:
    return config.parse({"models": {"cof": {"family": "cof"}} | models, "tables": {}})


def test_the_configuration_knows_it(toy):
    parsed = with_models(yaml.safe_load(example("yaml"))["models"])
    settings = parsed.models["toy"]
    assert (settings.family, settings.registration) == ("toy", "toppr")
    assert parsed.model_dump(mode="json")["models"]["toy"] == {"family": "toy", "registration": "toppr"}
    assert config.parse(json.loads(config.dump(parsed))) == parsed
    assert config.read_settings(config.dump(settings), ModelSettings) == settings
    assert type(family_of("toy")).__name__ == "Toy"
    assert (package("toy"), package("cof")) == ("toy-family 0.1", "")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"registratio": "toppr"}, "unknown key 'models.mine.toy.registratio'; did you mean 'registration'"),
        ({"registration": 3}, "models.mine.toy.registration"),
        ({"registration": "demons"}, "no registration is called 'demons'"),
    ],
)
def test_its_mistakes_are_named_as_those_of_other_families(toy, model, said):
    with pytest.raises(UsageError, match=said):
        with_models({"mine": {"family": "toy"} | model})


def test_without_its_package_it_is_unknown():
    with pytest.raises(UsageError, match="toy"):
        with_models({"mine": {"family": "toy"}})
    with pytest.raises(UsageError, match="no model family is called 'toy'"):
        family_of("toy")


def test_a_broken_package_is_named(tmp_path, monkeypatch):
    install(tmp_path / "a", "import nothing_of_this_name\n", {"broken": "half:Half"}, "half")
    install(
        tmp_path / "b",
        example("python"),
        {"renamed": "other:ToySettings", "implemented": "other:Toy", "twice": "other:ToySettings"},
        "other",
    )
    install(tmp_path / "c", "", {"twice": "third:Toy"}, "third")
    for name in "abc":
        monkeypatch.syspath_prepend(tmp_path / name)
    for family, said in (
        ("broken", "family 'broken' of half 0.1: cannot be imported: ModuleNotFoundError"),
        ("renamed", "of other 0.1: the registered object must be its settings"),
        ("implemented", "of other 0.1: the registered object must be its settings"),
        ("twice", "several packages register it: other 0.1, third 0.1"),
    ):
        with pytest.raises(UsageError, match=said):
            with_models({"mine": {"family": family}})


def test_families_of_this_package_cannot_be_replaced(tmp_path, monkeypatch):
    install(tmp_path / "site", "raise RuntimeError\n", {"static": "thief:Toy"}, "thief")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert isinstance(with_models({"mine": {"family": "static"}}).models["mine"], StaticSettings)
    assert type(family_of("static")).__name__ == "StaticFamily"


def test_it_trains_and_generates_by_the_verbs(toy, chain, threshold, tmp_path, monkeypatch):
    from cof.cine.volume import read_cine
    from cof.cli import main
    from cof.motion.fields import load_displacement
    from cof.twins.artefacts import read_canonical

    monkeypatch.setattr("cof.labels.predict.Labeller", threshold)
    for name in ("grid", "labels", "fields", "cine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b000").symlink_to(chain.root / name)
    (tmp_path / "beats").mkdir()
    (tmp_path / "beats/b000.parquet").symlink_to(chain.inputs["beats"])
    settings = config.dump(with_models({"toy": {"family": "toy"}}).models["toy"])

    def run(*words: str, **options: Path | str) -> None:
        flags = [str(part) for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        with pytest.raises(SystemExit) as ended:
            main([*words, *flags])
        assert ended.value.code == 0

    model, out = tmp_path / "models/toy", tmp_path / "twins"
    run(
        "train", subjects=chain.sheet, beats=tmp_path / "beats", grid=tmp_path / "grid", labels=tmp_path / "labels",
        fields=tmp_path / "fields", out=model, work=tmp_path / "work", settings=settings,
    )  # fmt: skip
    record = json.loads((model / "settings.json").read_text())
    assert record["settings"] == {"family": "toy", "registration": "toppr"}
    assert record["provenance"]["package"] == "toy-family 0.1"
    assert "Every heart moves as the mean" in (model / "card.md").read_text()
    run(
        "twins", sheet=chain.sheet, beats=tmp_path / "beats/b000.parquet", cine=tmp_path / "cine/b000",
        labels=tmp_path / "labels/b000", grid=tmp_path / "grid/b000", model=model, labeller=tmp_path / "labeller",
        out=out, exclusions=tmp_path / "exclusions", settings=settings,
    )  # fmt: skip
    twin = out / "sub-0004-v2.nii"
    assert read_cine(twin).frames.shape == read_cine(chain.root / "cine/sub-0004-v2.nii").frames.shape
    _, displacement = read_canonical(twin.with_suffix(".safetensors"))
    # All training hearts of this cohort move alike.
    expected = load_displacement(chain.fields / "sub-0001-v2.safetensors").float()
    torch.testing.assert_close(displacement.float(), expected, atol=0.01, rtol=0.01)
