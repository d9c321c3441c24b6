"""The weights that come with the repository: today's code reads them, and they make good hearts."""

from pathlib import Path

import numpy as np
import pytest

from cof.artefacts.origin import Origin
from cof.cine.volume import read_cine, read_labels
from cof.heart.structures import STRUCTURES
from cof.labels import artefact
from cof.metrics.overlap import dice
from cof.models.trained import load
from cof.motion.stage import load as load_registration
from unseen import BENCH, Unseen

MODELS = sorted(path.name for path in (BENCH / "models").iterdir())


@pytest.mark.parametrize("name", MODELS)
def test_todays_code_reads_every_model(name: str) -> None:
    trained = load(BENCH / "models" / name)
    assert trained.shape == (10, 64, 64)
    assert trained.frames == 25


def test_labeller_and_registration_are_whole() -> None:
    assert artefact.load(BENCH / "labeller").configuration.patch_size
    load_registration(BENCH / "registrations/toppr")


def test_each_says_that_it_has_seen_simulated_hearts_alone() -> None:
    folders = [BENCH / "labeller", *(BENCH / "registrations").iterdir(), *(BENCH / "models").iterdir()]
    origins = [Origin.read(folder) for folder in folders]
    assert all(origin is not None and origin.kind == "simulated" for origin in origins)
    assert [origin.count for origin in origins if origin] == [32, *[160] * (len(folders) - 1)]
    for name in MODELS:
        assert "| trained on | 160 simulated hearts (" in (BENCH / "models" / name / "card.md").read_text()


def test_they_stay_small() -> None:
    assert sum(path.stat().st_size for path in BENCH.rglob("*") if path.is_file()) < 40e6


@pytest.mark.slow
def test_an_unseen_heart_moves_as_it_should(one_heart: tuple[Path, str], unseen: Unseen) -> None:
    """From raw files to the generated heart, against the exact truth of a phantom that no training has seen."""
    folder, _ = one_heart
    made = read_labels(folder / "twin.labels.nii.gz")
    exact = read_labels(unseen.labels)
    assert read_cine(folder / "twin.nii").frames.shape == exact.shape
    lv = STRUCTURES["LV"]
    moving, still = dice(made, exact, lv), dice(np.repeat(made[:1], len(made), 0), exact, lv)
    assert moving.mean() > 0.85
    smallest = int((exact == lv).sum((1, 2, 3)).argmin())
    assert moving[smallest] > still[smallest] + 0.1
    volumes = (made == lv).sum((1, 2, 3))
    rr_ms = read_cine(folder / "twin.nii").rr_ms
    assert abs(int(np.argmin(volumes)) / len(volumes) * rr_ms - unseen.known["t_es_ms"]) < 80


def test_no_model_holds_data_of_participants() -> None:
    families = {load(BENCH / "models" / name).settings.family for name in MODELS}
    assert not families & {"random", "shuffled"}
