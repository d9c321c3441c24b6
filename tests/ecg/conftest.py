from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cof.ecg.record import LEADS
from cof.phantom.cardiosoft import write_ecg
from cof.phantom.latents import Latents
from cof.phantom.population import sample

HEALTHY = {
    "sex": "M", "hr_ecg_bpm": 64.0, "rr_cv": 0.03, "rhythm": "sinus", "conduction": "normal", "pr_ms": 160.0,
    "p_duration_ms": 96.0, "qrs_ms": 90.0, "qt_ms": 400.0, "axis_deg": 35.0, "infarct": "none", "infarct_size": 0.0,
    "lvh": False, "strain": False, "ecg_gain": 1.0, "low_voltage": False, "diastolic_dysfunction": False,
}  # fmt: skip


@pytest.fixture
def make_latents() -> Callable[..., Latents]:
    """Latents of a healthy man with a few changes."""
    return lambda **changes: replace(sample("sub-0001", 0), **(HEALTHY | changes))


@pytest.fixture
def ecg_file(tmp_path: Path, make_latents: Callable[..., Latents]) -> Callable[..., Path]:
    """Write the CardioSoft file of a synthetic participant."""

    def write(seed: int = 0, **changes: Any) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.xml"
        write_ecg(path, make_latents(**changes), seed)
        return path

    return write


@pytest.fixture
def counts() -> dict[str, np.ndarray]:
    """Ten seconds of integer counts of twelve leads that obey Einthoven's and Goldberger's laws exactly."""
    rng = np.random.default_rng(0)
    leads = {name: 2 * rng.integers(-200, 200, 5000) for name in LEADS}
    one, two = leads["I"], leads["II"]
    return leads | {"III": two - one, "aVR": -(one + two) // 2, "aVL": one - two // 2, "aVF": two - one // 2}
