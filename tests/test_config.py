import json
from pathlib import Path

import pytest
import yaml

from cof import config
from cof.errors import UsageError

REPOSITORY = Path(__file__).parents[1]


def merged(name: str) -> dict:
    """A scale of workflow/config over the defaults of config.yaml, as Snakemake merges them."""

    def merge(base: dict, over: dict) -> dict:
        for key, value in over.items():
            base[key] = (
                merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
            )
        return base

    base = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    return merge(base, yaml.safe_load((REPOSITORY / "workflow/config" / name).read_text()))


def test_the_default_configuration_is_valid() -> None:
    parsed = config.load(REPOSITORY / "config.yaml")
    assert parsed.models["cof"].family == "cof"


@pytest.mark.parametrize("name", ["tiny.yaml", "bench.yaml", "paper.yaml"])
def test_every_scale_is_valid(name: str) -> None:
    config.parse(merged(name))


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
        ({"cohort": {"sheet": "subjects.csv"}}, "only a synthetic cohort knows its exact motion"),
        ({"registrations": {"toppr": {}, "truth": {}}}, "kept for the exact displacement"),
        ({"models": {"cof": {"family": "cof", "registration": "truth"}}}, "no registration is called 'truth'"),
        ({"models": {"cof": {"family": "shuffled", "model": "cof"}}}, "no model of the family 'cof' is called 'cof'"),
    ],
)
def test_a_control_that_cannot_be_made_is_refused(change: dict, said: str) -> None:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    raw["models"]["true"] = {"family": "oracle", "registration": "truth"}
    config.parse(raw)
    with pytest.raises(UsageError, match=said):
        config.parse(raw | change)


def test_settings_survive_the_command_line(tmp_path: Path) -> None:
    settings = config.RegistrationSettings(iterations=7, channels=(8, 16))
    assert config.read_settings(config.dump(settings), config.RegistrationSettings) == settings
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    assert config.read_settings(str(file), config.RegistrationSettings) == settings


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    committed = json.loads((REPOSITORY / "workflow/schemas/config.schema.json").read_text())
    assert committed == json.loads(json.dumps(config.schema()))
