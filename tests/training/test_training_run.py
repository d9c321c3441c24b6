from pathlib import Path

import pytest

from cof.config.flow import CofSettings
from cof.training.run import Run, learning_rate


def test_learning_rate_warms_up_and_falls():
    settings = CofSettings(iterations=100, warmup=0.09, learning_rate=1.0)
    assert learning_rate(1, settings) == pytest.approx(0.1)
    assert learning_rate(10, settings) > 0.95
    assert learning_rate(100, settings) < 0.001
    assert learning_rate(100, settings.model_copy(update={"schedule": "constant"})) == 1.0


def test_parts_of_a_run_have_files_of_their_own_that_go_with_it(tmp_path):
    run = Run(tmp_path / "a1.pt", tmp_path / "curves", title="model")
    part = run.part("codec")
    assert (part.checkpoint, part.curves) == (tmp_path / "a1.codec.pt", tmp_path / "curves/codec")
    assert part.title == "model: codec"
    assert Run(Path("a1.pt")).part("codec").curves is None
    for path in (run.checkpoint, part.checkpoint, tmp_path / "a10.pt", tmp_path / "a10.codec.pt"):
        path.touch()
    run.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a10.codec.pt", "a10.pt"]
