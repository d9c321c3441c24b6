import json
from pathlib import Path

import pytest

from cof.twins.shipped import model_or_default


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in ("cof", "contracted"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"report": {"model": "contracted"}}))
    return tmp_path


def test_the_model_that_is_asked_for_is_taken(weights: Path) -> None:
    assert model_or_default(weights, "cof") == "cof"
    assert model_or_default(weights, "other") == "other"  # which its loading refuses


def test_without_a_name_it_is_the_model_of_the_weights_report(weights: Path) -> None:
    assert model_or_default(weights, None) == "contracted"


def test_weights_that_do_not_have_or_name_it_are_of_cof(weights: Path, tmp_path: Path) -> None:
    (weights / "models/contracted").rmdir()
    assert model_or_default(weights, None) == "cof"
    (weights / "config.json").write_text("{}")
    assert model_or_default(weights, None) == "cof"
    (weights / "config.json").unlink()
    assert model_or_default(weights, None) == "cof"
