"""The segments of the images are those of the simulator: an infarct is found where it was put."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open

from cof.cine.grid import place
from cof.cine.volume import read_labels
from cof.config.data import GridSettings, PhantomSettings
from cof.metrics.regional import regional_function
from cof.phantom.population import sample
from cof.phantom.stage import Member, make_subject
from cof.truth.artefacts import Truth

SETTINGS = PhantomSettings(arm="enriched", frames=12, slices=9, matrix=112, slice_shift_mm=0)


@pytest.mark.slow
@pytest.mark.parametrize("territory", ["lad", "rca", "lcx"])
def test_an_infarct_thickens_less_where_it_lies(territory: str, tmp_path: Path) -> None:
    drawn = (sample(f"sub-{number:04d}", 0, "enriched") for number in range(1, 2000))
    who = next(one.participant for one in drawn if one.infarct == territory and one.infarct_size > 0.2)
    make_subject(Member(who, "test", False), tmp_path, SETTINGS, 0)
    name = tmp_path / "truth" / f"{who}_2"
    labels, known = read_labels(name.with_suffix(".labels.nii.gz")), json.loads(name.with_suffix(".json").read_text())
    with safe_open(name.with_suffix(".safetensors"), "numpy") as file:
        z, y, x = json.loads(file.metadata()["geometry"])["origin"]
        truth = Truth(labels, file.get_tensor("displacement"), (z, y, x), known["t_es_ms"])
    anchor = np.random.default_rng(0).normal(size=labels.shape[1:])
    spacing = known["stack"]["spacing_mm"]
    placement = place(anchor, labels[0], tuple(spacing), GridSettings(shape=(9, 64, 64), spacing_mm=(10, 2.4, 2.4)))
    affine = nib.load(name.with_suffix(".labels.nii.gz")).affine
    mirrored = float(np.linalg.det(affine[:3, :3])) > 0
    assert not mirrored
    displacement, _ = truth.on_motion_grid(placement, len(labels))
    made = regional_function(labels[0], displacement, placement, known["rr_ms"], mirrored)
    scar = np.array(known["segments"]["infarct_share"])
    print(territory, scar.round(2), made.thickening_pct.round(0), np.array(known["segments"]["gain"]).round(2))
    heavy, free = scar > 0.5, scar < 0.1
    # The base leaves the basal slices in systole, whatever their wall does: compare with others of the same level.
    level = np.repeat([0, 1, 2], [6, 6, 4])
    pairs = [made.thickening_pct[heavy & (level == k)].mean() - made.thickening_pct[free & (level == k)].mean()
             for k in range(3) if (heavy & (level == k)).any() and (free & (level == k)).any()]  # fmt: skip
    assert pairs
    assert max(pairs) < 0
    assert np.mean(pairs) < -5
