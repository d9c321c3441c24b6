import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.models.video import edm

LEVEL = st.floats(1e-3, 1e3)


@settings(max_examples=50, deadline=None)
@given(LEVEL, st.floats(1e-2, 10))
def test_input_and_target_have_unit_variance_at_every_level(sigma, sd):
    """For independent y of SD sd and n of SD sigma: c_in (y + n), and (y - c_skip (y + n)) / c_out."""
    scales = edm.Preconditioning.at(torch.tensor([sigma]).double(), torch.tensor(sd).double())
    total = sigma**2 + sd**2
    assert float(scales.into) ** 2 * total == pytest.approx(1)
    skip, out = float(scales.skip), float(scales.out)
    assert ((1 - skip) ** 2 * sd**2 + skip**2 * sigma**2) / out**2 == pytest.approx(1)
    assert float(scales.noise) == pytest.approx(np.log(sigma / sd) / 4)


def test_a_silent_network_leaves_the_best_linear_denoiser():
    torch.manual_seed(0)
    sd, sigma = torch.tensor(0.3), torch.tensor([0.2])
    clean = sd * torch.randn(1, 200_000)
    noisy = clean + sigma * torch.randn_like(clean)
    made = edm.denoised(lambda x, _: torch.zeros_like(x), noisy, sigma, sd)
    slope = float((clean * noisy).sum() / noisy.square().sum())
    torch.testing.assert_close(made, slope * noisy, rtol=2e-2, atol=0)
    # Its loss is 1 at any level, which is what the weights are for.
    assert float(edm.weighted_square(made - clean, sigma, sd)) == pytest.approx(1, abs=0.02)


def test_levels_fall_from_the_highest_to_nothing():
    found = edm.levels(18, 0.002, 80)
    assert found[0] == pytest.approx(80)
    assert found[-2] == pytest.approx(0.002)
    assert found[-1] == 0
    roots = found[:-1].double() ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(17), rtol=1e-3, atol=1e-6)
    assert edm.levels(1, 0.002, 80).tolist() == [80, 0]


def known(x, sigma, mean=3.0, sd=0.5):
    """The denoiser of data N(m, s^2): D(x; sigma) = (s^2 x + sigma^2 m) / (s^2 + sigma^2)."""
    return (sd**2 * x + sigma**2 * mean) / (sd**2 + sigma**2)


def test_the_solver_turns_noise_into_a_gaussian_whose_denoiser_is_known():
    """The flow of `known` ends in m + s (x_T - m) / sqrt(s^2 + T^2)."""
    mean, sd = 3.0, 0.5
    noise = torch.randn(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    highest = 80 * sd
    exact = mean + sd * (highest * noise - mean) / np.hypot(sd, highest)
    made = edm.solve(known, noise, edm.levels(32, 0.008 * sd, highest))
    assert float((made - exact).abs().max()) < 0.05
    assert float(made.mean()) == pytest.approx(float(exact.mean()), abs=2e-3)
    assert float(made.std()) == pytest.approx(sd, rel=0.03)
    coarse = edm.solve(known, noise, edm.levels(16, 0.008 * sd, highest))
    assert (made - exact).abs().mean() < 0.4 * (coarse - exact).abs().mean()  # second order: a quarter


@pytest.mark.parametrize("steps", [3, 4, 5, 8])
def test_a_handful_of_steps_leaves_no_noise_behind(steps):
    """Heun's method would end at 3.5, 3.4, 1.9 and 1.3 times the SD of the data."""
    noise = torch.randn(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = edm.solve(known, noise, edm.levels(steps, 0.004, 40))
    assert float(made.mean()) == pytest.approx(3, abs=0.06)
    assert 0.5 * 0.5 < float(made.std()) < 1.2 * 0.5


def test_the_solver_with_the_exact_denoiser_returns_the_target():
    target = torch.rand(4, 5)
    calls = []
    made = edm.solve(lambda x, sigma: calls.append(sigma) or target, torch.randn(4, 5), edm.levels(8, 0.01, 100))
    torch.testing.assert_close(made, target)
    assert len(calls) == 8
    with pytest.raises(ValueError, match="must be 0"):
        edm.solve(known, torch.randn(4), torch.tensor([10.0, 1.0]))


def test_training_levels_are_log_normal():
    rng = np.random.default_rng(0)
    drawn = np.log([edm.training_sigma(rng, 0.2, 1.2) for _ in range(4000)])
    assert drawn.mean() == pytest.approx(0.2, abs=0.06)
    assert drawn.std() == pytest.approx(1.2, abs=0.05)
