import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.motion.integrate import compose, exponential, invert
from cof.motion.resolution import to_canonical
from cof.motion.warp import warp

SPACING = (3.0, 2.0, 2.5)
SHAPE = (24, 32, 28)


def _smooth(seed: int, size_mm: float) -> torch.Tensor:
    """A smooth random velocity that vanishes at the edges."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, 3, 4, 4, generator=generator)
    field = torch.nn.functional.interpolate(coarse, size=SHAPE, mode="trilinear", align_corners=True)
    window = torch.ones(())
    for axis, n in enumerate(SHAPE):
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = n
        window = window * torch.sin(torch.linspace(0, torch.pi, n)).reshape(shape)
    field = field * window
    return size_mm * field / field.abs().max()


def test_exponential_of_a_constant_velocity_is_a_translation():
    velocity = torch.tensor([4.0, -6.0, 2.5])[None, :, None, None, None].expand(1, 3, *SHAPE)
    torch.testing.assert_close(exponential(velocity, SPACING), velocity.contiguous(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_forwards_and_backwards_is_the_identity(seed):
    velocity = _smooth(seed, 6.0)
    there, back = exponential(velocity, SPACING), exponential(-velocity, SPACING)
    left_over = compose(there, back, SPACING).abs()
    assert there.abs().max() > 4
    assert left_over.max() < 0.4  # a fifth of a voxel
    assert left_over.mean() < 0.02


def test_exponential_solves_the_flow_equation():
    """In one dimension, v(x) = a x gives x -> x exp(a)."""
    rate = 0.3
    x = (torch.arange(64) - 31.5) * 1.0
    velocity = torch.zeros(1, 3, 4, 4, 64)
    velocity[:, 2] = rate * x
    moved = exponential(velocity, (10.0, 1.0, 1.0))[0, 2, 2, 2]
    expected = x * (torch.tensor(rate).exp() - 1)
    torch.testing.assert_close(moved[16:48], expected[16:48], atol=0.02, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 60.0))
def test_no_component_of_the_displacement_exceeds_the_velocity(seed, size):
    """Each squaring at most doubles the largest component: the max field bounds u itself."""
    velocity = size * (2 * torch.rand(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) - 1)
    bound = velocity.abs().amax(dim=(0, 2, 3, 4))
    assert (exponential(velocity, SPACING).abs().amax(dim=(0, 2, 3, 4)) <= bound * (1 + 1e-5)).all()


def test_composition_of_translations_adds_up():
    one = torch.ones(1, 3, *SHAPE)
    torch.testing.assert_close(compose(one, 2 * one, SPACING), 3 * one)


def test_values_do_not_depend_on_the_voxel_size_of_a_constant_field():
    velocity = torch.full((1, 3, 4, 8, 8), 5.0)
    torch.testing.assert_close(
        to_canonical(exponential(velocity, (10.0, 7.2, 7.2))), torch.full((1, 3, 4, 16, 16), 5.0)
    )


def _places() -> torch.Tensor:
    """Positions [3, Z, Y, X] in mm from the centre of the grid."""
    axes = [(torch.arange(n) - (n - 1) / 2) * h for n, h in zip(SHAPE, SPACING)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def test_the_inverse_of_an_affine_map_is_affine():
    """phi(x) = A x + c, of which the middle of the grid knows nothing of the edges."""
    matrix = torch.eye(3) + torch.tensor([[0.1, 0.1, 0.0], [-0.1, -0.3, 0.1], [0.0, 0.1, 0.2]])
    shift = torch.tensor([1.0, -2.0, 0.5])
    places = _places()

    def displaced(a: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (torch.einsum("ij,jzyx->izyx", a, places) + c[:, None, None, None] - places)[None]

    back = torch.linalg.inv(matrix)
    found, expected = invert(displaced(matrix, shift), SPACING), displaced(back, -back @ shift)
    middle = (..., slice(8, -8), slice(10, -10), slice(9, -9))
    torch.testing.assert_close(found[middle], expected[middle], atol=5e-3, rtol=0)


@pytest.mark.parametrize("amount", [0.0, 0.3, -0.9])
def test_the_inverse_of_a_twist_and_a_radial_map_is_known(amount):
    """A turn by an angle that depends on the radius alone inverts by the opposite turn."""
    places = _places()
    radius = torch.hypot(places[1], places[2])
    angle = amount * torch.exp(-((radius / 12) ** 2))

    def turned(sign: float) -> torch.Tensor:
        cos, sin = torch.cos(sign * angle), torch.sin(sign * angle)
        y, x = cos * places[1] - sin * places[2], sin * places[1] + cos * places[2]
        return torch.stack([0 * y, y - places[1], x - places[2]])[None]

    torch.testing.assert_close(invert(turned(1), SPACING), turned(-1), atol=0.25, rtol=0)


@pytest.mark.parametrize("size_mm", [2.0, 8.0])
def test_an_inverse_undoes_its_map_on_both_sides(size_mm):
    there = exponential(_smooth(5, size_mm), SPACING)
    back = invert(there, SPACING)
    assert compose(there, back, SPACING).abs().max() < 2e-3
    # The other side sees the interpolation between voxels.
    assert compose(back, there, SPACING).abs().max() < 0.08 * size_mm
    torch.testing.assert_close(back, exponential(_smooth(5, -size_mm), SPACING), atol=0.08 * size_mm, rtol=0)


def test_space_that_is_stretched_twice_over_can_still_be_inverted():
    """Du is 1.5 in the middle, where the plain fixed point w <- -u(x + w) runs away."""
    places = _places()
    u = (1.5 * places * torch.exp(-((places**2).sum(0) / 300)))[None]
    inverse = invert(u, SPACING)
    assert compose(u, inverse, SPACING).abs().max() < 2e-3
    plain = -u
    for _ in range(200):
        plain = -warp(u, plain, SPACING)
    assert compose(u, plain, SPACING).abs().max() > 1
