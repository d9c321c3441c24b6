import numpy as np
import pytest
import torch

from cof.config.training import AffineSettings
from cof.motion.augmentation import AffineMaps
from cof.motion.warp import warp

SPACING = (10.0, 2.0, 3.0)
SHAPE = (5, 40, 30)
CPU = torch.device("cpu")


def _maps(seed: int = 0, count: int = 2) -> AffineMaps:
    settings = AffineSettings(rotation_deg=20, scale=0.15, translation_mm=6)
    return AffineMaps.draw(settings, count, np.random.default_rng(seed), CPU)


def _positions() -> torch.Tensor:
    axes = [(torch.arange(n) - (n - 1) / 2) * h for n, h in zip(SHAPE, SPACING)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def test_settings_of_zero_change_nothing():
    maps = AffineMaps.draw(AffineSettings(rotation_deg=0, scale=0, translation_mm=0), 1, np.random.default_rng(0), CPU)
    images = torch.rand(1, 1, *SHAPE)
    torch.testing.assert_close(maps.map_images(images, SPACING), images, atol=1e-5, rtol=0)


def test_maps_are_in_plane_and_never_mirror():
    maps = _maps(count=200)
    assert torch.equal(maps.matrices[:, 0], torch.tensor([1.0, 0, 0]).expand(200, 3))
    assert (maps.shifts[:, 0] == 0).all()
    assert (torch.linalg.det(maps.matrices) > 0.7).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_displacement_between_mapped_images_becomes_one_between_the_images(seed):
    """A linear u'(x) = G x + d found in mapped coordinates is u(y) = A (G A^-1 (y - b) + d) in the original ones."""
    maps, at = _maps(seed, 1), _positions()
    generator = torch.Generator().manual_seed(seed)
    gradient, constant = 0.1 * torch.randn(3, 3, generator=generator), torch.randn(3, generator=generator)
    mapped = (torch.einsum("ij,jzyx->izyx", gradient, at) + constant[:, None, None, None])[None]
    found = maps.unmap_displacement(mapped, SPACING)[0]
    matrix, shift = maps.matrices[0], maps.shifts[0]
    original = torch.einsum("ij,jzyx->izyx", torch.linalg.inv(matrix), at - shift[:, None, None, None])
    expected = torch.einsum(
        "ij,jzyx->izyx", matrix, torch.einsum("ij,jzyx->izyx", gradient, original) + constant[:, None, None, None]
    )
    inner = (slice(None), slice(None), slice(12, 28), slice(9, 21))
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-3, rtol=0)


def test_warping_before_or_after_the_maps_agrees():
    """W(V, u) seen through the maps is the mapped V warped by u'."""
    maps, at = _maps(3, 1), _positions()
    image = torch.exp(-((at[1] / 12) ** 2) - ((at[2] - 4) / 15) ** 2)[None, None]
    mapped_u = torch.stack([0 * at[0], 3 * torch.cos(at[2] / 20), 2 * torch.sin(at[1] / 20)])[None]
    one = warp(maps.map_images(image, SPACING), mapped_u, SPACING)
    other = maps.map_images(warp(image, maps.unmap_displacement(mapped_u, SPACING), SPACING), SPACING)
    inner = (..., slice(12, 28), slice(9, 21))
    assert (one - other)[inner].abs().max() < 0.02
    assert (one - maps.map_images(image, SPACING))[inner].abs().max() > 0.1


def test_a_mirrored_displacement_comes_back_with_its_sign_turned():
    """Only x is reflected, and so often as asked; a motion to one side of the mirror is one to the other before it."""
    settings = AffineSettings(rotation_deg=0, scale=0, translation_mm=0, mirror=0.25)
    maps = AffineMaps.draw(settings, 400, np.random.default_rng(0), CPU)
    mirrored = maps.matrices[:, 2, 2] == -1
    assert torch.equal(maps.matrices[~mirrored], torch.eye(3).expand(int((~mirrored).sum()), 3, 3))
    assert torch.equal(
        maps.matrices[mirrored], torch.diag(torch.tensor([1.0, 1, -1])).expand(int(mirrored.sum()), 3, 3)
    )
    assert 60 < mirrored.sum() < 140
    one = maps.one(int(mirrored.nonzero()[0]))
    image = torch.rand(1, 1, *SHAPE)
    torch.testing.assert_close(one.map_images(image, SPACING), image.flip(-1), atol=1e-5, rtol=0)
    displacement = torch.rand(1, 3, *SHAPE)
    expected = displacement.flip(-1) * torch.tensor([1.0, 1, -1])[:, None, None, None]
    torch.testing.assert_close(one.unmap_displacement(displacement, SPACING), expected, atol=1e-5, rtol=0)
