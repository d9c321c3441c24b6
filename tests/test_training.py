import pytest

from cof.config import CofSettings
from cof.training import learning_rate


def test_learning_rate_warms_up_and_falls():
    settings = CofSettings(iterations=100, warmup=0.09, learning_rate=1.0)
    assert learning_rate(1, settings) == pytest.approx(0.1)
    assert learning_rate(10, settings) > 0.95
    assert learning_rate(100, settings) < 0.001
    assert learning_rate(100, settings.model_copy(update={"schedule": "constant"})) == 1.0
