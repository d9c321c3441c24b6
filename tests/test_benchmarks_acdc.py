"""The measures of `benchmarks/acdc`, on hearts whose contraction is known."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cof.cine.volume import read_labels
from cof.config.data import GridSettings
from cof.config.motion import RegistrationSettings
from cof.heart.structures import STRUCTURES
from cof.motion.stage import Trained
from cof.motion.toppr import Toppr
from unseen import Unseen

FOLDER = Path(__file__).parents[1] / "benchmarks/acdc"
GRID = GridSettings(shape=(12, 64, 64), spacing_mm=(10.0, 2.4, 2.4))
RADIUS, THICKNESS = 12.0, 4.0


@pytest.fixture
def acdc(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the benchmark, by their names."""
    for folder in (FOLDER.parent / "shared", FOLDER):
        monkeypatch.syspath_prepend(folder)
    names = [path.stem for folder in (FOLDER, FOLDER.parent / "shared") for path in folder.glob("*.py")]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names if name != "run"})
    for name in names:
        sys.modules.pop(name, None)


def rings(radius: float) -> np.ndarray:
    """Labels [10, 64, 64] of one circular LV in every slice, its wall, and an RV beside it."""
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(y - 31.5, x - 31.5)
    labels = np.zeros((10, 64, 64), np.uint8)
    labels[:, distance < radius + THICKNESS] = STRUCTURES["myocardium"]
    labels[:, distance < radius] = STRUCTURES["LV"]
    labels[:, np.hypot(y - 31.5, x - 53.5) < 4] = STRUCTURES["RV"]
    return labels


def heart(acdc: SimpleNamespace, scale: float, name: str = "patient001", split: str = "train") -> SimpleNamespace:
    """A heart whose cavity shrinks in the plane by a scale."""
    labels = np.stack([rings(RADIUS), rings(RADIUS / scale)])
    frames = np.random.default_rng(0).normal(100, 10, labels.shape) + 50 * labels
    return acdc.hearts.Heart(name, "NOR", split, frames.astype(np.int16), labels, GRID.spacing_mm)


def shrinking(scale: float) -> torch.Tensor:
    """Displacement [3, 12, 32, 32] in mm on the motion grid that scales every slice about its middle."""
    away = (2 * torch.arange(32) + 0.5 - 31.5) * 2.4 * (scale - 1)
    return torch.stack([torch.zeros(12, 32, 32), *(away.expand(12, 32, 32).transpose(1, 2), away.expand(12, 32, 32))])


def case(acdc: SimpleNamespace, scale: float) -> SimpleNamespace:
    one = heart(acdc, scale)
    seen = acdc.registration.Canonical.of(one, GRID)
    return acdc.function.Case.of(one, seen, one.labels, 512, {"registered": shrinking(scale)})


def test_a_scaled_plane_has_the_ef_of_its_area_and_no_motion_has_none(acdc: SimpleNamespace) -> None:
    known = case(acdc, 1.3)
    moved = acdc.function.carried(known, torch.stack([torch.zeros(3, 12, 32, 32), shrinking(1.3)]))
    assert moved["ef_soft_pct"] == pytest.approx(100 * (1 - 1 / 1.3**2), abs=1)
    assert moved["ef_hard_pct"] == pytest.approx(100 * (1 - 1 / 1.3**2), abs=3)  # a few pixels of its edge
    assert moved["dice_lv"] > 0.97
    still = acdc.function.carried(known, torch.zeros(1, 3, 12, 32, 32))
    assert still["ef_soft_pct"] == pytest.approx(0, abs=1e-3)
    assert still["ef_hard_pct"] == 0
    assert still["dice_lv"] == pytest.approx(2 / (1 + 1.3**2), abs=0.02)  # a disc within a larger one
    assert still["dice_rv"] == 1


def test_the_mean_motion_of_equal_hearts_is_theirs(acdc: SimpleNamespace) -> None:
    cases = [case(acdc, 1.25) for _ in range(3)]
    mean, _ = acdc.function.mean_motion([one.example for one in cases])
    told = acdc.function.carried(cases[0], mean)
    assert told["ef_soft_pct"] == pytest.approx(100 * (1 - 1 / 1.25**2), abs=1.5)


def test_where_displacements_end_no_registration_has_folded(acdc: SimpleNamespace) -> None:
    """A shift of 30 mm, regular wherever it is one, ends abruptly at the edge of what was registered."""
    one = heart(acdc, 1.25)
    wide = np.pad(one.labels, ((0, 0), (0, 0), (8, 8), (8, 8)))
    wide[:, :, 39, :] = STRUCTURES["RV"]  # reaches both edges of the image
    native = acdc.hearts.Heart("patient001", "NOR", "train", 100 + 50 * wide.astype(np.int16), wide, GRID.spacing_mm)
    pair = acdc.registration.Pair.of(native, [GRID], {})
    shift = torch.zeros(1, 3, *wide.shape[1:])
    shift[:, 2][(..., *pair.box)] = 30.0
    for row in acdc.registration.registration_rows(pair, shift):
        assert (row["folded_pct"], row["sd_log_jacobian"]) == (0, pytest.approx(0, abs=1e-6))


