import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.blocks import Warp

from cof.motion.resolution import motion_shape, motion_spacing, to_canonical, to_motion
from cof.motion.warp import fill_invalid, reachable, stack_share, warp

SPACING = (10.0, 3.6, 1.8)


def _constant(shape, zyx) -> torch.Tensor:
    return torch.tensor(zyx)[None, :, None, None, None].expand(1, 3, *shape).clone()


@pytest.mark.parametrize("voxels", [(1, 0, 0), (0, 2, 0), (0, 0, -3), (-1, 3, 2)])
def test_translation_by_whole_voxels_is_exact(voxels):
    volume = torch.rand(1, 1, 6, 12, 14)
    u = _constant((6, 12, 14), [n * h for n, h in zip(voxels, SPACING)])
    out = warp(volume, u, SPACING)
    rows = [np.clip(np.arange(size) + n, 0, size - 1) for size, n in zip((6, 12, 14), voxels)]
    expected = volume[0, 0].numpy()[np.ix_(*rows)]
    np.testing.assert_allclose(out[0, 0].numpy(), expected, atol=1e-5)


def test_agrees_with_monai_in_voxels_with_border():
    volume, voxels = torch.rand(2, 1, 5, 9, 8), torch.randn(2, 3, 5, 9, 8) * 2
    reference = Warp(mode="bilinear", padding_mode="border")(volume, voxels)
    ours = warp(volume, voxels * torch.tensor(SPACING)[:, None, None, None], SPACING)
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=0)


def test_one_volume_is_warped_by_many_displacements():
    volume, u = torch.rand(1, 2, 5, 8, 8), torch.randn(3, 3, 5, 8, 8)
    torch.testing.assert_close(warp(volume, u, SPACING)[1:2], warp(volume, u[1:2], SPACING))


@given(
    corner=st.tuples(*[st.integers(0, 9)] * 3), size=st.integers(1, 4), length=st.floats(0, 30), seed=st.integers(0, 99)
)
def test_beyond_the_box_that_a_mask_reaches_nothing_arrives(corner, size, length, seed):
    mask = torch.zeros(10, 10, 10)
    mask[tuple(slice(first, first + size) for first in corner)] = 1
    u = length * (2 * torch.rand(2, 3, 10, 10, 10, generator=torch.Generator().manual_seed(seed)) - 1)
    box = reachable(mask > 0, u, SPACING)
    whole = warp(mask[None, None], u, SPACING)[:, 0]
    part = warp(mask[box][None, None], u[(..., *box)], SPACING)[:, 0]
    torch.testing.assert_close(part, whole[(..., *box)], atol=1e-4, rtol=0)
    whole[(..., *box)] = 0
    assert not whole.any()


def test_the_stack_reaches_one_slice_distance_beyond_its_ends():
    for slices, share in ((0, 1), (0.5, 1), (0.75, 0.75), (1, 0.5), (1.25, 0.25), (1.5, 0), (4, 0)):
        for first, last in ((0, 5), (1, 4)):
            up, down = (stack_share(torch.full((6, 3, 2), by * 10.0), 10.0, first, last) for by in (-slices, slices))
            assert (up[first] == share).all()
            assert (down[last] == share).all()
    assert (stack_share(torch.full((6, 3, 2), -20.0), 10.0, 0, 5)[2:] == 1).all()


def test_invalid_slices_repeat_their_valid_neighbour():
    volume = torch.arange(6.0)[:, None, None].expand(6, 2, 2)
    filled = fill_invalid(volume, (False, False, True, True, True, False))
    assert filled[:, 0, 0].tolist() == [2, 2, 2, 3, 4, 4]


def test_motion_grid_keeps_linear_fields_in_place():
    """A field that is linear in position, averaged to the motion grid, interpolates back to itself inside."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
    field = (2 * y - 3 * x).expand(1, 1, 4, 16, 12)
    back = to_canonical(to_motion(field))
    torch.testing.assert_close(back[..., 1:-1, 1:-1], field[..., 1:-1, 1:-1])
    assert motion_shape((4, 16, 12)) == (4, 8, 6)
    assert motion_spacing((10.0, 1.8, 1.5)) == (10.0, 3.6, 3.0)
    with pytest.raises(ValueError, match="even"):
        motion_shape((4, 15, 12))
