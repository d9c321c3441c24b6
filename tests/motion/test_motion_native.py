import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cof.cine.grid import Placement
from cof.errors import CofError, Reason
from cof.motion.native import TAPER_VOXELS, NativeCrop, native_displacement, warp_native

SHAPE, SPACING = (6, 24, 20), (10.0, 3.6, 3.6)
NATIVE_SHAPE, NATIVE_SPACING = (9, 70, 64), (10.0, 1.8, 1.5)


def _placement(offset=(1.0, 8.4, 5.2)) -> Placement:
    scale = tuple(c / n for c, n in zip(SPACING, NATIVE_SPACING))
    return Placement(offset, scale, SHAPE, SPACING, NATIVE_SHAPE, NATIVE_SPACING, (0.0, 1.0), (True,) * 6)


def _inner(placement: Placement, margin: int = TAPER_VOXELS) -> tuple[slice, ...]:
    z, y, x = NativeCrop.of(placement).box
    return z, slice(y.start + margin, y.stop - margin), slice(x.start + margin, x.stop - margin)


def test_constant_displacement_is_itself_inside_and_nothing_outside():
    placement = _placement()
    u = torch.tensor([3.0, -5.0, 7.0])[None, :, None, None, None].expand(1, 3, 6, 12, 10)
    found = native_displacement(u, placement)[0]
    assert found.shape == (3, *NATIVE_SHAPE)
    inner = found[(slice(None), *_inner(placement))]
    torch.testing.assert_close(inner, u[0, :, :1, :1, :1].expand_as(inner))
    outside = torch.ones(NATIVE_SHAPE, dtype=torch.bool)
    outside[NativeCrop.of(placement).box] = False
    assert (found[:, outside] == 0).all()
    rim = found[1, 3, NativeCrop.of(placement).box[1].start, 30]
    assert rim.abs() < 1  # the taper starts near zero


def test_linear_displacement_is_carried_over_exactly():
    """A field linear in the position is interpolated without error away from the clamped border."""
    placement = _placement()
    z, y, x = (torch.arange(n, dtype=torch.float32) for n in (6, 12, 10))
    u = torch.zeros(1, 3, 6, 12, 10)
    u[0, 0] = (2 * z)[:, None, None]
    u[0, 1] = (0.5 * (2 * y + 0.5))[None, :, None]  # motion index h lies at canonical 2 h + 1/2
    u[0, 2] = (-0.25 * (2 * x + 0.5))[None, None, :]
    found = native_displacement(u, placement)[(0, slice(None), *_inner(placement, 6))]
    box = _inner(placement, 6)
    canonical = [
        (np.arange(part.start, part.stop) - offset) / scale
        for part, offset, scale in zip(box, placement.offset, placement.scale)
    ]
    np.testing.assert_allclose(found[0, :, 9, 9], 2 * canonical[0], atol=1e-4)
    np.testing.assert_allclose(found[1, 2, :, 9], 0.5 * canonical[1], atol=1e-4)
    np.testing.assert_allclose(found[2, 2, 9, :], -0.25 * canonical[2], atol=1e-4)


def test_warped_stack_agrees_with_scipy():
    placement, generator = _placement(), torch.Generator().manual_seed(0)
    anchor = torch.rand(NATIVE_SHAPE, generator=generator)
    u = 4 * torch.randn(3, 3, 6, 12, 10, generator=generator)
    frames = warp_native(anchor, u, placement)
    for frame, motion in zip(frames, native_displacement(u, placement).numpy()):
        voxels = motion / np.array(NATIVE_SPACING)[:, None, None, None]
        expected = map_coordinates(anchor.numpy(), np.indices(NATIVE_SHAPE) + voxels, order=1, mode="nearest")
        np.testing.assert_allclose(frame.numpy(), expected, atol=1e-4)


def test_no_motion_copies_the_anchor_bit_by_bit():
    anchor = torch.randint(-500, 3000, NATIVE_SHAPE, dtype=torch.int16)
    u = torch.zeros(2, 3, 6, 12, 10)
    u[1, 1] = 5
    frames = warp_native(anchor, u, _placement())
    assert torch.equal(frames[0], anchor.float())
    outside = torch.ones(NATIVE_SHAPE, dtype=torch.bool)
    outside[NativeCrop.of(_placement()).box] = False
    assert torch.equal(frames[1][outside], anchor.float()[outside])
    assert not torch.equal(frames[1], frames[0])


def test_chosen_slices_are_those_of_the_whole_crop():
    crop, volume = NativeCrop.of(_placement()), torch.rand(NATIVE_SHAPE)
    u = torch.randn(2, 3, 6, 12, 10, requires_grad=True)
    whole = crop.sample(volume, u)
    assert list(crop.slices) == [1, 2, 3, 4, 5, 6]
    some = crop.sample(volume, u, torch.tensor([2, 5]))
    torch.testing.assert_close(some, whole[:, [1, 4]])
    some.sum().backward()
    assert u.grad is not None
    assert u.grad.abs().sum() > 0


def test_a_crop_that_sticks_out_of_the_stack_is_cut():
    placement = _placement(offset=(-2.0, -10.0, 40.0))
    box = NativeCrop.of(placement).box
    assert (box[0].start, box[1].start, box[2].stop) == (0, 0, 64)
    assert torch.isfinite(warp_native(torch.rand(NATIVE_SHAPE), torch.ones(1, 3, 6, 12, 10), placement)).all()


def test_a_crop_beside_the_stack_is_a_fault_of_the_subject():
    with pytest.raises(CofError) as error:
        NativeCrop.of(_placement(offset=(0.0, 500.0, 0.0)))
    assert error.value.reason == Reason.CINE_GEOMETRY


def test_true_motion_of_the_phantom_makes_its_frames(ring):
    """The known displacement, applied to the native anchor, gives the native frames up to interpolation."""
    subject = ring(0).subject
    moved = warp_native(subject.native_frame(0), ring(0).displacement, subject.placement)
    box = NativeCrop.of(subject.placement).box
    for frame in (2, 4):
        real = subject.native_frame(frame)[box]
        error = (moved[frame][box] - real).abs().mean()
        assert error < 0.25 * (subject.native_frame(0)[box] - real).abs().mean()
