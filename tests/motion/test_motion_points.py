"""Points of the tissue go where the tissue goes: along the inverse of the displacement that pulls frames back."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cof.cine.grid import Placement
from cof.motion.integrate import invert
from cof.motion.native import native_displacement
from cof.motion.points import follow
from cof.motion.resolution import motion_spacing
from cof.truth.sampling import motion_voxels

SHAPE, SPACING = (6, 48, 48), (10.0, 2.4, 2.4)
NATIVE_SHAPE, NATIVE_SPACING = (8, 100, 96), (10.0, 1.5, 1.5)
SCALE = tuple(canonical / native for canonical, native in zip(SPACING, NATIVE_SPACING))
PLACEMENT = Placement(
    (1.0, 12.5, 10.25), SCALE, SHAPE, SPACING, NATIVE_SHAPE, NATIVE_SPACING, (0.0, 1.0), (True,) * 6
)  # fmt: skip
CENTRE = np.array([35.0, 74.0, 70.0])
AMPLITUDES = (0.0, 4.0, 9.0, 6.0)  # mm, of frames


def pull(at: np.ndarray, amplitude: float) -> np.ndarray:
    """Displacement [..., 3] at points [..., 3] in mm: a smooth contraction with a turn, and a base that descends."""
    from_axis = at - CENTRE
    radius = np.linalg.norm(from_axis[..., 1:], axis=-1)
    share = amplitude * radius / 25 * np.exp(-((radius / 40) ** 2))
    across = from_axis[..., 1:] / np.maximum(radius, 1e-9)[..., None]
    turned = np.stack([-across[..., 1], across[..., 0]], axis=-1)
    along = -0.6 * amplitude * (1 - at[..., 0] / 80) * np.exp(-((radius / 60) ** 2))
    return np.concatenate([along[..., None], share[..., None] * (across + 0.3 * turned)], axis=-1)


def knots() -> Tensor:
    axes = [voxels * step for voxels, step in zip(motion_voxels(PLACEMENT), NATIVE_SPACING)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return torch.from_numpy(np.stack([np.moveaxis(pull(at, amplitude), -1, 0) for amplitude in AMPLITUDES])).float()


def ring(radius: float = 25.0) -> np.ndarray:
    """Points [V, 3] of the anchor about the axis, between slices too."""
    height, angle = np.meshgrid(np.linspace(15, 55, 17), np.linspace(0, 2 * np.pi, 48, endpoint=False))
    around = np.stack([height, radius * np.sin(angle), radius * np.cos(angle)], axis=-1).reshape(-1, 3)
    return around + CENTRE * (0, 1, 1)


def carried(points: np.ndarray, amplitude: float) -> np.ndarray:
    """Where points of the anchor lie, exactly: x + u(x) = X."""
    at = points.copy()
    for _ in range(200):
        at -= 0.5 * (at + pull(at, amplitude) - points)
    assert np.abs(at + pull(at, amplitude) - points).max() < 1e-9
    return at


def test_points_go_where_analytic_motion_takes_them():
    points = ring()
    found, left = follow(torch.from_numpy(points), knots(), PLACEMENT)
    assert found.shape == (len(AMPLITUDES), len(points), 3)
    assert float(left.max()) < 0.01
    np.testing.assert_allclose(found[0], points, atol=1e-6)
    for frame, amplitude in enumerate(AMPLITUDES):
        exact = carried(points, amplitude)
        assert np.abs(found[frame].numpy() - exact).max() < 0.5
        if amplitude == max(AMPLITUDES):
            assert np.linalg.norm(exact - points, axis=1).max() > 6


def test_a_field_in_the_wrong_direction_is_far_off():
    """What pulls frames back moves points the other way; so does its inverse, in the place of the field itself."""
    points, exact = ring(), carried(ring(), AMPLITUDES[2])
    pushed = points + pull(points, AMPLITUDES[2])
    turned, _ = follow(
        torch.from_numpy(points), invert(knots()[2:3].double(), motion_spacing(SPACING)).float(), PLACEMENT
    )
    for wrong in (pushed, turned[0].numpy()):
        assert np.linalg.norm(wrong - exact, axis=1).min() > 5
        radius = np.linalg.norm((wrong - CENTRE)[:, 1:], axis=1)
        assert (radius > 28).all()  # it widens
    assert (np.linalg.norm((exact - CENTRE)[:, 1:], axis=1) < 22).all()


def test_points_move_by_what_moves_images():
    """At a voxel x of the native stack, the tissue of x + u(x) is found again."""
    motion = knots()[2:3]
    field = native_displacement(motion, PLACEMENT)[0].double()
    index = torch.tensor([[2, 40, 50], [4, 55, 40], [3, 60, 60], [1, 30, 45]])
    voxels = index.double() * torch.tensor(NATIVE_SPACING)
    tissue = voxels + field[:, index[:, 0], index[:, 1], index[:, 2]].T
    found, _ = follow(tissue, motion, PLACEMENT)
    torch.testing.assert_close(found[0], voxels, atol=0.01, rtol=0)


def test_nothing_moves_outside_the_canonical_grid():
    """Nor in slices beyond it; beyond the stack the field goes on."""
    outside = torch.tensor([[30.0, 3.0, 70.0], [30.0, 74.0, 140.0], [75.0, 74.0, 90.0]], dtype=torch.float64)
    found, left = follow(outside, knots(), PLACEMENT)
    torch.testing.assert_close(found, outside.expand_as(found), atol=1e-3, rtol=0)
    assert float(left.max()) < 0.01


def test_where_the_motion_folds_is_told():
    folding = knots()[:1].clone()
    folding[0, 2] = torch.linspace(60, -60, folding.shape[-1])  # steeper than -1: left and right change places
    _, left = follow(torch.from_numpy(ring()), folding, PLACEMENT)
    assert float(left.max()) > 0.1


@pytest.mark.parametrize("step", [(0.0, 3.0, -2.0), (4.0, 0.0, 0.0)])
def test_a_shift_moves_points_back_by_it(step: tuple[float, float, float]):
    shifted = torch.tensor(step)[None, :, None, None, None].expand(1, 3, 6, 24, 24)
    points = torch.from_numpy(ring(20.0))
    found, _ = follow(points, shifted, PLACEMENT)
    torch.testing.assert_close(found[0], points - torch.tensor(step).double(), atol=0.01, rtol=0)
