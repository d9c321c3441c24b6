from pathlib import Path

import pytest
import torch

from cof.config import CofSettings
from cof.training import learning_rate, save_checkpoint


def test_learning_rate_warms_up_and_falls():
    settings = CofSettings(iterations=100, warmup=0.09, learning_rate=1.0)
    assert learning_rate(1, settings) == pytest.approx(0.1)
    assert learning_rate(10, settings) > 0.95
    assert learning_rate(100, settings) < 0.001
    assert learning_rate(100, settings.model_copy(update={"schedule": "constant"})) == 1.0


def test_a_checkpoint_leaves_nothing_aside(tmp_path: Path):
    path = tmp_path / "folder/c.pt"
    for value in (1.0, 2.0):
        save_checkpoint(path, {"value": torch.tensor(value)})
    assert [file.name for file in path.parent.iterdir()] == ["c.pt"]
    assert torch.load(path, weights_only=True)["value"] == 2
