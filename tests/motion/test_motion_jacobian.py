import pytest
import torch

from cof.motion.jacobian import jacobian_determinant, regularity

SPACING = (10.0, 3.6, 1.8)


def _linear(matrix: torch.Tensor, shape=(5, 8, 9)) -> torch.Tensor:
    axes = [torch.arange(n, dtype=torch.float64) * h for n, h in zip(shape, SPACING)]
    at = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.einsum("ij,jzyx->izyx", matrix.double(), at)[None]


@pytest.mark.parametrize("seed", range(4))
def test_linear_map_has_its_determinant_everywhere(seed):
    gradient = 0.5 * torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.linalg.det(torch.eye(3, dtype=torch.float64) + gradient)
    found = jacobian_determinant(_linear(gradient), SPACING)
    torch.testing.assert_close(found, expected.expand_as(found))


def test_reflection_folds_everywhere():
    mirrored = jacobian_determinant(_linear(torch.diag(torch.tensor([0.0, 0.0, -2.0]))), SPACING)
    measures = regularity(mirrored)
    assert measures.folded_share == 1
    assert measures.min_jacobian == pytest.approx(-1)


def test_masked_measures_see_only_the_mask():
    determinant = torch.ones(2, 3, 4, 4)
    determinant[:, 0] = -1
    determinant[:, 1] = torch.e
    mask = torch.tensor([False, True, True])[None, :, None, None]
    assert regularity(determinant).folded_share == pytest.approx(1 / 3)
    inside = regularity(determinant, mask)
    assert (inside.folded_share, inside.min_jacobian) == (0, 1)
    assert inside.sd_log_jacobian == pytest.approx(0.5)  # logarithms are half 0, half 1
