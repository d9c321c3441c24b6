import math

import pytest
import torch

from cof.models.ddim import LEVELS, ddim, noising


@pytest.mark.parametrize("steps", [1, 7, 10, 18, 50, 1000])
def test_who_knows_the_sample_is_led_straight_to_it(steps):
    """Every call sees exactly the noise of the level that it is told."""
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
    alphas, calls = noising().alphas_cumprod.double(), []

    def knowing(sample, level):
        calls.append(level)
        alpha, first = alphas[level], alphas[calls[0]]
        # It starts from noise alone, not from the highest level's mixture.
        hidden = (noise - first.sqrt() * clean) / (1 - first).sqrt()
        mixture = alpha.sqrt() * clean + (1 - alpha).sqrt() * hidden
        torch.testing.assert_close(sample, mixture.float(), rtol=1e-4, atol=1e-4)
        return clean

    torch.testing.assert_close(ddim(knowing, noise, steps), clean)
    stride = LEVELS // steps
    assert calls == [LEVELS - 1 - step * stride for step in range(steps)]


def test_noise_becomes_a_gaussian_whose_denoiser_is_known():
    """Data N(m, s^2): E[x0 | x] = m + s^2 sqrt(a) (x - sqrt(a) m) / (a s^2 + 1 - a)."""
    mean, sd = 3.0, 0.5
    alphas = noising().alphas_cumprod.double()

    def denoise(x, level):
        a = alphas[level]
        return (mean + sd**2 * a.sqrt() * (x - a.sqrt() * mean) / (a * sd**2 + 1 - a)).to(x)

    made = ddim(denoise, torch.randn(20000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), 200)
    assert float(made.mean()) == pytest.approx(mean, abs=0.02)
    assert float(made.std()) == pytest.approx(sd, rel=0.03)


def test_noise_is_added_along_a_cosine():
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 3, generator=generator) for _ in range(2))
    levels = torch.tensor([0, 300, 700, 998])
    angle = ((levels + 1) / LEVELS + 0.008) / 1.008 * torch.pi / 2
    share = (angle.cos() / math.cos(0.008 / 1.008 * math.pi / 2))[:, None]
    noisy = noising().add_noise(clean, noise, levels)
    torch.testing.assert_close(noisy, share * clean + (1 - share.square()).sqrt() * noise, atol=2e-3, rtol=0)