def test_every_registration_sees_its_own_grid(acdc: SimpleNamespace) -> None:
    other = GridSettings(shape=(10, 32, 32), spacing_mm=(10.0, 4.8, 4.8))
    pair = acdc.registration.Pair.of(heart(acdc, 1.25), [GRID, other], {})
    for trained in map(network, (GRID, other)):
        u = acdc.registration.register(pair, trained, acdc.registration.PathSettings(), "expert")
        assert u.shape == (1, 3, trained.shape[0], trained.shape[1] // 2, trained.shape[2] // 2)


def network(grid: GridSettings) -> Trained:
    """A registration on a grid, untrained."""
    settings = RegistrationSettings(channels=(4, 4))
    return Trained(Toppr.of(settings, grid.spacing_mm).eval(), settings, grid.shape, "")


def test_equal_labels_agree_wholly_and_a_shift_is_its_distance(acdc: SimpleNamespace) -> None:
    labels = rings(RADIUS)
    for row in acdc.labels.agreement(labels, labels, GRID.spacing_mm):
        assert (row["dice"], row["hd95_mm"]) == (1, 0)
    shifted = np.roll(labels, 2, axis=2)
    assert next(acdc.labels.agreement(shifted, labels, GRID.spacing_mm))["hd95_mm"] == pytest.approx(4.8)


def test_ef_is_by_voxels_and_unknown_without_a_ventricle(acdc: SimpleNamespace) -> None:
    assert heart(acdc, 2.0).ef_pct == pytest.approx(75, abs=1)
    assert np.isnan(acdc.hearts.ejection_fraction(np.zeros((2, 3, 4, 4), np.uint8)))


def test_a_regression_that_tells_the_group_alone_has_no_r_within_groups(acdc: SimpleNamespace) -> None:
    truth = np.array([20, 22, 24, 60, 62, 64], float)
    groups = pd.Series(["DCM"] * 3 + ["NOR"] * 3)
    told = pd.DataFrame({"told": [24, 22, 20, 64, 62, 60], "truth": truth}, dtype=float)
    say = acdc.function_table._correlation
    assert float(say(told)) > 0.9
    assert say(acdc.function_table.within(told, groups)) == "-1.00"
    assert say(told.assign(told=42.0)) == "-"


def test_the_page_says_by_how_much_the_contracted_model_is_nearer(acdc: SimpleNamespace) -> None:
    table, function = acdc.function_table, acdc.function
    methods = {"cof, contracted": 1.0, "cof, as it is": -3.0, **dict.fromkeys(table.PEERS, 2.0)}
    rows = pd.DataFrame(
        {
            "patient": f"patient{number:03d}",
            "group": "NOR",
            "method": method,
            "ef_expert_pct": 50.0 + number,
            "ef_soft_pct": 50.0 + number + error,
            "ef_hard_pct": 50.0 + number + error,
            **dict.fromkeys(("dice_lv", "dice_myo", "dice_rv"), 0.8),
        }
        for number in range(5)
        for method, error in methods.items()
    )
    said = table.say_function(rows, "cof, contracted", "cof, as it is").splitlines()
    assert f"| {function.MEAN}, soft | -1.0 [-1.0, -1.0] | -1.0 [-1.0, -1.0] |" in said
    assert "| cof, as it is, hard | -2.0 [-2.0, -2.0] | -2.0 [-2.0, -2.0] |" in said
    assert any(line.startswith("| cof, as it is | 3.0 [3.0, 3.0] | -3.0 | 1.00 | 1.00 |") for line in said)


def test_hearts_that_the_model_has_seen_are_told_apart(acdc: SimpleNamespace) -> None:
    rows = pd.DataFrame({"method": "cof", "split": ["train"] * 3 + ["validation"] * 3, "ef_expert_pct": 50.0})
    rows["ef_hard_pct"] = [51.0, 51, 51, 44, 44, 44]
    assert "| cof | 1.0 [1.0, 1.0], +1.0 | 6.0 [6.0, 6.0], -6.0 |" in acdc.function_table.say_by_split(rows)


def test_a_fold_is_told_by_the_others(acdc: SimpleNamespace) -> None:
    """The one heart that contracts otherwise than the rest moves as they do, whatever its own motion is."""
    cases = [case(acdc, 1.25) for _ in range(5)] + [case(acdc, 1.6)]
    shipped = acdc.function.Shipped(
        "cof", SimpleNamespace(frames=2, model=Still()), acdc.function.SubjectEcg.absent("sub-0001", 512)
    )
    rows = pd.DataFrame([row for some in acdc.function.in_folds(cases, shipped, 6) for row in some])
    odd = rows[rows["ef_expert_pct"] == cases[-1].heart.ef_pct].set_index("method")
    assert odd.loc[acdc.function.MEAN, "ef_soft_pct"] == pytest.approx(100 * (1 - 1 / 1.25**2), abs=1.5)
    assert odd.loc[acdc.function.REGRESSION, "ef_soft_pct"] == pytest.approx(cases[0].heart.ef_pct, abs=0.5)
    assert odd.loc["registered", "ef_soft_pct"] == pytest.approx(100 * (1 - 1 / 1.6**2), abs=1.5)


class Still:
    """A model whose hearts do not move."""

    def generate(self, subject, frames, seed):
        from cof.models.base import Generated

        return Generated(displacement=torch.zeros(frames, 3, 12, 32, 32))


def test_a_phantom_is_its_anchor_and_the_frame_of_its_smallest_exact_cavity(
    acdc: SimpleNamespace, unseen: Unseen
) -> None:
    folder = unseen.labels.parents[1]
    (one,) = acdc.hearts.read_phantoms(folder, None)
    exact = (read_labels(unseen.labels) == STRUCTURES["LV"]).sum(axis=(1, 2, 3))
    cavity = (one.labels == STRUCTURES["LV"]).sum(axis=(1, 2, 3))
    assert one.frames.shape == one.labels.shape
    assert cavity.tolist() == [exact[0], exact.min()]
    assert one.ef_pct == pytest.approx(100 * (1 - exact.min() / exact[0]))
    assert (one.group, one.split) == (acdc.hearts.PHANTOM, "test")
